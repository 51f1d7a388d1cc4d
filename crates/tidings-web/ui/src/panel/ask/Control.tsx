import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import type { Choice, Field } from "./fields.js";

export interface ControlProps {
  id: string;
  field: Field;
  value: string;
  required: boolean;
  /** The accessible name, if there is no label. */
  label?: string | undefined;
  invalid: boolean;
  describedBy: string | undefined;
  labels: Labels;
  onChange: (value: string) => void;
}

/** Returns a choice as a text for people. */
export function choiceText({ value, title }: Choice, labels: Labels): string {
  if (title?.trim()) return plain(title);
  if (typeof value === "boolean") return value ? labels.yes : labels.no;
  // A text of nothing to see is shown in quotes.
  return typeof value === "string" && plain(value).trim() ? plain(value) : JSON.stringify(value);
}

/** The types of input that a browser knows for the formats of JSON Schema. */
const FORMATS: Record<string, string> = { date: "date", email: "email", uri: "url" };

/** A control for one value. It holds text, whatever the value's type is. */
export function Control({ id, field, value, required, label, invalid, describedBy, labels, onChange }: ControlProps) {
  const common = {
    id,
    className: "td-input",
    value,
    "aria-label": label,
    "aria-required": required || undefined,
    "aria-invalid": invalid || undefined,
    "aria-describedby": describedBy,
    onChange: ({ target }: { target: { value: string } }) => onChange(target.value),
  };
  switch (field.kind) {
    case "boolean":
    case "choices": {
      const options = field.kind === "choices" ? field.choices.map((choice, index) => [String(index), choiceText(choice, labels)]) : [["true", labels.yes], ["false", labels.no]];
      return (
        <select {...common}>
          <option value="">{labels.choose}</option>
          {options.map(([key, text]) => (
            <option key={key} value={key}>
              {text}
            </option>
          ))}
        </select>
      );
    }
    case "number":
      return <input {...common} type="text" inputMode={field.whole ? "numeric" : "decimal"} autoComplete="off" />;
    case "text":
      if (!field.long) return <input {...common} type={FORMATS[field.format ?? ""] ?? "text"} autoComplete="off" dir="auto" />;
      return <textarea {...common} rows={3} dir="auto" />;
    default:
      return <textarea {...common} rows={4} spellCheck={false} className="td-input td-code-input" />;
  }
}
