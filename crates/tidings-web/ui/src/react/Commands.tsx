import { useState } from "react";
import { TidingsError } from "../error.js";
import type { CommandState } from "./activity.js";
import type { UseTask } from "./useTaskWebSocket.js";

const BUTTONS = [
  { command: "pause", label: "Pause" },
  { command: "resume", label: "Resume" },
  { command: "cancel", label: "Cancel" },
] as const;

/** What became of the last request of this page. */
interface Asked {
  label: string;
  /** Where its request stands in the log, once the server has taken it. */
  offset: number | null;
  failure: string | null;
}

function outcome(asked: Asked, commands: readonly CommandState[]): { tone: string; text: string } {
  const { label, offset, failure } = asked;
  if (failure) return { tone: "failed", text: `${label}: not asked, ${failure}` };
  const state = offset === null ? undefined : commands.find((known) => known.offset === offset);
  switch (state?.state) {
    case "accepted":
      return { tone: "running", text: `${label}: accepted by the agent` };
    case "completed":
      return { tone: "completed", text: `${label}: done` };
    case "rejected":
      return { tone: "failed", text: `${label}: rejected, ${state.reason}` };
    default:
      return { tone: "pending", text: offset === null ? `${label}: asking…` : `${label}: asked, no answer from the agent yet` };
  }
}

/** Buttons that ask the task's agent for something, and show what it says. */
export function Commands({ task, command, commands, status }: Pick<UseTask, "task" | "command" | "commands" | "status">) {
  const [asked, setAsked] = useState<Asked | null>(null);
  const idle = task?.status !== "running" || status.state !== "connected";
  const ask = async (name: string, label: string) => {
    const mine: Asked = { label, offset: null, failure: null };
    setAsked(mine);
    const settle = (change: Partial<Asked>) => setAsked((now) => (now === mine ? { ...mine, ...change } : now));
    try {
      settle({ offset: (await command(name)).offset });
    } catch (error) {
      settle({ failure: error instanceof TidingsError ? error.message : String(error) });
    }
  };
  const result = asked && outcome(asked, commands);
  return (
    <div className="td-commands">
      <div className="td-buttons" role="group" aria-label="Ask the task to">
        {BUTTONS.map(({ command: name, label }) => (
          <button key={name} type="button" className="td-button" data-command={name} disabled={idle} onClick={() => void ask(name, label)}>
            {label}
          </button>
        ))}
      </div>
      <p className="td-outcome" role="status" data-tone={result?.tone}>
        {result?.text}
      </p>
    </div>
  );
}
