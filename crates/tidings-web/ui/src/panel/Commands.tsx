import { useState } from "react";
import type { UseTask } from "../react/useTask.js";
import { type CommandProgress, useCommandOf } from "../react/useCommand.js";
import { type Labels, useLabels } from "./labels.js";

export interface CommandsProps extends Pick<UseTask, "task" | "command" | "commands" | "status"> {
  labels?: Partial<Labels> | undefined;
}

/** The tone of each command state. */
const TONES: Record<CommandProgress["state"], string> = {
  asking: "pending",
  asked: "pending",
  accepted: "running",
  completed: "completed",
  rejected: "failed",
  failed: "failed",
};

/** Returns the commands to offer: pause or resume while the task runs, and another run after its end. */
function offered({ task, commands }: Pick<CommandsProps, "task" | "commands">): string[] {
  if (!task || task.status === "pending") return [];
  if (task.status !== "running") return ["retry"];
  const done = commands.findLast(({ command, state }) => state === "completed" && (command === "pause" || command === "resume"));
  return [done?.command === "pause" ? "resume" : "pause", "cancel"];
}

/** Buttons that send commands to the task, and show its answers. */
export function Commands({ task, command, commands, status, labels: own }: CommandsProps) {
  const labels = useLabels(own);
  const { last, send } = useCommandOf({ command, commands });
  const [sure, setSure] = useState<string | null>(null);
  const names = offered({ task, commands });
  const away = status.state !== "connected";
  const ask = (name: string) => {
    if (name === "cancel" && sure !== name) return setSure(name);
    setSure(null);
    void send(name);
  };
  const label = (name: string) => labels.commands[name] ?? name;
  const said = last && labels.commandStates[last.state];
  const waiting = task?.pending_commands.filter(({ command }) => command !== last?.command) ?? [];
  if (names.length === 0 && !last) return null;
  return (
    <div className="td-commands">
      <div className="td-buttons" role="group" aria-label={labels.ask}>
        {names.map((name) => (
          <button key={name} type="button" className="td-button" data-command={name} disabled={away} onClick={() => ask(name)} onBlur={() => setSure(null)}>
            {sure === name ? labels.sure(label(name)) : label(name)}
          </button>
        ))}
      </div>
      <p className="td-outcome" role="status" data-tone={last ? TONES[last.state] : undefined}>
        {last ? `${label(last.command)}: ${typeof said === "function" ? said(last.reason ?? "") : said}` : waiting.map((each) => `${label(each.command)}: ${labels.commandStates[each.accepted ? "accepted" : "asked"]}`).join(" · ")}
      </p>
    </div>
  );
}
