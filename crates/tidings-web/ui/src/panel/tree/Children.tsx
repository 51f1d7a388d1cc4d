import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { ChildrenState, TaskSnapshot } from "../../generated/protocol.js";
import { ChildrenStore } from "../../store/children-store.js";
import type { UseTask } from "../../react/useTask.js";
import { count } from "../format.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import { Progress, StatusBadge } from "../Progress.js";
import type { TaskLink } from "../Tree.js";

/** The states of children, in the order in which they are counted. */
const STATES = ["failed", "running", "pending", "completed", "cancelled"] as const;

export interface ChildrenProps extends Pick<UseTask, "client" | "status"> {
  taskId: string;
  /** What the parent's state says of its children. */
  counts: ChildrenState;
  taskLink: TaskLink | undefined;
  labels: Labels;
}

/** The children of a task. Each is live, and more are loaded on demand. */
export default function Children({ client, taskId, counts, status, taskLink, labels }: ChildrenProps) {
  const store = useMemo(() => new ChildrenStore(client, taskId), [client, taskId]);
  const { children, more, failure } = useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
  const connected = status.state === "connected";
  const total = STATES.reduce((sum, state) => sum + counts[state], 0);
  // The parent counts a child that begins or goes. The list says which one it is.
  useEffect(() => {
    if (connected) store.refresh();
  }, [store, connected, total]);
  return (
    <section className="td-card td-tree" aria-label={labels.children}>
      <h2>
        {labels.children} <span className="td-count">{count(total)}</span>
      </h2>
      <p className="td-muted td-tree-counts">
        {STATES.filter((state) => counts[state] > 0)
          .map((state) => `${count(counts[state])} ${labels.status[state].toLowerCase()}`)
          .join(" · ")}
      </p>
      <ul className="td-plain">
        {children.map((child) => (
          <li key={child.task_id}>
            <Child task={child} taskLink={taskLink} labels={labels} />
          </li>
        ))}
      </ul>
      {more && (
        <button type="button" className="td-link" onClick={() => store.more()}>
          {labels.moreChildren}
        </button>
      )}
      {failure !== null && (
        <p className="td-callout td-bad" role="alert">
          {labels.notLoaded(failure)}
        </p>
      )}
    </section>
  );
}

function Child({ task, taskLink, labels }: { task: TaskSnapshot } & Pick<ChildrenProps, "taskLink" | "labels">) {
  const name = plain(task.name ?? task.task_id);
  const { progress } = task;
  return (
    <div className="td-child">
      <span className="td-child-name" dir="auto">
        {taskLink?.(task.task_id, name) ?? name}
      </span>
      <StatusBadge status={task.status} stalled={task.stalled} labels={labels} />
      <span className="td-child-percent">{progress === null ? "" : `${Math.round(progress)} %`}</span>
      <Progress value={progress} status={task.status} stalled={task.stalled} run={task.run} label={labels.progressOf(name)} />
    </div>
  );
}
