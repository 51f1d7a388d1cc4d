import { useCallback, useLayoutEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Ack, AgentState, Event as TaskEvent, NewEvent, TaskSnapshot } from "../generated/protocol.js";
import type { TaskGap } from "../options.js";
import type { TidingsClient } from "../websocket.js";
import { type ClientChoice, useTidingsClient } from "./client.js";
import { TaskStore, type TaskView } from "./task-store.js";

export interface UseTaskOptions extends ClientChoice {
  /** Events from before that are shown. Default 200. */
  history?: number;
  /** Events that are kept, the newest. Default 500. */
  maxEvents?: number;
  /** Called for every event, in order; always the function of the last render. */
  onEvent?: (event: TaskEvent) => void;
  onGap?: (gap: TaskGap) => void;
}

export interface UseTask extends TaskView {
  /** Per cent, where the task tells. */
  readonly progress: number | null;
  readonly message: string | null;
  readonly agents: readonly AgentState[];
  readonly client: TidingsClient;
  publish(event: NewEvent): Promise<Ack>;
  command(command: string, args?: Record<string, unknown>): Promise<Ack>;
  reconnect(): void;
}

const NO_AGENTS: readonly AgentState[] = [];

/**
 * A task, live. Every event is taken in; the component renders once a frame at
 * most. All uses on a page share one socket, which closes after the last one
 * has unmounted.
 */
export function useTaskWebSocket(taskId: string, options: UseTaskOptions = {}): UseTask {
  const { history = 200, maxEvents = 500 } = options;
  const client = useTidingsClient(options);
  const latest = useRef<Pick<UseTaskOptions, "onEvent" | "onGap">>({});
  useLayoutEffect(() => {
    latest.current = options;
  });
  const store = useMemo(
    () =>
      new TaskStore(client, taskId, {
        history,
        maxEvents,
        onEvent: (event) => latest.current.onEvent?.(event),
        onGap: (gap) => latest.current.onGap?.(gap),
      }),
    [client, taskId, history, maxEvents],
  );
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
  const publish = useCallback((event: NewEvent) => client.publish(taskId, event), [client, taskId]);
  const command = useCallback(
    (name: string, args?: Record<string, unknown>) => client.command(taskId, name, args),
    [client, taskId],
  );
  const reconnect = useCallback(() => client.reconnect(), [client]);
  return useMemo(() => {
    const task: TaskSnapshot | null = view.task;
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
