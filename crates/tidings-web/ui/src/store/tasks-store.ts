import type { TaskSnapshot, TaskStatus } from "../generated/protocol.js";
import { perFrame } from "./frames.js";
import { asOf, IDLE, type Status } from "../status.js";
import type { PatternWatch, TidingsClient } from "../websocket.js";
import { TidingsError } from "../error.js";
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

/**
 * How long the server may take to announce the tasks of a new subscription, in milliseconds, until
 * it is asked which of them it has.
 */
const ANNOUNCE = 2_000;

interface Page {
  tasks: { task_id: string }[];
  next: string | null;
}

/** All tasks that match a pattern, over one subscription. */
export class TasksStore {
  readonly #client: TidingsClient;
  readonly #pattern: string;
  readonly #onEvent: ((event: TidingsEvent) => void) | undefined;
  readonly #listeners = new Set<(view: TasksView) => void>();
  readonly #frames = perFrame(() => this.#flush());
  #ids: string[] = [];
  readonly #known = new Set<string>();
  /**
   * Tasks from before the last loss of the connection, or from the last watch, that the server has
   * not announced again. They are shown until it does, or says that it no longer has them.
   */
  readonly #before = new Map<string, TaskSnapshot>();
  /** Waits for the announcements of the current subscription. */
  #check: ReturnType<typeof setTimeout> | undefined;
  #pause = ANNOUNCE;
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
      this.#doubt();
      this.#watch?.close();
      this.#watch = null;
    };
  };

  /** Records that the server has to announce all tasks anew. */
  #doubt(): void {
    clearTimeout(this.#check);
    this.#pause = ANNOUNCE;
    for (const id of this.#known) {
      const task = this.#task(id);
      if (task) this.#before.set(id, task);
    }
  }

  #task(id: string): TaskSnapshot | null {
    return this.#watch?.task(id) ?? this.#before.get(id) ?? null;
  }

  /**
   * Removes the tasks that are neither announced again nor in the server's list. A pattern says
   * nothing of a task that went while nothing was watched.
   */
  async #missing(): Promise<void> {
    if (this.#before.size === 0) return;
    const watch = this.#watch;
    const asked = [...this.#before];
    let listed: Set<string> | null;
    try {
      listed = await this.#list();
    } catch {
      listed = new Set(asked.map(([id]) => id));
    }
    // After a loss of the connection, the next one checks again.
    if (watch !== this.#watch || this.#status.state !== "connected" || !listed) return;
    for (const [id, task] of asked) {
      // A task that was announced meanwhile is there, although it may be too new for the list.
      if (listed.has(id) || this.#before.get(id) !== task) continue;
      watch?.forget(id);
      this.#gone(id);
    }
    this.#checkLater();
  }

  #checkLater(): void {
    clearTimeout(this.#check);
    this.#check = setTimeout(() => void this.#missing(), this.#pause);
    // A server that is slow to announce must not be asked more and more.
    this.#pause = Math.min(2 * this.#pause, 60_000);
  }

  /** Returns the ids of the server's tasks, or null if the token may not list them. */
  async #list(): Promise<Set<string> | null> {
    const ids = new Set<string>();
    const prefix = this.#pattern.endsWith("*") ? encodeURIComponent(this.#pattern.slice(0, -1)) : "";
    for (let after = ""; ; ) {
      const response = await this.#client.fetch(`/api/tasks?limit=1000${prefix && `&prefix=${prefix}`}${after}`);
      if (response.status === 401 || response.status === 403) return null;
      if (!response.ok) throw new TidingsError("unavailable", `HTTP status ${response.status}`);
      const { tasks, next } = (await response.json()) as Page;
      for (const { task_id } of tasks) ids.add(task_id);
      if (!next) return ids;
      after = `&after=${encodeURIComponent(next)}`;
    }
  }

  #gone(id: string): void {
    this.#known.delete(id);
    this.#before.delete(id);
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
      onRemoved: (id) => this.#gone(id),
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
        if (status.state === "connected") this.#checkLater();
        else if (this.#status.state === "connected") this.#doubt();
        this.#asOf = asOf(this.#asOf, this.#status, status);
        this.#status = status;
        this.#frames.schedule();
      },
    });
  }

  #flush(): void {
    if (this.#appeared.length > 0) {
      this.#ids = [...new Set([...this.#ids, ...this.#appeared])].sort(order);
      this.#appeared = [];
    }
    if (this.#ids.length > this.#known.size) this.#ids = this.#ids.filter((id) => this.#known.has(id));
    const counts = { ...NONE };
    const tasks: TaskSnapshot[] = [];
    for (const id of this.#ids) {
      const task = this.#task(id);
      if (!task) continue;
      tasks.push(task);
      counts[task.status]++;
    }
    this.#view = { status: this.#status, asOf: this.#asOf, tasks, counts, gaps: this.#gaps, error: this.#error };
    for (const listener of [...this.#listeners]) listener(this.#view);
  }
}
