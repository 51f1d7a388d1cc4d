import { useCallback, useState } from "react";
import type { CommandState } from "../store/activity.js";
import { type UseTask, useTask, type UseTaskOptions } from "./useTask.js";

/** What became of a command. */
export interface CommandProgress {
  readonly command: string;
  /**
   * * `asking`: on its way to the server.
   * * `asked`: the server has it; the task has not said anything yet.
   * * `accepted`, `rejected`, `completed`: what the task said.
   * * `failed`: the server did not take it.
   */
  readonly state: "asking" | "asked" | "accepted" | "rejected" | "completed" | "failed";
  /** Why it was rejected or failed. */
  readonly reason: string | null;
}

export interface UseCommand {
  /** The last command of this component. */
  readonly last: CommandProgress | null;
  /** Asks for something. Never rejects: `last` says what became of it. */
  send(command: string, args?: Record<string, unknown>): Promise<void>;
}

interface Asked {
  command: string;
  /** Where its request stands in the log, once the server has taken it. */
  offset: number | null;
  failure: string | null;
}

function outcome({ command, offset, failure }: Asked, known: readonly CommandState[]): CommandProgress {
  if (failure !== null) return { command, state: "failed", reason: failure };
  if (offset === null) return { command, state: "asking", reason: null };
  const said = known.find((each) => each.offset === offset);
  return { command, state: !said || said.state === "requested" ? "asked" : said.state, reason: said?.reason ?? null };
}

/** Follows the commands that a component gives to a task that it watches. */
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

/** Gives commands to a task, and follows what it says to them. */
export function useCommand(taskId: string | null | undefined, options: Omit<UseTaskOptions, "history"> = {}): UseCommand {
  return useCommandOf(useTask(taskId, { ...options, history: 0 }));
}
