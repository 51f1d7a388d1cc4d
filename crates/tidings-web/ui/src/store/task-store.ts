import type { Position } from "../cursor.js";
import type { TidingsError } from "../error.js";
import type { Permission, Reset, ResetReason, TaskSnapshot } from "../generated/protocol.js";
import type { TaskGap } from "../options.js";
import { asOf, IDLE, type Status } from "../status.js";
import type { TaskWatch, TidingsClient } from "../websocket.js";
import { Activity, type CommandState, type ToolCall } from "./activity.js";
import { perFrame } from "./frames.js";
import type { TidingsEvent } from "../types.js";

/** A gap or a reset, with its place in the list of events. A reset contains no offsets. */
export interface GapEntry extends Omit<TaskGap, "reason"> {
  readonly event_type: "gap";
  readonly reason: TaskGap["reason"] | ResetReason;
  /** When this page received it. */
  readonly timestamp: string;
}

/**
 * An entry of the timeline: an event, or a gap at its place. The text of outputs (`output_delta`)
 * is not among them. It is in `task.outputs`, and would displace everything else from a bounded
 * list.
 */
export type TimelineEntry = TidingsEvent | GapEntry;

/** Everything to display about a task, at one moment. */
export interface TaskView {
  readonly status: Status;
  /** While there is no connection: the time up to which this is current, in milliseconds since 1970. */
  readonly asOf: number | null;
  readonly task: TaskSnapshot | null;
  readonly timeline: readonly TimelineEntry[];
  readonly events: readonly TidingsEvent[];
  readonly gaps: readonly GapEntry[];
  readonly toolCalls: readonly ToolCall[];
  readonly commands: readonly CommandState[];
  /** What the reader may do with the task: `command` or `answer`, for example. Null if nothing is forbidden. */
  readonly permissions: readonly Permission[] | null;
  /** Why the server refuses access to the task. */
  readonly error: TidingsError | null;
}

export interface TaskStoreOptions {
  /** The number of earlier events to show. Default 200. */
  history?: number | undefined;
  /** The number of newest events to keep. Default 500. */
  maxEvents?: number | undefined;
  /** Called for every event, in order. */
  onEvent?: ((event: TidingsEvent) => void) | undefined;
  /** Called with offsets that will not be delivered. */
  onGap?: ((gap: TaskGap) => void) | undefined;
  /** Called when the log goes on elsewhere: what was shown of it is void. */
  onReset?: ((reset: Reset) => void) | undefined;
}

export function isGap(entry: TimelineEntry): entry is GapEntry {
  return entry.event_type === "gap" && !("offset" in entry);
}

/**
 * A view of one task for any framework. It processes every event at once, and notifies its
 * listeners once per frame. It watches the task while it has listeners.
 *
 * `subscribe` and `getSnapshot` fit React's `useSyncExternalStore`. `subscribe` alone makes it a
 * Svelte store.
 */
export class TaskStore {
  readonly #client: TidingsClient;
  readonly #taskId: string;
  readonly #options: TaskStoreOptions & { history: number; maxEvents: number };
  readonly #listeners = new Set<(view: TaskView) => void>();
  readonly #activity = new Activity();
  readonly #frames = perFrame(() => this.#flush());
  #watch: TaskWatch | null = null;
  /** The position at which the last watch ended. */
  #position: Position | null = null;
  /** The entries that have arrived since the last frame. */
  #fresh: TimelineEntry[] = [];
  #status: Status = IDLE;
  #asOf: number | null = null;
  #error: TidingsError | null = null;
  #view: TaskView;

  constructor(client: TidingsClient, taskId: string, options: TaskStoreOptions = {}) {
    this.#client = client;
    this.#taskId = taskId;
    this.#options = { ...options, history: options.history ?? 200, maxEvents: options.maxEvents ?? 500 };
    this.#view = { status: IDLE, asOf: null, task: null, timeline: [], events: [], gaps: [], toolCalls: [], commands: [], permissions: null, error: null };
  }

  readonly getSnapshot = (): TaskView => this.#view;

  /** Calls `listener` at once and after each change, until the returned function is called. */
  readonly subscribe = (listener: (view: TaskView) => void): (() => void) => {
    this.#listeners.add(listener);
    if (!this.#watch) this.#start();
    listener(this.#view);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  };

  #start(): void {
    const { history } = this.#options;
    // The store was used before, as in a double mount by StrictMode, so it continues where it was.
    const since = this.#position && `${this.#position.epoch}:${this.#position.offset}`;
    this.#watch = this.#client.watchTask(this.#taskId, {
      ...(since ? { since } : { history }),
      onEvent: (event) => {
        this.#activity.event(event);
        if (event.event_type === "output_delta") this.#frames.schedule();
        else this.#add(event);
        this.#options.onEvent?.(event);
      },
      onGap: (gap) => {
        this.#add({ ...gap, event_type: "gap", timestamp: new Date().toISOString() });
        this.#options.onGap?.(gap);
      },
      onReset: (reset) => {
        const { reason, offset, snapshot } = reset;
        if (reason !== "ahead") this.#activity.clear();
        this.#add({ from: offset + 1, to: offset, reason, snapshot, event_type: "gap", timestamp: new Date().toISOString() });
        this.#options.onReset?.(reset);
      },
      onSnapshot: (snapshot) => {
        this.#activity.snapshot(snapshot);
        this.#error = null;
        this.#frames.schedule();
      },
      onStatus: (status) => {
        this.#asOf = asOf(this.#asOf, this.#status, status);
        this.#status = status;
        this.#frames.schedule();
      },
      onError: (error) => {
        this.#error = error;
        this.#frames.schedule();
      },
    });
  }

  #stop(): void {
    this.#flush();
    this.#frames.cancel();
    this.#position = this.#watch?.position ?? null;
    this.#watch?.close();
    this.#watch = null;
  }

  #add(entry: TimelineEntry): void {
    this.#fresh.push(entry);
    // There may be no frame for a long time, as in a hidden tab.
    if (this.#fresh.length >= 2 * this.#options.maxEvents) this.#fresh = this.#fresh.slice(-this.#options.maxEvents);
    this.#frames.schedule();
  }

  #flush(): void {
    let { timeline, events, gaps } = this.#view;
    if (this.#fresh.length > 0) {
      timeline = [...timeline, ...this.#fresh].slice(-this.#options.maxEvents);
      events = timeline.filter((entry): entry is TidingsEvent => !isGap(entry));
      gaps = timeline.filter(isGap);
      this.#fresh = [];
    }
    this.#view = {
      status: this.#status,
      asOf: this.#asOf,
      task: this.#watch?.task ?? this.#view.task,
      timeline,
      events,
      gaps,
      toolCalls: this.#activity.toolCalls(),
      commands: this.#activity.commands(),
      permissions: this.#watch ? this.#watch.permissions : this.#view.permissions,
      error: this.#error,
    };
    for (const listener of [...this.#listeners]) listener(this.#view);
  }
}
