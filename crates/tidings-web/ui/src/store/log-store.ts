import { type HistoryPage, history } from "../history.js";
import type { ResetReason } from "../generated/protocol.js";
import type { TaskGap } from "../options.js";
import type { TidingsEvent } from "../types.js";
import type { TaskWatch, TidingsClient } from "../websocket.js";
import { perFrame } from "./frames.js";
import type { GapEntry, TimelineEntry } from "./task-store.js";

/** The number of offsets in one chunk. */
export const CHUNK = 200;

/** The number of events in one request: a few chunks. */
const PAGE = 3 * CHUNK;

/** The most chunks to keep. Others are loaded again when they become visible. */
const MAX_CHUNKS = 60;

/** The most requests at a time. */
const MAX_REQUESTS = 2;

/** The known offsets of a chunk. */
interface Chunk {
  /** The first offset that was seen. Earlier offsets of the chunk must still be loaded. */
  from: number;
  entries: TimelineEntry[];
  /** The entries at the last frame. It is a new array whenever they have changed. */
  shown: readonly TimelineEntry[];
  changed: boolean;
}

/** A task's log at one moment. */
export interface LogView {
  /** The newest offset. */
  readonly head: number;
  /** The first retained offset, as far as it is known. */
  readonly first: number;
  /** Changes whenever the log starts over. Measurements of the old log are then invalid. */
  readonly epoch: string;
  /** Why a page of history could not be loaded. */
  readonly failure: string | null;
  /** Why the log started over while it was watched. */
  readonly reset: ResetReason | null;
}

const chunkOf = (offset: number) => Math.floor((offset - 1) / CHUNK);
const startOf = (chunk: number) => chunk * CHUNK + 1;

/**
 * The whole log of a task, in chunks of {@link CHUNK} offsets. The newest events arrive live. Older
 * events are loaded when they become visible, and dropped when they have not been visible for long.
 * The text of outputs is not stored.
 */
export class LogStore {
  readonly #client: TidingsClient;
  readonly #taskId: string;
  readonly #listeners = new Set<(view: LogView) => void>();
  readonly #frames = perFrame(() => this.#flush());
  readonly #chunks = new Map<number, Chunk>();
  readonly #loading = new Set<number>();
  #wanted: number[] = [];
  #watch: TaskWatch | null = null;
  #view: LogView = { head: 0, first: 1, epoch: "", failure: null, reset: null };
  #head = 0;
  #first = 1;
  #epoch = "";
  #failure: string | null = null;
  #reset: ResetReason | null = null;
  #started = 0;

  constructor(client: TidingsClient, taskId: string) {
    this.#client = client;
    this.#taskId = taskId;
  }

  readonly getSnapshot = (): LogView => this.#view;

  /** Calls `listener` at once and after each change, until the returned function is called. */
  readonly subscribe = (listener: (view: LogView) => void): (() => void) => {
    this.#listeners.add(listener);
    this.#watch ??= this.#start();
    listener(this.#view);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#frames.cancel();
      this.#watch?.close();
      this.#watch = null;
      this.#clear("");
    };
  };

  /** Returns the known entries of a chunk. */
  entries(chunk: number): readonly TimelineEntry[] | null {
    return this.#chunks.get(chunk)?.shown ?? null;
  }

  /** Sets the visible chunks, which are then loaded and kept. */
  look(first: number, last: number): void {
    this.#wanted = [];
    for (let chunk = last; chunk >= first; chunk--) this.#wanted.push(chunk);
    this.#evict();
    this.#load();
  }

  /** Tries again after a failure. */
  retry(): void {
    this.#failure = null;
    this.#load();
    this.#frames.schedule();
  }

