import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { perFrame } from "./frames.js";
import { asOf, IDLE, type Status } from "../status.js";
import type { PatternWatch, TidingsClient } from "../websocket.js";
import type { TidingsError } from "../error.js";
import type { TidingsEvent } from "../types.js";

/** All tasks at one moment, sorted by id. */
export interface TasksView {
  readonly status: Status;
  /** While there is no connection: the time up to which this is current, in milliseconds since 1970. */
  readonly asOf: number | null;
  readonly tasks: readonly TaskSnapshot[];
  readonly counts: Readonly<Record<TaskStatus, number>>;
  readonly gaps: number;
  readonly error: TidingsError | null;
}

const NONE: Record<TaskStatus, number> = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 };
const order = new Intl.Collator("en", { numeric: true }).compare;

export interface TasksStoreOptions {
  /** Called for every event of a task that matches. */
  onEvent?: ((event: TidingsEvent) => void) | undefined;
}

/** All tasks that match a pattern, over one subscription. */
export class TasksStore {
  readonly #client: TidingsClient;
  readonly #pattern: string;
  readonly #onEvent: ((event: TidingsEvent) => void) | undefined;
  readonly #listeners = new Set<(view: TasksView) => void>();
  readonly #frames = perFrame(() => this.#flush());
  readonly #ids: string[] = [];
  readonly #known = new Set<string>();
  /** The tasks at the end of the last watch. */
  readonly #before = new Map<string, TaskSnapshot>();
  #appeared: string[] = [];
  #watch: PatternWatch | null = null;
  #gaps = 0;
  #status: Status = IDLE;
  #asOf: number | null = null;
  #error: TidingsError | null = null;
  #view: TasksView;

  constructor(client: TidingsClient, pattern = "*", { onEvent }: TasksStoreOptions = {}) {
    this.#client = client;
    this.#pattern = pattern;
    this.#onEvent = onEvent;
    this.#view = { status: IDLE, asOf: null, tasks: [], counts: NONE, gaps: 0, error: null };
  }

  readonly getSnapshot = (): TasksView => this.#view;

  /** Calls `listener` at once and after each change, until the returned function is called. */
  readonly subscribe = (listener: (view: TasksView) => void): (() => void) => {
    this.#listeners.add(listener);
    this.#watch ??= this.#start();
    listener(this.#view);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#frames.cancel();
      this.#watch?.close();
      this.#watch = null;
      // If the store is used again, these are shown until the server announces them again.
      for (const task of this.#view.tasks) this.#before.set(task.task_id, task);
    };
  };

  /** Removes tasks that the server no longer has. A pattern does not report removals. */
  retain(exists: ReadonlySet<string>): void {
    const kept = this.#ids.filter((id) => exists.has(id));
    if (kept.length === this.#ids.length) return;
    for (const id of this.#ids) {
      if (exists.has(id)) continue;
      this.#known.delete(id);
      this.#before.delete(id);
      this.#watch?.forget(id);
    }
    this.#ids.splice(0, Infinity, ...kept);
    this.#frames.schedule();
  }

  #start(): PatternWatch {
    return this.#client.watchPattern(this.#pattern, {
      onEvent: (event) => {
        this.#onEvent?.(event);
        this.#frames.schedule();
      },
      onSnapshot: (task) => {
        this.#error = null;
        this.#before.delete(task.task_id);
        if (!this.#known.has(task.task_id)) {
          this.#known.add(task.task_id);
          this.#appeared.push(task.task_id);
        }
        this.#frames.schedule();
      },
      onGap: () => {
        this.#gaps++;
        this.#frames.schedule();
      },
      onReset: () => {
        this.#gaps++;
        this.#frames.schedule();
      },
      onError: (error) => {
        this.#error = error;
        this.#frames.schedule();
      },
      onStatus: (status) => {
        this.#asOf = asOf(this.#asOf, this.#status, status);
        this.#status = status;
        this.#frames.schedule();
      },
    });
  }

  #flush(): void {
    if (this.#appeared.length > 0) {
      this.#ids.push(...this.#appeared);
      this.#ids.sort(order);
      this.#appeared = [];
    }
    const counts = { ...NONE };
    const tasks: TaskSnapshot[] = [];
    for (const id of this.#ids) {
      const task = this.#watch?.task(id) ?? this.#before.get(id);
      if (!task) continue;
      tasks.push(task);
      counts[task.status]++;
    }
    this.#view = { status: this.#status, asOf: this.#asOf, tasks, counts, gaps: this.#gaps, error: this.#error };
    for (const listener of [...this.#listeners]) listener(this.#view);
  }
}
