import { useLayoutEffect, useRef } from "react";
import type { EndedInput, TaskSnapshot } from "../../generated/protocol.js";
import { type AnswerProgress, useAnswerOf } from "../../react/useAnswer.js";
import type { UseTask } from "../../react/useTask.js";
import { moment } from "../format.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import Value from "../Value.js";
import { Question } from "./Question.js";

/** The number of ended questions to show. The log contains all of them. */
const MOST_ENDED = 5;

export interface QuestionsProps extends Pick<UseTask, "client" | "events" | "status"> {
  task: TaskSnapshot;
  /** Whether the reader may answer. */
  right: boolean;
  labels: Labels;
}

/** Returns the texts of questions, also of those that have ended: a snapshot keeps only their ids. */
function usePrompts({ task, events }: Pick<QuestionsProps, "task" | "events">): ReadonlyMap<string, string> {
  const prompts = useRef(new Map<string, string>());
  for (const event of events) {
    if (event.event_type === "input_required") prompts.current.set(event.data.input_id, event.data.prompt);
  }
  for (const { input_id, prompt } of task.pending_inputs) prompts.current.set(input_id, prompt);
  return prompts.current;
}

/** The questions of a task. This module is loaded only for a task that has asked something. */
export default function Questions({ client, task, events, status, right, labels }: QuestionsProps) {
  const { questions, ended, answers, answer } = useAnswerOf({ client, task });
  const prompts = usePrompts({ task, events });
  const connected = status.state === "connected";
  const section = useRef<HTMLElement>(null);
  const answered = useRef(false);
  // The form of an answered question disappears. Its focus must not get lost.
  useLayoutEffect(() => {
    if (!answered.current) return;
    answered.current = false;
    if (!document.activeElement || document.activeElement === document.body) section.current?.focus({ preventScroll: true });
  }, [questions]);
  const give = (inputId: string) => async (value: unknown) => {
    answered.current = await answer(inputId, value);
  };
  return (
    <section ref={section} className={`td-card td-ask${questions.length > 0 ? " td-attention" : ""}`} tabIndex={-1} aria-label={labels.questions}>
      <h2>{questions.length > 0 ? labels.waiting : labels.questions}</h2>
      <ul className="td-plain">
        {questions.map((question) => (
          <li key={`${question.input_id} ${question.requested_at}`}>
            <Question question={question} progress={answers[question.input_id]} right={right} connected={connected} labels={labels} onAnswer={give(question.input_id)} />
          </li>
        ))}
        {ended
          .slice(-MOST_ENDED)
          .toReversed()
          .map((input) => (
            <li key={`${input.input_id} ${input.ended_at}`}>
              <Ended input={input} prompt={prompts.get(input.input_id) ?? input.input_id} progress={answers[input.input_id]} labels={labels} />
            </li>
          ))}
      </ul>
    </section>
  );
}

interface EndedProps {
  input: EndedInput;
  prompt: string;
  progress: AnswerProgress | undefined;
  labels: Labels;
}

/** A question that was answered, or has expired. */
function Ended({ input, prompt, progress, labels }: EndedProps) {
  const { by, value, ended_at } = input;
  const time = moment(ended_at);
  const simple = typeof value !== "object";
  return (
    <div className="td-ended">
      <p className="td-prompt" dir="auto">
        {plain(prompt)}
      </p>
      {value !== undefined && value !== null && simple && (
        <p>
          <strong dir="auto">{typeof value === "boolean" ? (value ? labels.yes : labels.no) : plain(String(value))}</strong>
        </p>
      )}
      <p className="td-muted">{by == null ? labels.expired(time) : labels.answeredBy(plain(by), time)}</p>
      {!simple && <Value name={labels.answer} value={value} />}
      {progress?.state === "refused" && progress.error?.code === "already_answered" && (
        <p className="td-bad" role="alert">
          {labels.tooLate}
        </p>
      )}
    </div>
  );
}
