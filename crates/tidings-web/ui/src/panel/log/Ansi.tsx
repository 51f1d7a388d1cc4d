import { lazy, memo, Suspense } from "react";

/** Escape sequences: colours, and cursor movements. */
const ESCAPES = /\u001b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

/** Control characters that a page would show as boxes or not at all. */
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** Returns a text without escape sequences and control characters. */
export function plain(text: string): string {
  return text.replace(ESCAPES, "").replace(/\r\n?/g, "\n").replace(CONTROLS, "");
}

const Coloured = lazy(() => import("./Coloured.js"));

/** A text with the colours of its escape sequences. */
export const Ansi = memo(function Ansi({ text }: { text: string }) {
  if (!text.includes("\u001b[")) return <>{plain(text)}</>;
  return (
    <Suspense fallback={plain(text)}>
      <Coloured text={text} />
    </Suspense>
  );
});
