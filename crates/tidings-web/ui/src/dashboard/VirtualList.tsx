import { type ReactNode, useLayoutEffect, useRef, useState } from "react";
import { observeSize } from "../panel/size.js";
import { keepHere, kept } from "./routing.js";

/** The number of rows to draw beyond the visible ones, in each direction. */
const MARGIN = 6;

export interface VirtualListProps<T> {
  items: readonly T[];
  /** The height of every row, in pixels. */
  rowHeight: number;
  label: string;
  keyOf: (item: T) => string;
  children: (item: T) => ReactNode;
}

/**
 * A list that draws only the visible rows and the row with the focus. Ten thousand rows cost as
 * much as twenty, and the focus is never lost.
 */
export function VirtualList<T>({ items, rowHeight, label, keyOf, children }: VirtualListProps<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [{ top, height }, setSeen] = useState({ top: 0, height: 600 });
  const [focused, setFocused] = useState<string | null>(null);
  const pending = useRef<ReturnType<typeof kept> | null>(null);
  useLayoutEffect(() => {
    pending.current = kept();
    const element = box.current!;
    const measure = () => setSeen({ top: element.scrollTop, height: element.clientHeight });
    measure();
    return observeSize([element], measure);
  }, []);
  // After a return to the page, the same rows are visible as before, and the same row has the
  // focus.
  useLayoutEffect(() => {
    const { top = 0, focus } = pending.current ?? {};
    if (!pending.current || items.length * rowHeight < top) return;
    if (focus !== undefined && !items.some((item) => keyOf(item) === focus)) return;
    pending.current = null;
    box.current!.scrollTop = top;
    if (focus !== undefined) setFocused(focus);
  }, [items, rowHeight, keyOf]);
  useLayoutEffect(() => {
    const { focus } = kept();
    if (!focused || pending.current || focus !== focused || !document.activeElement?.matches("body, h1")) return;
    box.current!.querySelector<HTMLElement>(`[data-name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }, [focused]);
  const first = Math.max(0, Math.floor(top / rowHeight) - MARGIN);
  const last = Math.min(items.length, Math.ceil((top + height) / rowHeight) + MARGIN);
  const drawn = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
  const away = focused === null ? -1 : items.findIndex((item) => keyOf(item) === focused);
  if (away >= 0 && away < first) drawn.unshift(away);
  else if (away >= last) drawn.push(away);
  // If the row with the focus has left the list, the focus goes to the row in its place.
  const place = useRef(0);
  const moves = useRef(false);
  useLayoutEffect(() => {
    if (away >= 0) place.current = away;
    if (focused === null || away >= 0 || document.activeElement !== document.body) return;
    const next = items[Math.min(place.current, items.length - 1)];
    moves.current = next !== undefined;
    setFocused(next === undefined ? null : keyOf(next));
  }, [away, focused, items, keyOf]);
  useLayoutEffect(() => {
    if (!moves.current || focused === null) return;
    moves.current = false;
    box.current!.querySelector<HTMLElement>(`[data-name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }, [focused]);
  return (
    <div
      ref={box}
      className="db-scroll"
      onScroll={({ currentTarget }) => {
        setSeen({ top: currentTarget.scrollTop, height: currentTarget.clientHeight });
        if (!pending.current) keepHere({ top: currentTarget.scrollTop });
      }}
      onWheel={() => (pending.current = null)}
      onFocus={({ target }) => setFocused((target as HTMLElement).closest<HTMLElement>("[data-name]")?.dataset.name ?? null)}
      // While another window has the focus, the row still has it in this page.
      onBlur={({ target, relatedTarget }) => (relatedTarget || document.activeElement !== target) && setFocused(null)}
    >
      <ul aria-label={label} className="db-rows" style={{ height: items.length * rowHeight }}>
        {drawn.map((index) => {
          const item = items[index]!;
          return (
            <li key={keyOf(item)} aria-setsize={items.length} aria-posinset={index + 1} style={{ height: rowHeight, transform: `translateY(${index * rowHeight}px)` }}>
              {children(item)}
            </li>
          );
        })}
      </ul>
    </div>
  );
}
