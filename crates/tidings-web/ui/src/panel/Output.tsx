import type { ReactNode } from "react";
import type { OutputState } from "../generated/protocol.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";
import { plain } from "./log/Ansi.js";

export interface OutputProps {
  output: OutputState;
  labels?: Partial<Labels> | undefined;
  /** Draws the text instead of the panel. If it returns `null`, the panel draws it. */
  render?: ((output: OutputState) => ReactNode) | undefined;
}

/** Loaded with the first output. */
const View = loaded(() => import("./output/Output.js"));

/** An output of a task as it arrives. It scrolls with the end while the reader is there. */
export function Output({ output, labels: own, render }: OutputProps) {
  const labels = useLabels(own);
  const fallback = (
    <section className="td-card" aria-label={`${labels.output} ${output.output_id}`}>
      <div className="td-output" tabIndex={0} role="group" aria-label={output.output_id}>
        {render?.(output) ?? <p className="td-plain-text">{plain(output.text)}</p>}
      </div>
    </section>
  );
  return <View output={output} labels={labels} render={render} fallback={fallback} />;
}
