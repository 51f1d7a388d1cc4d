import { useDeferredValue, useMemo, useState, useSyncExternalStore } from "react";
import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { duration, errorText, times, useNow } from "../panel/format.js";
import { Progress, StatusBadge } from "../panel/Progress.js";
import { useStats, type Session } from "./api.js";
import type { Rates } from "./rates.js";
import { Link, useNarrow } from "./routing.js";
import { Statistics } from "./Statistics.js";
import type { TasksStore } from "../store/tasks-store.js";
import { VirtualList } from "./VirtualList.js";

const FILTERS: readonly { status: TaskStatus | null; label: string }[] = [
  { status: null, label: "All" },
  { status: "running", label: "Running" },
  { status: "pending", label: "Pending" },
  { status: "completed", label: "Completed" },
  { status: "failed", label: "Failed" },
  { status: "cancelled", label: "Cancelled" },
];

function remark(task: TaskSnapshot): string {
  if (task.status === "failed" && task.error) return errorText(task.error);
  return task.message ?? task.stage ?? "";
}

function Row({ task, now }: { task: TaskSnapshot; now: number }) {
  const { elapsed } = times(task, now);
  const name = task.name ?? task.task_id;
  return (
    <Link className="db-row" to={`/tasks/${encodeURIComponent(task.task_id)}`}>
      <span className="db-name">
        <strong>{name}</strong>
        <code>{task.task_id}</code>
      </span>
      <StatusBadge status={task.status} stalled={task.stalled} />
      <span className="db-bar">
        <Progress value={task.progress} status={task.status} stalled={task.stalled} label={`Progress of ${name}`} />
        <span className="db-percent">{task.progress === null ? "" : `${Math.round(task.progress)} %`}</span>
      </span>
      <span className="db-remark">{remark(task)}</span>
      <span className="db-time">{elapsed === null ? "" : duration(elapsed)}</span>
    </Link>
  );
}

/** All tasks of the server. */
export function Overview({ store, rates, session }: { store: TasksStore; rates: Rates; session: Session }) {
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot);
  const stats = useStats(session, store);
  const [text, setText] = useState("");
  const [status, setStatus] = useState<TaskStatus | null>(null);
  const wanted = useDeferredValue(text.trim().toLowerCase());
  const now = useNow(view.counts.running > 0);
  const narrow = useNarrow();
  const shown = useMemo(
    () =>
      view.tasks.filter(
        (task) =>
          (status === null || task.status === status) &&
          (!wanted || task.task_id.toLowerCase().includes(wanted) || task.name?.toLowerCase().includes(wanted)),
      ),
    [view.tasks, wanted, status],
  );
  return (
    <main className="db-overview">
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
            placeholder="Filter by name or id"
            aria-label="Filter tasks"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <div className="db-chips" role="group" aria-label="Status">
            {FILTERS.map((filter) => (
              <button
                key={filter.label}
                type="button"
                className="td-button td-small"
                aria-pressed={status === filter.status}
                onClick={() => setStatus(filter.status)}
              >
                {filter.label}{" "}
                <span className="td-count">{filter.status === null ? view.tasks.length : view.counts[filter.status]}</span>
              </button>
            ))}
          </div>
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
