import Anser from "anser";
import { plain } from "./Ansi.js";

/** Named foreground colours of `anser`. Colours of the 256-colour palette and true colours are used as they are. */
const named = (colour: string | null) => (colour && /^ansi-[a-z-]+$/.test(colour) ? `td-${colour}` : "");

/** A text with its colours. This module is loaded only for texts with colours. */
export default function Coloured({ text }: { text: string }) {
  const parts = Anser.ansiToJson(text, { json: true, remove_empty: true, use_classes: true });
  return (
    <>
      {parts.map((part, index) => {
        const { bold, dim, italic, underline, strikethrough } = Object.fromEntries(part.decorations.map((name) => [name, true]));
        const classes = [named(part.fg), bold && "td-bold", dim && "td-dim", italic && "td-italic", underline && "td-underline", strikethrough && "td-strike"];
        const className = classes.filter(Boolean).join(" ");
        return className ? (
          <span key={index} className={className}>
            {plain(part.content)}
          </span>
        ) : (
          plain(part.content)
        );
      })}
    </>
  );
}
