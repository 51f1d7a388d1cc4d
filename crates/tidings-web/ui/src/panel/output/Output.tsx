import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { OutputState } from "../../generated/protocol.js";
import type { Labels } from "../labels.js";
import { loaded } from "../loaded.js";
import { Ansi, plain } from "../log/Ansi.js";
import { copyText } from "../save.js";
import { observeSize } from "../size.js";

const Markdown = loaded(() => import("./Markdown.js"));

/** A distance to the end, in pixels, that still counts as being at the end. */
const NEAR = 24;

interface OutputProps {
  output: OutputState;
  labels: Labels;
  render: ((output: OutputState) => ReactNode) | undefined;
}

/** An output of a task. This module is loaded only for a task that has one. */
export default function Output({ output, labels, render }: OutputProps) {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const lastTop = useRef(0);
  const [copied, setCopied] = useState(false);
  const { output_id, text, complete } = output;
  const follow = () => {
    const element = box.current!;
    if (atEnd.current && !complete) element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop;
  };
  useLayoutEffect(follow, [text, complete]);
  // Markdown that has just been loaded is taller than the plain text was before.
  useEffect(() => observeSize(box.current!.children, follow));
  const looked = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    if (scrollHeight - scrollTop - clientHeight < NEAR) atEnd.current = true;
    else if (scrollTop < lastTop.current - 1) atEnd.current = false;
    lastTop.current = scrollTop;
  };
  return (
    <section className="td-card" aria-label={`${labels.output} ${output_id}`}>
      <header className="td-card-head">
        <h2>
          {plain(output_id)} {!complete && <span className="td-count">{labels.writing}</span>}
        </h2>
        <button type="button" className="td-link" onClick={() => void copyText(text).then(() => setCopied(true), () => {})}>
          {copied ? labels.copied : labels.copy}
        </button>
      </header>
      <div ref={box} className="td-output" tabIndex={0} role="group" aria-label={output_id} dir="auto" onScroll={looked}>
        <div className="td-markdown">
          {render?.(output) ??
            (/\u001b\[/.test(text) ? (
              <p className="td-plain-text">
                <Ansi text={text} />
              </p>
            ) : (
              <Markdown text={text} fallback={<p className="td-plain-text">{plain(text)}</p>} />
            ))}
        </div>
      </div>
    </section>
  );
}
