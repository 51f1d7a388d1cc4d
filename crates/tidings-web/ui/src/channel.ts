import { Cursor } from "./cursor.js";
import type { Event as TaskEvent, Gap, Subscribed, TaskSnapshot } from "./generated/protocol.js";
import type { TaskGap } from "./options.js";
import { reduce } from "./reduce.js";

/** What a channel asks the server for. */
export interface Ask {
  since?: string;
  history?: number;
}

/**
 * One task on one connection: the one subscription that the server knows, the
 * state, and the cursors of all who watch it here.
 */
export class Channel {
  readonly cursors = new Set<Cursor>();
  /** The state: the last snapshot with the events above its offset. */
  state: TaskSnapshot | null = null;
  /** The `subscribe` that waits for its answer. */
  ref: number | null = null;
  /** Events flow on this connection. */
  live = false;
  /** The server has been asked for this task by its name. */
  byName = false;
  #asked: Ask = {};
  /** The offset that was due when a hole was last found. */
  #hole = 0;

  constructor(
    readonly taskId: string,
    /** Sends a `subscribe` for this task; gives back its ref. */
    private readonly subscribe: (ask: Ask) => number | null,
  ) {}

  get isNamed(): boolean {
    return [...this.cursors].some((cursor) => cursor.named);
  }

  get #epoch(): string {
    return this.state?.epoch ?? "";
  }

  /** Someone begins to watch. */
  add(cursor: Cursor): void {
    // A pattern keeps no task, so whoever watches by name asks by name.
    const covered = this.live && (this.byName || !cursor.named) && !cursor.history && cursor.since === null;
    this.cursors.add(cursor);
    if (covered) {
      // Not before the caller has what it is about to be given.
      queueMicrotask(() => this.live && !cursor.closed && cursor.join(this.state!, null));
    } else if (cursor.named) {
      this.ask([cursor]);
    }
  }

  /** The connection is gone. */
  lost(): void {
    this.live = this.byName = false;
    this.ref = null;
    this.#hole = 0;
    for (const cursor of this.cursors) {
      cursor.joined = false;
      cursor.head = null;
    }
  }

  /** Asks for what those who wait need, the positions of all before anything else. */
  ask(cursors: Iterable<Cursor> = this.cursors): void {
    const waiting = [...cursors];
    const positions = waiting.flatMap(({ position }) => position ?? []);
    const epoch = positions[0]?.epoch;
    const same = positions.filter((position) => position.epoch === epoch);
    const wishes = waiting.filter(({ position }) => !position);
    const since = wishes.map((wish) => wish.since).find((wish) => wish !== null);
    const history = Math.max(0, ...wishes.map((wish) => wish.history));
    this.#asked = {};
    if (same.length > 0) this.#asked.since = `${epoch}:${Math.min(...same.map(({ offset }) => offset))}`;
    else if (since != null) this.#asked.since = since;
    else if (history > 0) this.#asked.history = history;
    this.ref = this.subscribe(this.#asked);
    this.byName ||= this.ref !== null;
  }

  /** The server has answered, or announced the task under a pattern. */
  subscribed(data: Subscribed): void {
    const snapshot = data.snapshot!;
    const named = data.ref != null;
    // Asked for by name, the answer to that is what counts.
    if (named ? data.ref !== this.ref : this.ref !== null) return;
    this.ref = null;
    this.live = true;
    this.#take(snapshot);
    const { since = null, history = 0 } = this.#asked;
    for (const cursor of [...this.cursors]) {
      // The subscription begins anew. So does, under a pattern, a task that had gone.
      if (named || cursor.position?.epoch !== snapshot.epoch) cursor.joined = false;
      const replayed = named && (cursor.named || cursor.position);
      cursor.join(snapshot, replayed ? { since, history: cursor.history && history } : null);
    }
  }

  event(event: TaskEvent): void {
    if (!this.live) return;
    const { state } = this;
    const counted = state !== null && event.offset <= state.offset;
    if (state && event.offset === state.offset + 1) this.state = reduce(state, event);
    for (const cursor of [...this.cursors]) {
      if (cursor.event(event, this.#epoch, counted)) continue;
      if (this.#recover(cursor)) return;
      cursor.giveUp(event.offset - 1, this.taskId, this.#epoch);
      cursor.event(event, this.#epoch, counted);
    }
  }

  gap(data: Gap): void {
    if (!this.live) return;
    if (data.snapshot) this.#take(data.snapshot);
    const gap = data as TaskGap;
    for (const cursor of [...this.cursors]) {
      if (cursor.gap(gap, this.taskId, this.#epoch)) continue;
      if (this.#recover(cursor)) return;
      cursor.giveUp(gap.from - 1, this.taskId, this.#epoch);
      cursor.gap(gap, this.taskId, this.#epoch);
    }
  }

  heartbeat(head: number): void {
    if (!this.live) return;
    for (const cursor of [...this.cursors]) {
      if (cursor.heartbeat(head, this.#epoch)) continue;
      if (this.#recover(cursor)) return;
      cursor.giveUp(head, this.taskId, this.#epoch);
    }
  }

  /** The later of two states: snapshots may come out of turn with events. */
  #take(snapshot: TaskSnapshot): void {
    const { state } = this;
    if (!state || state.epoch !== snapshot.epoch || snapshot.offset >= state.offset) this.state = snapshot;
  }

  /**
   * Something was lost on the way. Asks for it again, from the watcher's place
   * on; false if that has been tried.
   */
  #recover({ position }: Cursor): boolean {
    const due = (position?.offset ?? 0) + 1;
    if (this.ref !== null) return true;
    if (this.#hole === due) return false;
    this.#hole = due;
    this.ask();
    if (this.ref === null) return false;
    // What comes before the answer comes again after it.
    for (const cursor of this.cursors) cursor.joined = false;
    return true;
  }
}
