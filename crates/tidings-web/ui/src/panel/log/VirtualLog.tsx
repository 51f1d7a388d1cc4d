import { memo, type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { CHUNK, type LogStore, type LogView } from "../../store/log-store.js";
import type { TimelineEntry } from "../../store/task-store.js";
import type { TidingsEvent } from "../../types.js";
import { count } from "../format.js";
import type { Labels } from "../labels.js";
import { observeSize } from "../size.js";
import { Line } from "./Line.js";

/** The estimated height of a line that is not drawn, in pixels. */
const LINE = 20;

/** The greatest total height of everything that is not drawn, in pixels, because browsers have a limit. */
const TALLEST = 8_000_000;

/** How far to draw beyond the visible part, in each direction, in pixels. */
const MARGIN = 600;

/** The most times that a log is drawn for one frame. */
const MOST_STEPS = 12;

/** A distance to the end, in pixels, that still counts as being at the end. */
const NEAR = 24;

interface LinesProps {
  index: number;
  entries: readonly TimelineEntry[];
  labels: Labels;
  marked: number | null;
  measure: (index: number, height: number) => void;
  href?: ((offset: number) => string) | undefined;
  render?: ((event: TidingsEvent) => ReactNode) | undefined;
}

const Lines = memo(function Lines({ index, entries, labels, marked, measure, href, render }: LinesProps) {
  const list = useRef<HTMLOListElement>(null);
  // Measure at once, because the scroll position depends on it, and whenever the width changes.
  useLayoutEffect(() => measure(index, list.current!.offsetHeight));
  useLayoutEffect(() => observeSize([list.current!], () => measure(index, list.current!.offsetHeight)), [index, measure]);
  return (
    <ol ref={list}>
      {entries.map((entry, at) => {
        const offset = "offset" in entry ? entry.offset : entry.from;
        return <Line key={`${entry.event_type} ${offset}`} entry={entry} before={entries[at - 1] ?? null} labels={labels} marked={offset === marked} href={href} render={render} />;
      })}
    </ol>
  );
});

export interface VirtualLogProps {
  store: LogStore;
  view: LogView;
  labels: Labels;
  wrap: boolean;
  /** The line to show, and how often it was requested. */
  target: { offset: number; turn: number } | null;
  href?: ((offset: number) => string) | undefined;
  render?: ((event: TidingsEvent) => ReactNode) | undefined;
  children?: ReactNode;
}

/**
 * A log of any length. Only the chunks near the visible part are drawn. The others have their last
 * measured height, or an estimated one.
 *
 * The line at the top of the visible part keeps its place, whatever is loaded or removed above it.
 * At the end of the log, the newest line keeps its place.
 */
export function VirtualLog({ store, view, labels, wrap, target, href, render, children }: VirtualLogProps) {
  const { head, first, epoch } = view;
  const box = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<number, number>());
  const anchor = useRef<{ offset: number; top: number } | null>(null);
  const followed = useRef(true);
  const lastTop = useRef(0);
  const [following, setFollowing] = useState(true);
  const [seen, setSeen] = useState({ top: 0, height: 460, turn: 0 });
  const [leftAt, setLeftAt] = useState(0);

  const begin = Math.floor((Math.max(1, first) - 1) / CHUNK);
  const end = head < first ? begin : Math.floor((head - 1) / CHUNK) + 1;
  const guess = Math.min(CHUNK * LINE, TALLEST / Math.max(1, end - begin));
  const heightOf = (index: number) => {
    const entries = store.entries(index);
    return heights.current.get(index) ?? (entries ? entries.length * LINE : guess);
  };

  // The start of each chunk up to the visible part, and the height after it.
  let from = begin;
  let above = 0;
  while (from < end - 1 && above + heightOf(from) < seen.top - MARGIN) above += heightOf(from++);
  let to = from;
  for (let bottom = above; to < end && bottom < seen.top + seen.height + MARGIN; to++) bottom += heightOf(to);
  let below = 0;
  for (let index = to; index < end; index++) below += heightOf(index);

  const measure = useCallback((index: number, height: number) => {
    if (heights.current.get(index) === height) return;
    heights.current.set(index, height);
    setSeen((now) => ({ ...now, turn: now.turn + 1 }));
  }, []);

  // Measurements become invalid with another log, or with lines of another height.
  const measured = useRef("");
  const kind = `${epoch} ${wrap}`;
  if (measured.current !== kind) {
    measured.current = kind;
    heights.current.clear();
  }

  const look = useCallback(() => {
    const element = box.current!;
    const { scrollTop, clientHeight, scrollHeight } = element;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only a reader scrolls up. Everything else moves down.
    if (atEnd) followed.current = true;
    else if (scrollTop < lastTop.current - 1) followed.current = false;
    lastTop.current = scrollTop;
    setFollowing(followed.current);
    anchor.current = null;
    const top = element.getBoundingClientRect().top;
    for (const line of element.querySelectorAll<HTMLElement>("[data-offset]")) {
      const { bottom, top: lineTop } = line.getBoundingClientRect();
      if (bottom < top) continue;
      anchor.current = { offset: Number(line.dataset.offset), top: lineTop - top };
      break;
    }
    setSeen((now) => (now.top === scrollTop && now.height === clientHeight ? now : { top: scrollTop, height: clientHeight, turn: now.turn }));
  }, []);

  // A step that changes what is drawn requests another step. If the steps do not settle, the next
  // frame continues.
  const steps = useRef(0);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- It follows every change of height, and changes nothing that is right already.
  useLayoutEffect(() => {
    const element = box.current!;
    if (++steps.current === 1) {
      requestAnimationFrame(() => {
        if (steps.current > MOST_STEPS) setSeen((now) => ({ ...now, turn: now.turn + 1 }));
        steps.current = 0;
      });
    }
    if (steps.current > MOST_STEPS) return;
    if (followed.current) {
      element.scrollTop = element.scrollHeight;
    } else if (anchor.current) {
      const line = element.querySelector(`[data-offset="${anchor.current.offset}"]`);
      if (line) {
        const moved = line.getBoundingClientRect().top - element.getBoundingClientRect().top - anchor.current.top;
        if (Math.abs(moved) > 0.5) element.scrollTop += moved;
      }
    }
    lastTop.current = element.scrollTop;
    setSeen((now) => (now.top === element.scrollTop && now.height === element.clientHeight ? now : { ...now, top: element.scrollTop, height: element.clientHeight }));
  });

  useEffect(() => store.look(from, to - 1), [store, from, to, head, first]);

  useEffect(() => observeSize([box.current!], look), [look]);

  useEffect(() => {
    if (!following) setLeftAt(store.getSnapshot().head);
  }, [following, store]);

  // To show a line, go to the place of its chunk first, then to the line itself when it is loaded.
  const sought = useRef<number | null>(null);
  useEffect(() => {
    if (!target) return;
    sought.current = target.offset;
    followed.current = false;
    setFollowing(false);
  }, [target]);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- It goes on with every chunk that comes, until the line is there.
  useEffect(() => {
    const element = box.current!;
    const offset = sought.current;
    if (offset === null || end === begin) return;
    const line = element.querySelector<HTMLElement>(`[data-offset="${offset}"]`);
    if (line) {
      sought.current = null;
      element.scrollTop += line.getBoundingClientRect().top - element.getBoundingClientRect().top - element.clientHeight / 3;
      look();
      return;
    }
    const index = Math.min(end - 1, Math.max(begin, Math.floor((offset - 1) / CHUNK)));
    let top = 0;
    for (let before = begin; before < index; before++) top += heightOf(before);
    const share = store.entries(index) ? ((offset - 1) % CHUNK) / CHUNK : 0;
    anchor.current = null;
    element.scrollTop = top + share * heightOf(index);
    lastTop.current = element.scrollTop;
    // The text of an output has no line of its own, so only its place can be shown.
    if (store.entries(index) && from <= index && index < to) sought.current = null;
    const { scrollTop, clientHeight } = element;
    setSeen((now) => (now.top === scrollTop && now.height === clientHeight ? now : { ...now, top: scrollTop, height: clientHeight }));
  });

  const jump = () => {
    followed.current = true;
    setFollowing(true);
    const element = box.current!;
    element.scrollTop = element.scrollHeight;
    look();
  };
  const fresh = head - leftAt;
  const drawn = Array.from({ length: to - from }, (_, at) => from + at);
  return (
    <div className="td-log-view">
      <div ref={box} className="td-lines" data-wrap={wrap || undefined} tabIndex={0} role="log" aria-live="off" aria-label={labels.newest} onScroll={look}>
        {from === begin && view.reset && <p className="td-line td-gap"><span>{labels.gap(1, 0, labels.gapReasons[view.reset])}</span></p>}
        {from === begin && first > 1 && <p className="td-line td-gap"><span>{labels.notKept(count(first - 1))}</span></p>}
        <div style={{ height: above }} />
        {drawn.map((index) => {
          const entries = store.entries(index);
          if (entries) return <Lines key={index} index={index} entries={entries} labels={labels} marked={target?.offset ?? null} measure={measure} href={href} render={render} />;
          return (
            <p key={index} className="td-line td-unloaded" style={{ height: guess }}>
              {view.failure === null ? labels.loading : ""}
            </p>
          );
        })}
        <div style={{ height: below }} />
      </div>
      {!following && (
        <button type="button" className="td-button td-small td-jump" onClick={jump}>
          ↓ {labels.toEnd}
          {fresh > 0 && ` · ${labels.newEvents(count(fresh))}`}
        </button>
      )}
      {children}
    </div>
  );
}
