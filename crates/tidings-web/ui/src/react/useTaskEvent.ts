import { useMemo, useRef, useSyncExternalStore } from "react";
import { perFrame } from "../store/frames.js";
import type { EventOf, KnownEventType, TidingsEvent } from "../types.js";
import type { TidingsClient } from "../websocket.js";
import { type ClientChoice, useEarlyEffect, useTidingsClient } from "./client.js";

export interface UseTaskEventOptions extends ClientChoice {
  /** How many of the newest retained events to look at first. Default 0. */
  history?: number | undefined;
  /** Whether to watch. Default true. */
  enabled?: boolean | undefined;
}

type Select<S> = (event: TidingsEvent) => S | null | undefined;

/** The last value that a selector made from an event, as a store. */
function latestOf<S>(client: TidingsClient, taskId: string, history: number, select: Select<S>) {
  let value: S | null = null;
  let shown: S | null = null;
  return {
    getSnapshot: () => shown,
    subscribe(listener: () => void): () => void {
      const frames = perFrame(() => {
        shown = value;
        listener();
      });
      const watch = client.watchTask(taskId, {
        history,
        onEvent(event) {
          const next = select(event);
          if (next == null) return;
          value = next;
          frames.schedule();
        },
      });
      return () => {
        frames.cancel();
        watch.close();
      };
    },
  };
}

const nothing = () => null;
const never = () => () => {};

/**
 * Returns the newest event of a type, or the last value that `select` made from an event. The
 * component renders only when this changes.
 */
export function useTaskEvent<T extends KnownEventType>(taskId: string | null | undefined, type: T, options?: UseTaskEventOptions): EventOf<T> | null;
export function useTaskEvent<S>(taskId: string | null | undefined, select: Select<S>, options?: UseTaskEventOptions): S | null;
export function useTaskEvent<S>(taskId: string | null | undefined, select: string | Select<S>, options: UseTaskEventOptions = {}): S | TidingsEvent | null {
  const client = useTidingsClient(options);
  const { history = 0, enabled = true } = options;
  const latest = useRef(select);
  useEarlyEffect(() => {
    latest.current = select;
  });
  const type = typeof select === "string" ? select : null;
  const store = useMemo(() => {
    if (taskId == null || !enabled) return null;
    return latestOf<S | TidingsEvent>(client, taskId, history, (event) => {
      if (type !== null) return event.event_type === type ? event : null;
      return (latest.current as Select<S>)(event);
    });
  }, [client, taskId, history, enabled, type]);
  return useSyncExternalStore(store?.subscribe ?? never, store?.getSnapshot ?? nothing, nothing);
}
