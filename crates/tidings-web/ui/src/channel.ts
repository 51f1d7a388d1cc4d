import type { Cursor } from "./cursor.js";
import { guarded, type TidingsError } from "./error.js";
import type { Gap, Reset, Subscribed, TaskSnapshot } from "./generated/protocol.js";
import type { TaskGap } from "./options.js";
import { reduce } from "./reduce.js";
import type { TidingsEvent } from "./types.js";

/** What a channel asks the server for. */
export interface Ask {
  since?: string;
  history?: number;
}

/**
 * One task on one connection: the one subscription that the server knows, the
 * state, and the cursors of all who watch it here.
 *
 * One subscription has one place in the log. So those who have a place are
 * served first, from the earliest of their places on; who wants to begin in the
 * past waits until they have caught up. Each cursor passes over what it has.
 */
export class Channel {
  readonly cursors = new Set<Cursor>();
  /** The state: the last snapshot with the events above its offset. */
  state: TaskSnapshot | null = null;
  /** The `subscribe` that waits for its answer. */
  ref: number | null = null;
  /** Events flow on this connection. */
  live = false;
  /** Refusals in a row. */
  refusals = 0;
  /** The server has been asked for this task by its name. */
  byName = false;
  #asked: Ask = {};
  /** Those without a place for whom the last `subscribe` was. */
  #askedFor = new Set<Cursor>();
  /** Someone who wants to begin in the past may be waiting. */
  #waiting = false;
  /** The offset that was due when a hole was last found. */
  #hole = 0;

  constructor(
    readonly taskId: string,
    /** Sends a `subscribe` for this task; gives back its ref, or null without a connection. */
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
    this.cursors.add(cursor);
    if (cursor.hasWish) this.#waiting = true;
    if (this.ref !== null) return;
    if (!this.live) {
      if (cursor.named) this.ask();
    } else if (cursor.hasWish) {
      this.#serve();
    } else if (cursor.named && !this.byName) {
      // A pattern keeps no task, so whoever watches by name asks by name.
      this.ask();
    } else {
      // Not before the caller has what it is about to be given.
      queueMicrotask(() => this.live && !cursor.closed && cursor.join(this.state!, null));
    }
  }

  /** The connection is gone. */
  lost(): void {
    this.live = this.byName = false;
    this.ref = null;
    this.#hole = 0;
    for (const cursor of this.cursors) cursor.leave(this.#epoch);
  }

  /** Asks for what those who watch need. */
  ask(): void {
    const places = [...this.cursors].flatMap(({ position }) => position ?? []);
    const epoch = places[0]?.epoch;
    if (epoch === undefined) return this.#askFor([...this.cursors].filter((cursor) => cursor.hasWish));
    const offsets = places.filter((place) => place.epoch === epoch).map(({ offset }) => offset);
    this.#send({ since: `${epoch}:${Math.min(...offsets)}` }, []);
  }

  /** Asks for what those want who have no place yet: the same `since`, or history. */
  #askFor(wishes: Cursor[]): void {
    const since = wishes.find((wish) => wish.since !== null)?.since;
    const served = wishes.filter((wish) => wish.since === (since ?? null));
    const history = Math.max(0, ...served.map((wish) => wish.history));
    this.#send(since != null ? { since } : history > 0 ? { history } : {}, served);
  }

  #send(ask: Ask, served: Cursor[]): void {
    this.#asked = ask;
    this.#askedFor = new Set(served);
    this.ref = this.subscribe(ask);
    this.byName ||= this.ref !== null;
  }

  /** Lets those begin who wait, once nobody is behind. */
  #serve(): void {
    if (!this.#waiting || !this.live || this.ref !== null) return;
    const all = [...this.cursors];
    const wishes = all.filter((cursor) => cursor.hasWish && !cursor.joined);
    this.#waiting = wishes.length > 0;
    const behind = all.some(({ joined, position }) => joined && position && position.offset < this.state!.offset);
    if (this.#waiting && !behind) this.#askFor(wishes);
  }

  /** The server has answered, or announced the task under a pattern. */
  subscribed(data: Subscribed): void {
    const snapshot = data.snapshot!;
    const named = data.ref != null;
    // Asked for by name, the answer to that is what counts.
    if (named ? data.ref !== this.ref : this.ref !== null) return;
    this.ref = null;
    this.refusals = 0;
    this.live = true;
    this.#take(snapshot);
    for (const cursor of [...this.cursors]) {
      const served = named && this.#askedFor.has(cursor);
      if (cursor.hasWish && !served && !cursor.joined) continue;
      // The subscription begins anew. So does, under a pattern, a task that had gone.
      if (named || cursor.position?.epoch !== snapshot.epoch) cursor.leave(this.#epoch);
      cursor.join(snapshot, named ? { ...this.#asked, served } : null);
    }
    this.#serve();
  }

  /** The server has ended the subscription by itself. */
  ended(error: TidingsError): void {
    this.lost();
    for (const cursor of [...this.cursors]) guarded(cursor.handlers.onError, error);
  }

  event(event: TidingsEvent): void {
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
    this.#serve();
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
    this.#serve();
  }

  reset(data: Reset): void {
    if (!this.live) return;
    this.#take(data.snapshot);
    for (const cursor of [...this.cursors]) cursor.reset(data, this.taskId);
    this.#serve();
  }

  heartbeat(head: number): void {
    if (!this.live) return;
    for (const cursor of [...this.cursors]) {
      if (cursor.heartbeat(head, this.#epoch)) continue;
      if (this.#recover(cursor)) return;
      cursor.giveUp(head, this.taskId, this.#epoch);
    }
    this.#serve();
  }

  /** The later of two states: a snapshot may be older than the events that have come. */
  #take(snapshot: TaskSnapshot): void {
    const { state } = this;
    if (!state || state.epoch !== snapshot.epoch || snapshot.offset >= state.offset) this.state = snapshot;
  }

  /**
   * Something was lost on the way. Asks for it again, from the watchers' places
   * on; false if that has been tried.
   */
  #recover({ position }: Cursor): boolean {
    if (this.ref !== null) return true;
    const due = (position?.offset ?? 0) + 1;
    if (this.#hole === due) return false;
    this.#hole = due;
    this.ask();
    if (this.ref === null) return false;
    // What comes before the answer comes again after it.
    for (const cursor of this.cursors) cursor.leave(this.#epoch);
    this.#waiting = true;
    return true;
  }
}
