import { TidingsError } from "../error.js";
import type { TaskSnapshot } from "../generated/protocol.js";
import type { TaskWatch, TidingsClient } from "../websocket.js";
import { perFrame } from "./frames.js";

/** The children of a page, and so the most that the first page shows. */
const PAGE = 50;

/** The most children that are watched. More are counted by their parent. */
const MOST = 500;

/** The tasks that name a task as their parent. */
export interface ChildrenView {
  /** In the order of their ids. */
  readonly children: readonly TaskSnapshot[];
  /** Whether the server has more of them than these. */
  readonly more: boolean;
  /** Whether the server has answered. */
  readonly loaded: boolean;
  readonly failure: string | null;
}

interface Page {
  tasks: TaskSnapshot[];
  next: string | null;
}

/** The children of a task, page by page, each of them live. */
export class ChildrenStore {
  readonly #client: TidingsClient;
  readonly #taskId: string;
  readonly #listeners = new Set<() => void>();
  readonly #frames = perFrame(() => this.#flush());
  readonly #watches = new Map<string, TaskWatch>();
  /** The children as the server listed them, for the time before their watch has a state. */
  #listed: readonly TaskSnapshot[] = [];
  #wanted = PAGE;
  #more = false;
  #loaded = false;
  #failure: string | null = null;
  #reading = false;
  #again = false;
  #view: ChildrenView = { children: [], more: false, loaded: false, failure: null };

  constructor(client: TidingsClient, taskId: string) {
    this.#client = client;
    this.#taskId = taskId;
  }

  readonly getSnapshot = (): ChildrenView => this.#view;

  /** Calls `listener` after each change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) {
      this.#follow();
      this.refresh();
    }
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#frames.cancel();
      for (const watch of this.#watches.values()) watch.close();
      this.#watches.clear();
    };
  };

  /** Shows one more page. */
  more(): void {
    this.#wanted = Math.min(MOST, this.#wanted + PAGE);
    this.refresh();
  }

  /** Reads the list again, because children may have appeared or gone. */
  refresh(): void {
    if (this.#listeners.size === 0) return;
    this.#again = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    void this.#read()
      .then(
        ({ tasks, next }) => {
          this.#listed = tasks;
          this.#more = next !== null;
          this.#loaded = true;
          this.#failure = null;
        },
        (error: Error) => (this.#failure = error.message),
      )
      .then(() => {
        this.#reading = false;
        if (this.#listeners.size === 0) return;
        this.#follow();
        this.#frames.schedule();
        if (this.#again) this.refresh();
      });
  }

  async #read(): Promise<Page> {
    const query = new URLSearchParams({ parent: this.#taskId, limit: String(this.#wanted) });
    const response = await this.#client.fetch(`/api/tasks?${query}`);
    if (!response.ok) throw new TidingsError("unavailable", `HTTP status ${response.status}`);
    const { tasks, next } = (await response.json()) as Page;
    // A server that does not know `parent` lists all tasks.
    return { tasks: tasks.filter(({ parent_task_id }) => parent_task_id === this.#taskId), next };
  }

  /** Watches the listed children, and no others. */
  #follow(): void {
    const ids = new Set(this.#listed.map(({ task_id }) => task_id));
    for (const [id, watch] of this.#watches) {
      if (ids.has(id)) continue;
      watch.close();
      this.#watches.delete(id);
    }
    const changed = () => this.#frames.schedule();
    for (const id of ids) {
      if (!this.#watches.has(id)) this.#watches.set(id, this.#client.watchTask(id, { onEvent: changed, onSnapshot: changed }));
    }
  }

  #flush(): void {
    const children = this.#listed.map((task) => this.#watches.get(task.task_id)?.task ?? task);
    this.#view = { children, more: this.#more && this.#wanted < MOST, loaded: this.#loaded, failure: this.#failure };
    for (const listener of [...this.#listeners]) listener();
  }
}
