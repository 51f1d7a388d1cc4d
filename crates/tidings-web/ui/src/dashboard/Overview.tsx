import { useDeferredValue, useMemo, useSyncExternalStore } from "react";
import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { duration, moment, times, useNow } from "../panel/format.js";
import { Progress, StatusBadge } from "../panel/Progress.js";
import type { TasksStore } from "../store/tasks-store.js";
import { useStats, type Session } from "./api.js";
import type { Rates } from "./rates.js";
import { Link, useNarrow, useQuery } from "./routing.js";
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

function Row({ task, now }: { task: TaskSnapshot; now: number }) {
  const { elapsed } = times(task, now);
  const name = task.name ?? task.task_id;
  return (
    <Link className="db-row" name={task.task_id} to={`/tasks/${encodeURIComponent(task.task_id)}`}>
      <span className="db-name">
        <strong dir="auto">{name}</strong>
        <code>{task.task_id}</code>
      </span>
      <StatusBadge status={task.status} stalled={task.stalled} />
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
  const shown = useMemo(() => select(view.tasks, wanted, status, order), [view.tasks, wanted, status, order]);
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
            placeholder="Search names, messages, errors"
            aria-label="Filter tasks"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <div className="db-chips" role="group" aria-label="Status" tabIndex={0}>
            {FILTERS.map((filter) => (
              <button key={filter.label} type="button" className="td-button td-small" aria-pressed={status === filter.status} onClick={() => setStatus(filter.status ?? "")}>
                {filter.label} <span className="td-count">{filter.status === null ? view.tasks.length : view.counts[filter.status]}</span>
              </button>
            ))}
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
          {(task) => <Row task={task} now={now} />}
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
