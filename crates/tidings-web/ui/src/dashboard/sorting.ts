import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { errorText } from "../panel/format.js";

const begun = (task: TaskSnapshot) => (task.started_at ? Date.parse(task.started_at) : 0);

function lasted(task: TaskSnapshot): number {
  if (!task.started_at) return -1;
  return (task.finished_at ? Date.parse(task.finished_at) : Date.now()) - begun(task);
}

/** The orders of the list. The tasks already come sorted by id. */
export const ORDERS: Record<string, { label: string; compare: ((a: TaskSnapshot, b: TaskSnapshot) => number) | null }> = {
  "": { label: "By id", compare: null },
  newest: { label: "Newest first", compare: (a, b) => begun(b) - begun(a) },
  failed: { label: "Failed first", compare: (a, b) => Number(b.status === "failed") - Number(a.status === "failed") || begun(b) - begun(a) },
  longest: { label: "Longest first", compare: (a, b) => lasted(b) - lasted(a) },
};

/** Returns the text of a row next to the task's name. */
export function remark(task: TaskSnapshot): string {
  if (task.status === "failed" && task.error) return errorText(task.error);
  return task.message ?? task.stage ?? "";
}

/** Returns the tasks with a status and with a text in their id, name, message or error, sorted. */
export function select(tasks: readonly TaskSnapshot[], wanted: string, status: TaskStatus | null, order: string): readonly TaskSnapshot[] {
  const text = wanted.trim().toLowerCase();
  const chosen = tasks.filter(
    (task) => (status === null || task.status === status) && (!text || [task.task_id, task.name, task.message, remark(task)].some((said) => said?.toLowerCase().includes(text))),
  );
  const compare = ORDERS[order]?.compare;
  return compare ? chosen.sort(compare) : chosen;
}
