import { memo } from "react";
import { loaded } from "../loaded.js";

/** Escape sequences: colours, and cursor movements. */
const ESCAPES = /\u001b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

/** Control characters that a page would show as boxes or not at all, and those that turn the text after them around. */
const CONTROLS = /[\0-\b\v-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g;

/** Returns a text of data as it is shown: without escape sequences and control characters. */
export function plain(text: string): string {
  return text.replace(ESCAPES, "").replace(/\r\n?/g, "\n").replace(CONTROLS, "");
}

const Coloured = loaded(() => import("./Coloured.js"));

/** A text with the colours of its escape sequences. */
export const Ansi = memo(function Ansi({ text }: { text: string }) {
  if (!text.includes("\u001b[")) return <>{plain(text)}</>;
  return <Coloured text={text} fallback={plain(text)} />;
});
