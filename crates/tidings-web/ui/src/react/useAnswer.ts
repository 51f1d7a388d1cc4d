import { useCallback, useState } from "react";
import { TidingsError } from "../error.js";
import type { EndedInput, PendingInput } from "../generated/protocol.js";
import { type UseTask, useTask, type UseTaskOptions } from "./useTask.js";

/** What became of an answer. */
export interface AnswerProgress {
  /**
   * * `sending`: the answer is on its way to the server.
   * * `taken`: the server has accepted it.
   * * `refused`: the server did not accept it, or it is not known whether it did.
   */
  readonly state: "sending" | "taken" | "refused";
  /** Why the answer was refused: `already_answered` or `invalid_event`, for example. */
  readonly error: TidingsError | null;
}

export interface UseAnswer {
  /** The task's open questions. */
  readonly questions: readonly PendingInput[];
  /** The newest questions that were answered or have expired. */
  readonly ended: readonly EndedInput[];
  /** The last answer of this component to each question, by the question's id. */
  readonly answers: Readonly<Record<string, AnswerProgress>>;
  /** Why the newest answer of this component was refused. */
  readonly error: TidingsError | null;
  /** Answers a question. Never rejects: resolves to whether the answer was taken. */
  answer(inputId: string, value: unknown): Promise<boolean>;
}

const NO_QUESTIONS: readonly PendingInput[] = [];
const NO_ENDED: readonly EndedInput[] = [];

interface Given {
  answers: Record<string, AnswerProgress>;
  error: TidingsError | null;
}

/** Answers questions of a task that a component watches. */
export function useAnswerOf({ client, task }: Pick<UseTask, "client" | "task">): UseAnswer {
  const [{ answers, error }, setGiven] = useState<Given>({ answers: {}, error: null });
  const taskId = task?.task_id;
  const answer = useCallback(
    async (inputId: string, value: unknown) => {
      const note = (state: AnswerProgress["state"], error: TidingsError | null = null) =>
        setGiven(({ answers }) => ({ answers: { ...answers, [inputId]: { state, error } }, error }));
      note("sending");
      try {
        if (taskId === undefined) throw new TidingsError("closed", "the task is not known yet");
        await client.answer(taskId, inputId, value);
        note("taken");
        return true;
      } catch (error) {
        note("refused", error instanceof TidingsError ? error : new TidingsError("closed", String(error)));
        return false;
      }
    },
    [client, taskId],
  );
  return { questions: task?.pending_inputs ?? NO_QUESTIONS, ended: task?.ended_inputs ?? NO_ENDED, answers, error, answer };
}

/** Lists a task's open questions, and answers them. */
export function useAnswer(taskId: string | null | undefined, options: Omit<UseTaskOptions, "history"> = {}): UseAnswer {
  return useAnswerOf(useTask(taskId, { ...options, history: 0 }));
}
