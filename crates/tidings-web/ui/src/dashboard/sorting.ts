import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { errorText } from "../panel/format.js";
import { plain } from "../panel/log/Ansi.js";

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
  tree: { label: "By parent", compare: null },
  longest: { label: "Longest first", compare: (a, b) => lasted(b) - lasted(a) },
};

/** Returns the text of a row next to the task's name. */
export function remark(task: TaskSnapshot): string {
  if (task.status === "failed" && task.error) return plain(errorText(task.error));
  return plain(task.pending_inputs[0]?.prompt ?? task.message ?? task.stage ?? "");
}

const NOTHING: ReadonlySet<string> = new Set();
const NONE: ReadonlyMap<string, number> = new Map();

export interface Selected {
  readonly tasks: readonly TaskSnapshot[];
  /** How far each task is below the topmost of its tree, if they are grouped. */
  readonly depths: ReadonlyMap<string, number> | null;
  /** The number of children of each parent among the tasks, if they are grouped. */
  readonly children: ReadonlyMap<string, number>;
}

/**
 * Groups tasks so that children follow their parents. A task whose parent is not among them is at
 * the top. Tasks below a closed parent are left out.
 */
function grouped(tasks: readonly TaskSnapshot[], closed: ReadonlySet<string>): Selected {
  const known = new Set(tasks.map(({ task_id }) => task_id));
  const below = new Map<string, TaskSnapshot[]>();
  for (const task of tasks) {
    const parent = task.parent_task_id !== null && known.has(task.parent_task_id) ? task.parent_task_id : "";
    const siblings = below.get(parent);
    if (siblings) siblings.push(task);
    else below.set(parent, [task]);
  }
  const depths = new Map<string, number>();
  const sorted: TaskSnapshot[] = [];
  const waiting = (below.get("") ?? []).map((task) => ({ task, depth: 0, hidden: false })).reverse();
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { task, depth, hidden } = next;
    depths.set(task.task_id, depth);
    if (!hidden) sorted.push(task);
    const inside = { depth: depth + 1, hidden: hidden || closed.has(task.task_id) };
    for (const child of (below.get(task.task_id) ?? []).toReversed()) waiting.push({ task: child, ...inside });
  }
  // Tasks that are parents of each other are below no task at the top.
  for (const task of tasks) if (!depths.has(task.task_id)) sorted.push(task);
  below.delete("");
  return { tasks: sorted, depths, children: new Map([...below].map(([parent, tasks]) => [parent, tasks.length])) };
}

export interface Selection {
  /** A text in the id, name, message, question or error. */
  text: string;
  status: TaskStatus | null;
  /** Only these tasks. */
  only: ReadonlySet<string> | null;
  /** A key of {@link ORDERS}. */
  order: string;
  /** The parents whose children are hidden. A search finds them all the same. */
  closed: ReadonlySet<string>;
}

/** Returns the tasks that match, sorted. */
export function select(tasks: readonly TaskSnapshot[], { text: wanted, status, only, order, closed }: Selection): Selected {
  const text = wanted.trim().toLowerCase();
  const chosen = tasks.filter(
    (task) => (status === null || task.status === status) && (only === null || only.has(task.task_id)) && (!text || [task.task_id, task.name, task.message, remark(task)].some((said) => said?.toLowerCase().includes(text))),
  );
  if (order === "tree") return grouped(chosen, text ? NOTHING : closed);
  const compare = ORDERS[order]?.compare;
  return { tasks: compare ? chosen.sort(compare) : chosen, depths: null, children: NONE };
}
