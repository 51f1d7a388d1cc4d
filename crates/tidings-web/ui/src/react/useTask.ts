import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";
import { TidingsError } from "../error.js";
import type { Ack, AgentState } from "../generated/protocol.js";
import { IDLE } from "../status.js";
import { TaskStore, type TaskStoreOptions, type TaskView } from "../store/task-store.js";
import type { NewTidingsEvent } from "../types.js";
import type { TidingsClient } from "../websocket.js";
import { type ClientChoice, useEarlyEffect, useTidingsClient } from "./client.js";

export interface UseTaskOptions extends ClientChoice, TaskStoreOptions {
  /** Whether to watch. Default true. */
  enabled?: boolean | undefined;
}

export interface UseTask extends TaskView {
  /** The progress in per cent, if the task reports it. */
  readonly progress: number | null;
  readonly message: string | null;
  readonly agents: readonly AgentState[];
  readonly client: TidingsClient;
  /** Publishes an event to the task. */
  publish(event: NewTidingsEvent): Promise<Ack>;
  /** Sends a command to the task. */
  command(command: string, args?: Record<string, unknown>): Promise<Ack>;
  reconnect(): void;
}

const NO_AGENTS: readonly AgentState[] = [];

const NOTHING: TaskView = { status: IDLE, asOf: null, task: null, timeline: [], events: [], gaps: [], toolCalls: [], commands: [], permissions: null, error: null };

const nothing = () => NOTHING;
const never = () => () => {};

/**
 * Watches a task. Every event is processed, and the component renders at most once per frame. All
 * components on a page share one socket, which closes after the last one has unmounted. Without a
 * `taskId`, or with `enabled: false`, nothing is watched.
 */
export function useTask(taskId: string | null | undefined, options: UseTaskOptions = {}): UseTask {
  const { history, maxEvents, enabled = true } = options;
  const client = useTidingsClient(options);
  const latest = useRef<UseTaskOptions>({});
  const id = enabled ? (taskId ?? null) : null;
  const store = useMemo(() => {
    if (id === null) return null;
    return new TaskStore(client, id, {
      history,
      maxEvents,
      onEvent: (event) => latest.current.onEvent?.(event),
      onGap: (gap) => latest.current.onGap?.(gap),
      onReset: (reset) => latest.current.onReset?.(reset),
    });
  }, [client, id, history, maxEvents]);
  const view = useSyncExternalStore(store?.subscribe ?? never, store?.getSnapshot ?? nothing, nothing);
  useEarlyEffect(() => {
    latest.current = options;
  });
  const publish = useCallback((event: NewTidingsEvent) => (taskId == null ? noTask() : client.publish(taskId, event)), [client, taskId]);
  const command = useCallback(
    (name: string, args?: Record<string, unknown>) => (taskId == null ? noTask() : client.command(taskId, name, args)),
    [client, taskId],
  );
  const reconnect = useCallback(() => client.reconnect(), [client]);
  return useMemo(() => {
    const { task } = view;
    return {
      ...view,
      progress: task?.progress ?? null,
      message: task?.message ?? null,
      agents: task?.agents ?? NO_AGENTS,
      client,
      publish,
      command,
      reconnect,
    };
  }, [view, client, publish, command, reconnect]);
}

function noTask(): Promise<never> {
  return Promise.reject(new TidingsError("closed", "there is no task: the hook was called without a task id"));
}
