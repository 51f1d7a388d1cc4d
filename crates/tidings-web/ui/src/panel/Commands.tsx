import { type CommandProgress, useCommandOf } from "../react/useCommand.js";
import type { UseTask } from "../react/useTask.js";

const LABELS: Record<string, string> = { pause: "Pause", resume: "Resume", cancel: "Cancel" };

function outcome({ command, state, reason }: CommandProgress): { tone: string; text: string } {
  const label = LABELS[command] ?? command;
  switch (state) {
    case "asking":
      return { tone: "pending", text: `${label}: asking…` };
    case "asked":
      return { tone: "pending", text: `${label}: asked, no answer from the agent yet` };
    case "accepted":
      return { tone: "running", text: `${label}: accepted by the agent` };
    case "completed":
      return { tone: "completed", text: `${label}: done` };
    case "rejected":
      return { tone: "failed", text: `${label}: rejected, ${reason}` };
    case "failed":
      return { tone: "failed", text: `${label}: not asked, ${reason}` };
  }
}

/** Buttons that ask the task's agent for something, and show what it says. */
export function Commands({ task, command, commands, status }: Pick<UseTask, "task" | "command" | "commands" | "status">) {
  const { last, send } = useCommandOf({ command, commands });
  const idle = task?.status !== "running" || status.state !== "connected";
  const result = last && outcome(last);
  return (
    <div className="td-commands">
      <div className="td-buttons" role="group" aria-label="Ask the task to">
        {Object.entries(LABELS).map(([name, label]) => (
          <button key={name} type="button" className="td-button" data-command={name} disabled={idle} onClick={() => void send(name)}>
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
