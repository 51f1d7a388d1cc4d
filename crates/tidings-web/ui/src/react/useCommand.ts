import { useCallback, useState } from "react";
import { TidingsError } from "../error.js";
import type { CommandState } from "../store/activity.js";
import { type UseTask, useTask, type UseTaskOptions } from "./useTask.js";

/** The progress of a command. */
export interface CommandProgress {
  /** The id of the command, once it is known. */
  readonly id: string | null;
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
  /** The server's error code, if the command failed: `forbidden`, for example. */
  readonly code: TidingsError["code"] | null;
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
  failure: TidingsError | null;
}

function outcome({ command, offset, failure }: Asked, known: readonly CommandState[]): CommandProgress {
  if (failure !== null) return { id: null, command, state: "failed", reason: failure.message, code: failure.code };
  if (offset === null) return { id: null, command, state: "asking", reason: null, code: null };
  const said = known.find((each) => each.offset === offset);
  return { id: said?.id ?? null, command, state: !said || said.state === "requested" ? "asked" : said.state, reason: said?.reason ?? null, code: null };
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
        settle({ failure: error instanceof TidingsError ? error : new TidingsError("closed", String(error)) });
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
