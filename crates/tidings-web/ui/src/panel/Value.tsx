import { Ansi, plain } from "./log/Ansi.js";

/** The number of characters of a value to show. */
const MOST = 20_000;

/** Returns any JSON as text: strings unchanged, and everything else indented. */
export function valueText(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

/** A value that can be opened. Its beginning is in the summary. */
export default function Value({ name, value }: { name: string; value: unknown }) {
  if (value === null || value === undefined || value === "") return null;
  const whole = typeof value === "string" ? value : JSON.stringify(value);
  const brief = plain(whole.slice(0, 2_000)).slice(0, 200);
  return (
    <details className="td-value">
      <summary>
        <span className="td-muted">{name}</span> <code>{brief}</code>
      </summary>
      <pre tabIndex={0} aria-label={name}>
        <Ansi text={valueText(value)} />
      </pre>
    </details>
  );
}
