import { useCallback, useState } from "react";
import type { CommandState } from "../store/activity.js";
import { type UseTask, useTask, type UseTaskOptions } from "./useTask.js";

/** The progress of a command. */
export interface CommandProgress {
  readonly command: string;
  /**
   * * `asking`: the command is on its way to the server.
   * * `asked`: the server has it, and the task has not answered yet.
   * * `accepted`, `rejected`, `completed`: the task's answer.
   * * `failed`: the server did not accept it.
   */
  readonly state: "asking" | "asked" | "accepted" | "rejected" | "completed" | "failed";
  /** Why the command was rejected or failed. */
  readonly reason: string | null;
}

export interface UseCommand {
  /** The last command of this component. */
  readonly last: CommandProgress | null;
  /** Sends a command. The promise never rejects. `last` shows the outcome. */
  send(command: string, args?: Record<string, unknown>): Promise<void>;
}

interface Asked {
  command: string;
  /** The command's offset in the log, once the server has accepted it. */
  offset: number | null;
  failure: string | null;
}

function outcome({ command, offset, failure }: Asked, known: readonly CommandState[]): CommandProgress {
  if (failure !== null) return { command, state: "failed", reason: failure };
  if (offset === null) return { command, state: "asking", reason: null };
  const said = known.find((each) => each.offset === offset);
  return { command, state: !said || said.state === "requested" ? "asked" : said.state, reason: said?.reason ?? null };
}

/** Follows the commands that a component sends to a task that it watches. */
export function useCommandOf({ command: give, commands }: Pick<UseTask, "command" | "commands">): UseCommand {
  const [asked, setAsked] = useState<Asked | null>(null);
  const send = useCallback(
    async (command: string, args?: Record<string, unknown>) => {
      const mine: Asked = { command, offset: null, failure: null };
      setAsked(mine);
      const settle = (change: Partial<Asked>) => setAsked((now) => (now === mine ? { ...mine, ...change } : now));
      try {
        settle({ offset: (await give(command, args)).offset });
      } catch (error) {
        settle({ failure: error instanceof Error ? error.message : String(error) });
      }
    },
    [give],
  );
  return { last: asked && outcome(asked, commands), send };
}

/** Sends commands to a task, and follows the task's answers. */
export function useCommand(taskId: string | null | undefined, options: Omit<UseTaskOptions, "history"> = {}): UseCommand {
  return useCommandOf(useTask(taskId, { ...options, history: 0 }));
}
