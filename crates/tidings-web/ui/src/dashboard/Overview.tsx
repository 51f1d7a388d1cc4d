import { type KeyboardEvent, useDeferredValue, useMemo, useState, useSyncExternalStore } from "react";
import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { duration, moment, times, useNow } from "../panel/format.js";
import { plain } from "../panel/log/Ansi.js";
import { Progress, StatusBadge } from "../panel/Progress.js";
import type { TasksStore } from "../store/tasks-store.js";
import { useStats, type Session } from "./api.js";
import { useNeedsYou } from "./inbox.js";
import type { Rates } from "./rates.js";
import { keepHere, kept, Link, useNarrow, useQuery } from "./routing.js";
import { ORDERS, remark, select } from "./sorting.js";
import { Statistics } from "./Statistics.js";
import { VirtualList } from "./VirtualList.js";

const FILTERS: readonly { status: TaskStatus | null; label: string }[] = [
  { status: null, label: "All" },
  { status: "running", label: "Running" },
  { status: "pending", label: "Pending" },
  { status: "completed", label: "Completed" },
  { status: "failed", label: "Failed" },
  { status: "cancelled", label: "Cancelled" },
];

/** The filter of the tasks that wait for an answer of the reader, as it stands in the URL. */
const NEEDS_YOU = "needs-you";

interface RowProps {
  task: TaskSnapshot;
  now: number;
  needsYou: boolean;
  /** Its place in its tree, if the list is grouped. */
  place: Place | null;
}

interface Place {
  /** How far below the topmost task of its tree it stands. */
  depth: number;
  /** The number of its children in the list. */
  children: number;
  closed: boolean;
  /** Hides or shows its children. */
  toggle: (closed: boolean) => void;
}

/** The greatest depth that is shown by an indent. */
const MOST_INDENT = 6;

/** The indent of each depth, which is also the room for the button of a parent, in pixels. */
const INDENT = 20;

function Row({ task, now, needsYou, place }: RowProps) {
  const { elapsed } = times(task, now);
  const name = plain(task.name ?? task.task_id);
  const depth = place?.depth ?? 0;
  const indent = Math.min(depth, MOST_INDENT) * INDENT;
  // As in a tree: the arrows close and open the row that has the focus.
  const pressed = (event: KeyboardEvent) => {
    const closes = event.key === "ArrowLeft";
    if (!place?.children || (!closes && event.key !== "ArrowRight")) return;
    event.preventDefault();
    place.toggle(closes);
  };
  return (
    <div className="db-item" onKeyDown={pressed}>
      <Link className="db-row" name={task.task_id} to={`/tasks/${encodeURIComponent(task.task_id)}`}>
        <span className="db-name" style={place ? { paddingLeft: indent + INDENT } : undefined}>
          {depth > 0 && <span className="td-hidden">Level {depth + 1}: </span>}
          <span className="db-title">
            <strong dir="auto">{name}</strong>
            {place?.closed && <span className="td-count">{place.children}</span>}
          </span>
          <code>{task.task_id}</code>
        </span>
        <span className="db-state">
          <StatusBadge status={task.status} stalled={task.stalled} />
          {needsYou && <span className="td-badge td-asks">Needs you</span>}
        </span>
        <span className="db-bar">
          <Progress value={task.progress} status={task.status} stalled={task.stalled} run={task.run} label={`Progress of ${name}`} />
          <span className="db-percent">{task.progress === null ? "" : `${Math.round(task.progress)} %`}</span>
        </span>
        <span className="db-remark" dir="auto">
          {remark(task)}
        </span>
        <span className="db-time">
          {elapsed === null ? "" : duration(elapsed)}
          {task.started_at && <span className="db-began">{moment(task.started_at, now)}</span>}
        </span>
      </Link>
      {place !== null && place.children > 0 && (
        <button
          type="button"
          className="db-toggle"
          style={{ insetInlineStart: indent }}
          data-name={task.task_id}
          aria-expanded={!place.closed}
          aria-label={`Children of ${name}`}
          onClick={() => place.toggle(!place.closed)}
        />
      )}
    </div>
  );
}

/** All tasks of the server. */
export function Overview({ store, rates, session }: { store: TasksStore; rates: Rates; session: Session }) {
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot);
  const stats = useStats(session, store);
  const [text, setText] = useQuery("q");
  const [chosen, setStatus] = useQuery("status");
  const [order, setOrder] = useQuery("sort");
  const status = FILTERS.find((filter) => filter.status === chosen)?.status ?? null;
  const wanted = useDeferredValue(text);
  const ticking = useNow(view.counts.running > 0 && view.asOf === null);
  const now = view.asOf ?? ticking;
  const narrow = useNarrow();
  const needsYou = useNeedsYou(session, view.tasks);
  const only = chosen === NEEDS_YOU ? needsYou : null;
  const [closed, setClosed] = useState<ReadonlySet<string>>(() => new Set(kept().closed));
  const { tasks: shown, depths, children } = useMemo(() => select(view.tasks, { text: wanted, status, only, order, closed }), [view.tasks, wanted, status, only, order, closed]);
  const placeOf = (id: string): Place | null =>
    depths && {
      depth: depths.get(id) ?? 0,
      children: children.get(id) ?? 0,
      closed: closed.has(id) && !wanted.trim(),
      toggle: (close) => {
        const next = new Set(closed);
        if (close) next.add(id);
        else next.delete(id);
        setClosed(next);
        keepHere({ closed: [...next] });
      },
    };
  return (
    <main className="db-overview" data-stale={view.asOf !== null || undefined}>
      <h1 className="td-hidden">All tasks</h1>
      <Statistics stats={stats} view={view} rates={rates} />
      {view.error && (
        <p className="td-callout td-bad" role="alert">
          {view.error.message}
        </p>
      )}
      <section className="td-card db-list" aria-label="Tasks">
        <div className="db-filters">
          <input
            type="search"
            className="td-input"
            data-search
            placeholder="Search tasks"
            aria-label="Filter tasks"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <div className="db-chips" role="group" aria-label="Status" tabIndex={0}>
            {FILTERS.map((filter) => (
              <button key={filter.label} type="button" className="td-button td-small" aria-pressed={status === filter.status && !only} onClick={() => setStatus(filter.status ?? "")}>
                {filter.label} <span className="td-count">{filter.status === null ? view.tasks.length : view.counts[filter.status]}</span>
              </button>
            ))}
            {(needsYou.size > 0 || only) && (
              <button type="button" className="td-button td-small db-needs-you" aria-pressed={only !== null} onClick={() => setStatus(only ? "" : NEEDS_YOU)}>
                Needs you <span className="td-count">{needsYou.size}</span>
              </button>
            )}
          </div>
          <select className="td-input db-order" aria-label="Order" value={order in ORDERS ? order : ""} onChange={(event) => setOrder(event.target.value)}>
            {Object.entries(ORDERS).map(([name, { label }]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </div>
        <VirtualList items={shown} rowHeight={narrow ? 76 : 52} label="Tasks" keyOf={(task) => task.task_id}>
          {(task) => <Row task={task} now={now} needsYou={needsYou.has(task.task_id)} place={placeOf(task.task_id)} />}
        </VirtualList>
        {shown.length === 0 && (
          <p className="td-empty">
            {view.tasks.length > 0
              ? "No task matches."
              : view.status.state === "connected"
                ? "No tasks yet. The first event of any task makes it appear here."
                : "Waiting for the server."}
          </p>
        )}
      </section>
    </main>
  );
}
