import { useCallback, useState } from "react";
import { TidingsError } from "../error.js";
import type { PendingInput } from "../generated/protocol.js";
import { type UseTask, useTask, type UseTaskOptions } from "./useTask.js";

export interface UseAnswer {
  /** The task's open questions. */
  readonly questions: readonly PendingInput[];
  /** Why the last answer of this component was not taken: `already_answered`, for example. */
  readonly error: TidingsError | null;
  /** Answers a question. Never rejects: resolves to whether the answer was taken. */
  answer(inputId: string, value: unknown): Promise<boolean>;
}

const NONE: readonly PendingInput[] = [];

/** Answers questions of a task that a component watches. */
export function useAnswerOf({ client, task }: Pick<UseTask, "client" | "task">): UseAnswer {
  const [error, setError] = useState<TidingsError | null>(null);
  const taskId = task?.task_id;
  const answer = useCallback(
    async (inputId: string, value: unknown) => {
      setError(null);
      try {
        if (taskId === undefined) throw new TidingsError("closed", "the task is not known yet");
        await client.answer(taskId, inputId, value);
        return true;
      } catch (error) {
        setError(error instanceof TidingsError ? error : new TidingsError("closed", String(error)));
        return false;
      }
    },
    [client, taskId],
  );
  return { questions: task?.pending_inputs ?? NONE, error, answer };
}

/** Lists a task's open questions, and answers them. */
export function useAnswer(taskId: string | null | undefined, options: Omit<UseTaskOptions, "history"> = {}): UseAnswer {
  return useAnswerOf(useTask(taskId, { ...options, history: 0 }));
}
