import { Ansi } from "./log/Ansi.js";

/** Characters of a value that are shown. */
const MOST = 20_000;

/** Any JSON as text: strings as they are, and everything else indented. */
export function valueText(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

/** A value that can be opened, with its beginning in the summary. */
export function Value({ name, value }: { name: string; value: unknown }) {
  if (value === null || value === undefined || value === "") return null;
  const brief = typeof value === "string" ? value : JSON.stringify(value);
  return (
    <details className="td-value">
      <summary>
        <span className="td-muted">{name}</span> <code>{brief.slice(0, 200)}</code>
      </summary>
      <pre tabIndex={0} aria-label={name}>
        <Ansi text={valueText(value)} />
      </pre>
    </details>
  );
}
