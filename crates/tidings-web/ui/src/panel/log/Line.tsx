import { memo, type ReactNode } from "react";
import { isGap, type TimelineEntry } from "../../store/task-store.js";
import type { TidingsEvent } from "../../types.js";
import { clock, day, moment } from "../format.js";
import type { Labels } from "../labels.js";
import { Ansi } from "./Ansi.js";
import { sentence, tone } from "./sentence.js";

export interface LineProps {
  entry: TimelineEntry;
  /** The previous entry, if it is known. */
  before: TimelineEntry | null;
  labels: Labels;
  /** Whether this is the line that the URL points to. */
  marked: boolean;
  href?: ((offset: number) => string) | undefined;
  render?: ((event: TidingsEvent) => ReactNode) | undefined;
}

/**
 * A line of the log, and the separator before it if a day or a run begins. Its parts are inline, so
 * that a copied line is one line.
 */
export const Line = memo(function Line({ entry, before, labels, marked, href, render }: LineProps) {
  if (isGap(entry)) {
    return (
      <li className="td-line td-gap">
        <span>{labels.gap(entry.from, entry.to, labels.gapReasons[entry.reason])}</span>
      </li>
    );
  }
  const { event_type, timestamp, offset } = entry;
  const time = (
    <time dateTime={timestamp} title={moment(timestamp, 0)}>
      {clock(timestamp)}
    </time>
  );
  const begins = before && day(before.timestamp) !== day(timestamp) ? day(timestamp) : null;
  return (
    <>
      {(event_type === "task_started" || begins) && (
        <li className="td-line td-separator" aria-hidden={event_type === "task_started" ? true : undefined}>
          <span>{event_type === "task_started" ? moment(timestamp, 0) : begins}</span>
        </li>
      )}
      <li className="td-line" data-tone={tone(entry)} data-offset={offset} data-marked={marked || undefined}>
        {href ? (
          <a className="td-at" href={href(offset)}>
            {time}
          </a>
        ) : (
          <span className="td-at">{time}</span>
        )}{" "}
        {event_type !== "log" && <span className="td-type">{event_type} </span>}
        <span className="td-text" dir="auto">
          {render?.(entry) ?? <Ansi text={sentence(entry)} />}
        </span>
      </li>
    </>
  );
});
