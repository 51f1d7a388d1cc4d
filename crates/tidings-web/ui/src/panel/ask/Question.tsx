import { type FormEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import type { PendingInput } from "../../generated/protocol.js";
import type { AnswerProgress } from "../../react/useAnswer.js";
import { duration, useNow } from "../format.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import { Control, choiceText } from "./Control.js";
import { type Choice, formOf, initialValues, refusal, Unreadable, valueOf } from "./fields.js";

/** With more choices than this, a list takes less room than buttons. */
const MOST_BUTTONS = 12;

export interface QuestionProps {
  question: PendingInput;
  progress: AnswerProgress | undefined;
  /** Whether the reader may answer. */
  right: boolean;
  connected: boolean;
  labels: Labels;
  onAnswer: (value: unknown) => Promise<void>;
}

/** A reason why an answer was refused, and the field that it is about. */
interface Wrong {
  field: string | null;
  reason: string;
}

/** An open question: its text, when it expires, and how to answer it. */
export function Question({ question, progress, right, connected, labels, onAnswer }: QuestionProps) {
  const id = useId();
  const { prompt, expires_at } = question;
  const now = useNow(expires_at != null && connected);
  const error = progress?.state === "refused" ? progress.error : null;
  return (
    <div className="td-question" role="group" aria-labelledby={`${id}-prompt`}>
      <p id={`${id}-prompt`} className="td-prompt" dir="auto">
        {plain(prompt)}
      </p>
      {expires_at != null && <p className="td-muted">{labels.expiresIn(duration(Date.parse(expires_at) - now))}</p>}
      {right ? (
        <Form id={id} question={question} progress={progress} connected={connected} labels={labels} onAnswer={onAnswer} />
      ) : (
        <p className="td-muted">{labels.mayNotAnswer}</p>
      )}
      <p className="td-muted" role="status">
        {progress?.state === "sending" ? labels.sending : ""}
      </p>
      {error && error.code !== "invalid_event" && (
        <p className="td-bad" role="alert">
          {labels.notTaken(plain(error.message))}
        </p>
      )}
    </div>
  );
}

function Form({ id, question, progress, connected, labels, onAnswer }: Omit<QuestionProps, "right"> & { id: string }) {
  const form = useMemo(() => formOf(question), [question]);
  const [written, setWritten] = useState(() => initialValues(form, question.schema));
  const [unread, setUnread] = useState<Wrong | null>(null);
  const box = useRef<HTMLFormElement>(null);
  const busy = !connected || progress?.state === "sending" || progress?.state === "taken";
  const refused = progress?.state === "refused" && progress.error?.code === "invalid_event" ? progress.error : null;
  const wrong = useMemo(() => unread ?? (refused && refusal(refused.message)), [unread, refused]);
  // Lead the reader to what is to be corrected.
  useEffect(() => {
    if (wrong) box.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [wrong]);
  const send = (value: unknown) => {
    if (busy) return;
    setUnread(null);
    void onAnswer(value);
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    let value;
    try {
      value = valueOf(form, written);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return setUnread({ field: error.field, reason: labels.unreadable[error.why] });
    }
    send(value);
  };
  const reasonId = `${id}-wrong`;
  const buttons = buttonsOf(form);
  const places = form.kind === "object" ? form.fields.map(({ name }) => name) : [""];
  // An id of a document has no spaces, but the name of a property may.
  const idOf = (name: string) => `${id}-${name.replace(/[\s%]/g, (char) => `%${char.charCodeAt(0)}`)}`;
  // A form of one field has the reason at that field; an object has it at its property, or above.
  const at = (name: string) => wrong !== null && (form.kind === "object" ? wrong.field === name : true);
  const above = wrong !== null && !places.some(at);
  const props = (name: string) => ({
    id: idOf(name),
    value: written[name] ?? "",
    labels,
    invalid: at(name),
    describedBy: at(name) ? reasonId : undefined,
    onChange: (value: string) => setWritten((before) => ({ ...before, [name]: value })),
  });
  const reason = wrong && (
    <span id={reasonId} className="td-bad" role="alert">
      {plain(wrong.reason)}
    </span>
  );
  if (buttons) {
    return (
      <>
        <div className="td-buttons">
          {buttons.map((choice, index) => (
            <button key={index} type="button" className="td-button" aria-disabled={busy || undefined} dir="auto" onClick={() => send(choice.value)}>
              {choiceText(choice, labels)}
            </button>
          ))}
        </div>
        {reason}
      </>
    );
  }
  return (
    <form ref={box} className="td-form" noValidate onSubmit={submit}>
      {form.kind === "object" ? (
        form.fields.map(({ name, title, description, required, field }) => (
          <div key={name} className="td-field">
            <label htmlFor={idOf(name)} dir="auto">
              {plain(title)} {!required && <span className="td-muted">({labels.optional})</span>}
            </label>
            {description && (
              <span id={`${idOf(name)}-about`} className="td-muted" dir="auto">
                {plain(description)}
              </span>
            )}
            <Control field={field} required={required} {...props(name)} describedBy={[description && `${idOf(name)}-about`, at(name) && reasonId].filter(Boolean).join(" ") || undefined} />
            {at(name) && reason}
          </div>
        ))
      ) : (
        <div className="td-field">
          {form.kind === "json" && <span className="td-muted">{labels.asJson}</span>}
          <Control field={form} required label={plain(question.prompt)} {...props("")} />
          {at("") && reason}
        </div>
      )}
      {above && reason}
      <button type="submit" className="td-button" aria-disabled={busy || undefined}>
        {labels.answer}
      </button>
    </form>
  );
}

/** Returns the answers that one button each gives, or null. */
function buttonsOf(form: ReturnType<typeof formOf>): readonly Choice[] | null {
  if (form.kind === "boolean") return [true, false].map((value) => ({ value, title: null }));
  return form.kind === "choices" && form.choices.length <= MOST_BUTTONS ? form.choices : null;
}