  #start(): TaskWatch {
    return this.#client.watchTask(this.#taskId, {
      history: CHUNK,
      onSnapshot: (task) => {
        if (this.#epoch !== task.epoch) this.#clear(task.epoch);
        this.#head = Math.max(this.#head, task.offset);
        this.#frames.schedule();
        this.#load();
      },
      onEvent: (event) => this.#add(event, event.offset, event.offset),
      onGap: (gap) => this.#gap(gap),
      onReset: ({ reason }) => {
        this.#reset = reason;
        this.#frames.schedule();
      },
    });
  }

  #clear(epoch: string): void {
    this.#chunks.clear();
    this.#loading.clear();
    this.#started++;
    this.#epoch = epoch;
    this.#head = 0;
    this.#first = 1;
    this.#failure = null;
  }

  #gap(gap: TaskGap): void {
    const { from, to } = gap;
    // Events that this page has missed may still be retained. They are loaded like older events.
    const lost = gap.reason === "expired" || gap.reason === "overrun";
    if (lost && from <= this.#first) this.#first = to + 1;
    this.#head = Math.max(this.#head, to);
    if (gap.reason === "conflated") this.#add({ ...gap, event_type: "gap", timestamp: new Date().toISOString() }, from, to);
    else for (let chunk = chunkOf(from); chunk <= chunkOf(to); chunk++) this.#chunks.delete(chunk);
    this.#frames.schedule();
  }

  /** Adds a live entry that covers these offsets. */
  #add(entry: TimelineEntry, from: number, to: number): void {
    this.#head = Math.max(this.#head, to);
    const index = chunkOf(to);
    let chunk = this.#chunks.get(index);
    if (!chunk) {
      chunk = { from, entries: [], shown: [], changed: true };
      this.#chunks.set(index, chunk);
      this.#evict();
    }
    if (entry.event_type !== "output_delta") {
      chunk.entries.push(entry);
      chunk.changed = true;
    }
    this.#frames.schedule();
  }

  #isComplete(index: number): boolean {
    const chunk = this.#chunks.get(index);
    return chunk !== undefined && chunk.from <= Math.max(startOf(index), this.#first);
  }

  #evict(): void {
    const last = chunkOf(this.#head);
    const kept = (index: number) => index === last || this.#wanted.includes(index);
    for (const index of this.#chunks.keys()) {
      if (this.#chunks.size <= MAX_CHUNKS) return;
      if (!kept(index)) this.#chunks.delete(index);
    }
  }

  #load(): void {
    if (!this.#epoch || this.#failure || !this.#watch) return;
    for (const index of this.#wanted) {
      if (this.#loading.size >= MAX_REQUESTS) return;
      if (index < 0 || startOf(index) > this.#head || startOf(index) + CHUNK <= this.#first) continue;
      if (!this.#isComplete(index) && !this.#loading.has(index)) void this.#request(index);
    }
  }

  async #request(index: number): Promise<void> {
    const started = this.#started;
    this.#loading.add(index);
    // A page contains this chunk and earlier ones, which are likely to become visible next.
    const from = Math.max(this.#first, startOf(Math.max(0, index - PAGE / CHUNK + 1)));
    try {
      const page = await history(this.#client, this.#taskId, { since: `${this.#epoch}:${from - 1}`, limit: startOf(index) + CHUNK - from });
      if (started === this.#started) this.#take(page, from, index);
    } catch (error) {
      if (started === this.#started) this.#failure = error instanceof Error ? error.message : String(error);
    }
    if (started !== this.#started) return;
    this.#loading.delete(index);
    this.#frames.schedule();
    this.#load();
  }

  #take({ events, gap }: HistoryPage, from: number, last: number): void {
    if (gap && gap.from <= this.#first) this.#first = Math.max(this.#first, gap.to + 1);
    for (let index = chunkOf(from); index <= last; index++) {
      if (this.#isComplete(index)) continue;
      const known = this.#chunks.get(index);
      const end = known ? known.from : startOf(index) + CHUNK;
      const older = events.filter(({ offset, event_type }) => chunkOf(offset) === index && offset < end && event_type !== "output_delta");
      this.#chunks.set(index, { from: startOf(index), entries: [...older, ...(known?.entries ?? [])], shown: [], changed: true });
    }
    this.#evict();
  }

  #flush(): void {
    for (const chunk of this.#chunks.values()) {
      if (!chunk.changed) continue;
      chunk.shown = [...chunk.entries];
      chunk.changed = false;
    }
    this.#view = { head: this.#head, first: this.#first, epoch: this.#epoch, failure: this.#failure, reset: this.#reset };
    for (const listener of [...this.#listeners]) listener(this.#view);
  }
}

export type { GapEntry, TidingsEvent };
