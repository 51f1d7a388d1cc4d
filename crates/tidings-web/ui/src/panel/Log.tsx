import { memo, useDeferredValue, useLayoutEffect, useMemo, useRef, useState } from "react";
import { clock, errorText } from "./format.js";
import { isGap, type GapEntry, type TimelineEntry } from "../store/task-store.js";
import type { TidingsEvent } from "../types.js";

type Fields = Record<string, any>;

/** What an event says, in one line. */
function sentence(event: TidingsEvent): string {
  const data = event.data as Fields;
  const id = data.step_id ?? data.tool_call_id ?? data.command_id ?? data.output_id ?? data.artifact_id ?? data.input_id;
  switch (event.event_type) {
    case "log":
      return data.message;
    case "task_started":
      return data.name ? `started: ${data.name}` : "started";
    case "progress_update": {
      const amount = data.progress != null ? `${Math.round(data.progress)} %` : `${data.current}${data.total ? ` of ${data.total}` : ""}`;
      return [amount, data.stage, data.message].filter(Boolean).join(" · ");
    }
    case "task_completed":
      return "completed";
    case "task_cancelled":
      return data.reason ? `cancelled: ${data.reason}` : "cancelled";
    case "task_stalled":
      return "nothing was heard within the lease";
    case "agent_status_change":
      return `${data.agent_id} is ${data.status}${data.message ? `: ${data.message}` : ""}`;
    case "tool_call_started":
      return `${data.tool} called (${id})`;
    case "step_started":
      return `step ${data.name ?? id} started`;
    case "output_delta":
      return data.text;
    case "command_requested":
      return `${data.by} asks to ${data.command}`;
    case "command_rejected":
      return `rejected: ${data.reason}`;
    case "input_required":
      return `needs an answer: ${data.prompt}`;
    case "artifact":
      return `made ${data.name ?? id}`;
  }
  if (data.error) return `${id ? `${id}: ` : ""}${errorText(data.error)}`;
  return id ? String(id) : JSON.stringify(data);
}

function tone(event: TidingsEvent): string | undefined {
  const data = event.data as Fields;
  if (/failed|rejected/.test(event.event_type) || data.level === "error" || data.stream === "stderr") return "failed";
  if (event.event_type === "task_completed") return "completed";
  return data.level === "warn" || data.level === "warning" || event.event_type === "task_stalled" ? "stalled" : undefined;
}

const REASONS: Record<GapEntry["reason"], string> = {
  expired: "no longer kept when this page came",
  overrun: "this page was too slow",
  conflated: "superseded while this page lagged",
  epoch_changed: "the log started over",
  removed: "the task was removed",
  ahead: "this page was ahead of the log",
  missed: "missed while there was no connection",
};

function gapText({ from, to, reason }: GapEntry): string {
  const why = REASONS[reason];
  if (to < from) return why;
  return from === to ? `Event ${from} is not shown: ${why}` : `Events ${from}–${to} are not shown: ${why}`;
}

const Line = memo(function Line({ entry }: { entry: TimelineEntry }) {
  if (isGap(entry)) {
    return (
      <li className="td-line td-gap">
        <span>{gapText(entry)}</span>
      </li>
    );
  }
  return (
    <li className="td-line" data-tone={tone(entry)}>
      <time dateTime={entry.timestamp}>{clock(entry.timestamp)}</time>
      <span className="td-type">{entry.event_type}</span>
      <span className="td-text">{sentence(entry)}</span>
    </li>
  );
});

/** Joins what an agent says word by word, or the words push out all else. */
function joined(timeline: readonly TimelineEntry[]): TimelineEntry[] {
  const lines: TimelineEntry[] = [];
  for (const entry of timeline) {
    const last = lines.at(-1);
    const same =
      entry.event_type === "output_delta" &&
      last?.event_type === "output_delta" &&
      !isGap(entry) &&
      !isGap(last) &&
      (entry.data as Fields).output_id === (last.data as Fields).output_id;
    if (!same) lines.push(entry);
    else lines[lines.length - 1] = { ...last, data: { ...last.data, text: (last.data as Fields).text + (entry.data as Fields).text } };
  }
  return lines;
}

/** The newest events, with gaps where they fell. Can be filtered and held still. */
export function Log({ timeline }: { timeline: readonly TimelineEntry[] }) {
  const [filter, setFilter] = useState("");
  const [held, setHeld] = useState<readonly TimelineEntry[] | null>(null);
  const wanted = useDeferredValue(filter.trim().toLowerCase());
  const shown = held ?? timeline;
  const lines = useMemo(() => {
    const all = joined(shown);
    if (!wanted) return all;
    // Gaps stay: what is filtered is what came, and that something is missing matters.
    return all.filter((entry) => isGap(entry) || `${entry.event_type} ${sentence(entry)}`.toLowerCase().includes(wanted));
  }, [shown, wanted]);
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    const box = list.current;
    if (box && atEnd.current && !held) box.scrollTop = box.scrollHeight;
  }, [lines, held]);
  const missed = held ? Math.max(0, newest(timeline) - newest(held)) : 0;
  return (
    <section className="td-card td-log" aria-label="Events">
      <header className="td-card-head">
        <h2>Events</h2>
        <input
          type="search"
          className="td-input"
          placeholder="Filter"
          aria-label="Filter events"
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
        />
        <button type="button" className="td-button td-small" aria-pressed={held !== null} onClick={() => setHeld(held ? null : timeline)}>
          {held ? (missed > 0 ? `Follow (${missed} new)` : "Follow") : "Hold"}
        </button>
      </header>
      <div
        ref={list}
        className="td-lines"
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Newest events"
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
        }}
      >
        <ol>
          {lines.map((entry, index) => (
            <Line key={isGap(entry) ? `gap-${entry.from}-${entry.to}-${index}` : entry.offset} entry={entry} />
          ))}
        </ol>
      </div>
      {lines.length === 0 && <p className="td-empty">{wanted ? "Nothing matches the filter." : "Nothing has happened yet."}</p>}
    </section>
  );
}

function newest(timeline: readonly TimelineEntry[]): number {
  const last = timeline.at(-1);
  return last ? (isGap(last) ? last.to : last.offset) : 0;
}
