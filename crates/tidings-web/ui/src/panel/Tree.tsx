import type { ReactNode } from "react";
import type { UseTask } from "../react/useTask.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";

/** Draws a link to the page of a task. */
export type TaskLink = (taskId: string, children: ReactNode) => ReactNode;

export interface TreeProps extends Pick<UseTask, "client" | "task" | "status"> {
  /** Draws a link to a child. Without it, there are only names. */
  taskLink?: TaskLink | undefined;
  labels?: Partial<Labels> | undefined;
}

/** Loaded for a task that has children. */
const Children = loaded(() => import("./tree/Children.js"));

/** The tasks below a task, with their states and their progress. It takes what `useTask` returns: `<Tree {...live} />`. */
export function Tree({ client, task, status, taskLink, labels: own }: TreeProps) {
  const labels = useLabels(own);
  const counts = task?.children;
  if (!task || !counts) return null;
  return <Children key={task.task_id} client={client} taskId={task.task_id} counts={counts} status={status} taskLink={taskLink} labels={labels} fallback={null} />;
}
