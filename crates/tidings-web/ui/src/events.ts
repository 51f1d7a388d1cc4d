import { TidingsError } from "./error.js";
import type { Reset, Since } from "./generated/protocol.js";
import type { TaskGap } from "./options.js";
import type { TidingsEvent } from "./types.js";
import type { TaskWatch, TidingsClient } from "./websocket.js";

/** The most events that wait for a slow loop. Beyond this number, watching stops until the loop has caught up. */
const MAX_WAITING = 1_000;

export interface EventsOptions {
  /** Ends the loop. */
  signal?: AbortSignal | undefined;
  /** How many of the newest retained events to receive first. Default 0. */
  history?: number | undefined;
  /** The position after which to continue. `"0"` starts with all retained events. */
  since?: Since | undefined;
  /** Called with offsets that will not be delivered, before the next event. */
  onGap?: ((gap: TaskGap) => void) | undefined;
  /** Called when the place in the log is void, before the next event. */
  onReset?: ((reset: Reset) => void) | undefined;
}

/** Watches a task as an async iterator. */
export async function* eventsOf(client: TidingsClient, taskId: string, options: EventsOptions = {}): AsyncGenerator<TidingsEvent, void, void> {
  const { signal, history, since, onGap, onReset } = options;
  const waiting: (TidingsEvent | TaskGap | Reset)[] = [];
  let failure: TidingsError | null = null;
  let wake = () => {};
  let watch: TaskWatch | null = null;
  const add = (item: TidingsEvent | TaskGap | Reset) => {
    wake();
    // A burst arrives before the loop can run, so the limit only holds back what comes later.
    if (waiting.push(item) >= MAX_WAITING) watch?.close();
  };
  const start = (from: { since?: Since; history?: number }) =>
    client.watchTask(taskId, {
      ...from,
      onEvent: add,
      onGap: add,
      onReset: add,
      onError: (error) => {
        if (!error.temporary) failure = error;
        wake();
      },
      onStatus: ({ state, reason }) => {
        if (state === "closed") failure = new TidingsError("closed", reason ?? "the client was closed");
        wake();
      },
      onSnapshot: () => (failure = null),
    });
  const aborted = () => wake();
  signal?.addEventListener("abort", aborted);
  try {
    if (!signal?.aborted) watch = start(since !== undefined ? { since } : history ? { history } : {});
    while (!signal?.aborted) {
      const item = waiting.shift();
      if (item && "event_type" in item) yield item;
      else if (item && "from" in item) onGap?.(item);
      else if (item) onReset?.(item);
      else if (failure) throw failure;
      else if (watch!.closed) watch = start({ since: `${watch!.position!.epoch}:${watch!.position!.offset}` });
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    signal?.removeEventListener("abort", aborted);
    watch?.close();
  }
}
