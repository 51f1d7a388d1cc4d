import Anser from "anser";
import { plain } from "./Ansi.js";

/** Returns the class of a named colour. Colours of the 256-colour palette and true colours are not shown. */
const named = (colour: string | null) => (colour && /^ansi-[a-z-]+$/.test(colour) ? `td-${colour}` : "");

/** A text with its colours. This module is loaded only for texts with colours. */
export default function Coloured({ text }: { text: string }) {
  const parts = Anser.ansiToJson(text, { json: true, remove_empty: true, use_classes: true });
  return (
    <>
      {parts.map((part, index) => {
        const { bold, dim, italic, underline, strikethrough } = Object.fromEntries(part.decorations.map((name) => [name, true]));
        const ground = named(part.bg);
        const classes = [ground ? "td-on-painted" : named(part.fg), bold && "td-bold", dim && !ground && "td-dim", italic && "td-italic", underline && "td-underline", strikethrough && "td-strike"];
        const className = classes.filter(Boolean).join(" ");
        const shown = className ? (
          <span key={index} className={className}>
            {plain(part.content)}
          </span>
        ) : (
          plain(part.content)
        );
        if (!ground) return shown;
        // Reverse video comes as a background. The text on one is always readable, so its own colour is left out.
        return (
          <span key={index} className={`td-painted ${ground}`}>
            {shown}
          </span>
        );
      })}
    </>
  );
}
