import { useMemo, useSyncExternalStore } from "react";
import { IDLE } from "../status.js";
import { TasksStore, type TasksView } from "../store/tasks-store.js";
import { type ClientChoice, useTidingsClient } from "./client.js";

export interface UseTasksOptions extends ClientChoice {
  /** Whether to watch. Default true. */
  enabled?: boolean | undefined;
}

const NOTHING: TasksView = {
  status: IDLE,
  asOf: null,
  tasks: [],
  counts: { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 },
  gaps: 0,
  error: null,
};

const nothing = () => NOTHING;
const never = () => () => {};

/** Watches all tasks that match a pattern, such as `build-*`, including tasks that start later. */
export function useTasks(pattern: string | null | undefined, options: UseTasksOptions = {}): TasksView {
  const client = useTidingsClient(options);
  const wanted = options.enabled === false ? null : (pattern ?? null);
  const store = useMemo(() => (wanted === null ? null : new TasksStore(client, wanted)), [client, wanted]);
  return useSyncExternalStore(store?.subscribe ?? never, store?.getSnapshot ?? nothing, nothing);
}
