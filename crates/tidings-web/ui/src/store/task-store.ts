import type { Position } from "../cursor.js";
import type { TidingsError } from "../error.js";
import type { TaskSnapshot } from "../generated/protocol.js";
import type { TaskGap } from "../options.js";
import { asOf, IDLE, type Status } from "../status.js";
import type { TaskWatch, TidingsClient } from "../websocket.js";
import { Activity, type CommandState, type ToolCall } from "./activity.js";
import { perFrame } from "./frames.js";
import type { TidingsEvent } from "../types.js";

/** A gap, and where in the list of events it fell. */
export interface GapEntry extends TaskGap {
  readonly event_type: "gap";
  /** When this page learnt of it, as in an event. */
  readonly timestamp: string;
}

/**
 * What happened, in order: events, and gaps where they fell. The words of an
 * output (`output_delta`) are not among them: they are in `task.outputs`, and
 * would push everything else out of a bounded list.
 */
export type TimelineEntry = TidingsEvent | GapEntry;

/** All there is to show of a task, as of one moment. */
export interface TaskView {
  readonly status: Status;
  /** While there is no connection: until when this was current, in milliseconds since 1970. */
  readonly asOf: number | null;
  readonly task: TaskSnapshot | null;
  readonly timeline: readonly TimelineEntry[];
  readonly events: readonly TidingsEvent[];
  readonly gaps: readonly GapEntry[];
  readonly toolCalls: readonly ToolCall[];
  readonly commands: readonly CommandState[];
  /** Why the server refuses the task. */
  readonly error: TidingsError | null;
}

export interface TaskStoreOptions {
  /** Events from before that are shown. Default 200. */
  history?: number | undefined;
  /** Events that are kept, the newest. Default 500. */
  maxEvents?: number | undefined;
  /** Called for every event, in order. */
  onEvent?: ((event: TidingsEvent) => void) | undefined;
  /** Called for offsets that will not come. */
  onGap?: ((gap: TaskGap) => void) | undefined;
}

export function isGap(entry: TimelineEntry): entry is GapEntry {
  return entry.event_type === "gap" && !("offset" in entry);
}

/**
 * One task as a view for any framework. It takes in every event as it comes,
 * and tells its listeners once a frame. It watches while it has listeners.
 *
 * `subscribe` and `getSnapshot` are what React's `useSyncExternalStore` takes;
 * `subscribe` alone is what Svelte calls a store.
 */
export class TaskStore {
  readonly #client: TidingsClient;
  readonly #taskId: string;
  readonly #options: TaskStoreOptions & { history: number; maxEvents: number };
  readonly #listeners = new Set<(view: TaskView) => void>();
  readonly #activity = new Activity();
  readonly #frames = perFrame(() => this.#flush());
  #watch: TaskWatch | null = null;
  /** Where the last watch ended. */
  #position: Position | null = null;
  /** What has come since the last frame. */
  #fresh: TimelineEntry[] = [];
  #status: Status = IDLE;
  #asOf: number | null = null;
  #error: TidingsError | null = null;
  #view: TaskView;

  constructor(client: TidingsClient, taskId: string, options: TaskStoreOptions = {}) {
    this.#client = client;
    this.#taskId = taskId;
    this.#options = { ...options, history: options.history ?? 200, maxEvents: options.maxEvents ?? 500 };
    this.#view = { status: IDLE, asOf: null, task: null, timeline: [], events: [], gaps: [], toolCalls: [], commands: [], error: null };
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
    // Shown before, as a StrictMode double mount has it: goes on where it was.
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
        if (gap.reason === "epoch_changed" || gap.reason === "removed") this.#activity.clear();
        this.#add({ ...gap, event_type: "gap", timestamp: new Date().toISOString() });
        this.#options.onGap?.(gap);
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
    // No frame may come for long, as in a hidden tab.
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
      error: this.#error,
    };
    for (const listener of [...this.#listeners]) listener(this.#view);
  }
}
