import { useState } from "react";
import type { Json } from "../../generated/protocol.js";
import type { Labels } from "../labels.js";
import Value, { valueText } from "../Value.js";
import { plain } from "../log/Ansi.js";
import { diffTones } from "./diff.js";
import type { Kind } from "./kind.js";

export interface ViewProps {
  kind: Kind;
  data: Json;
  title: string;
  labels: Labels;
}

/** Draws an artifact: an image, a diff with its colours, or a text that can be opened. */
export function View({ kind, data, title, labels }: ViewProps) {
  const [broken, setBroken] = useState("");
  if (kind.as === "image" && kind.src !== broken) {
    return <img className="td-picture" src={kind.src} alt={title} loading="lazy" onError={() => setBroken(kind.src)} />;
  }
  if (kind.as === "diff") {
    const lines = valueText(data).split("\n");
    const tones = diffTones(lines);
    const changed = (tone: string) => tones.filter((each) => each === tone).length;
    return (
      <details className="td-value">
        <summary>
          <span className="td-muted">{labels.diff}</span> <code className="td-sums">{`+${changed("added")} −${changed("removed")}`}</code>
        </summary>
        <pre className="td-diff" tabIndex={0} aria-label={title}>
          {lines.map((line, index) => (
            <span key={index} data-tone={tones[index]}>
              {plain(line)}
              {"\n"}
            </span>
          ))}
        </pre>
      </details>
    );
  }
  return <Value name="" value={data} />;
}
