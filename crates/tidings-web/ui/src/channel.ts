import type { Cursor } from "./cursor.js";
import type { Gap, Permission, Reset, Subscribed, TaskSnapshot } from "./generated/protocol.js";
import type { TaskGap } from "./options.js";
import { reduce } from "./reduce.js";
import type { TidingsEvent } from "./types.js";

/** What a channel requests from the server. */
export interface Ask {
  since?: string;
  history?: number;
}

/**
 * One task on one connection: the only subscription that the server knows, the task's state, and
 * the cursors of all watchers on this page.
 *
 * A subscription has one position in the log. Watchers with a position are served first, starting
 * from the earliest of their positions. A watcher that wants to begin in the past waits until the
 * others have caught up. Each cursor ignores events that it already has.
 */
export class Channel {
  readonly cursors = new Set<Cursor>();
  /** The state: the last snapshot, with the events above its offset applied. */
  state: TaskSnapshot | null = null;
  /** What this client may do with the task. Null if nothing is forbidden. */
  permissions: readonly Permission[] | null = null;
  /** The `ref` of the `subscribe` that has no answer yet. */
  ref: number | null = null;
  /** Whether events arrive on this connection. */
  live = false;
  /** The number of refusals in a row. */
  refusals = 0;
  /** Whether this task was subscribed by name on this connection. */
  byName = false;
  #asked: Ask = {};
  /** The watchers without a position for whom the last `subscribe` was sent. */
  #askedFor = new Set<Cursor>();
  /** Whether a watcher that wants to begin in the past may be waiting. */
  #waiting = false;
  /** The offset that was due when events were last found missing. */
  #hole = 0;

  constructor(
    readonly taskId: string,
    /** Sends a `subscribe` for this task. Returns its ref, or null if there is no connection. */
    private readonly subscribe: (ask: Ask) => number | null,
  ) {}

  get isNamed(): boolean {
    return [...this.cursors].some((cursor) => cursor.named);
  }

  get #epoch(): string {
    return this.state?.epoch ?? "";
  }

  /** Adds a watcher. */
  add(cursor: Cursor): void {
    this.cursors.add(cursor);
    if (cursor.hasWish) this.#waiting = true;
    if (this.ref !== null) return;
    if (!this.live) {
      if (cursor.named) this.ask();
    } else if (cursor.hasWish) {
      this.#serve();
    } else if (cursor.named && !this.byName) {
      // A pattern does not keep a task subscribed, so a watcher by name subscribes by name.
      this.ask();
    } else {
      // Call the watcher only after the caller has received the returned watch.
      queueMicrotask(() => this.live && !cursor.closed && cursor.join(this.state!, null));
    }
  }

  /** Records that the connection is gone. */
  lost(): void {
    this.live = this.byName = false;
    this.ref = null;
    this.#hole = 0;
    for (const cursor of this.cursors) cursor.leave(this.#epoch);
  }

  /** Subscribes from the position that the watchers need. */
  ask(): void {
    const places = [...this.cursors].flatMap(({ position }) => position ?? []);
    const epoch = places[0]?.epoch;
    if (epoch === undefined) return this.#askFor([...this.cursors].filter((cursor) => cursor.hasWish));
    const offsets = places.filter((place) => place.epoch === epoch).map(({ offset }) => offset);
    this.#send({ since: `${epoch}:${Math.min(...offsets)}` }, []);
  }

  /** Subscribes for watchers without a position that want the same `since`, or history. */
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

  /** Lets waiting watchers begin, when no watcher is behind. */
  #serve(): void {
    if (!this.#waiting || !this.live || this.ref !== null) return;
    const all = [...this.cursors];
    const wishes = all.filter((cursor) => cursor.hasWish && !cursor.joined);
    this.#waiting = wishes.length > 0;
    const behind = all.some(({ joined, position }) => joined && position && position.offset < this.state!.offset);
    if (this.#waiting && !behind) this.#askFor(wishes);
  }

  /** Handles the server's answer, or its announcement of the task under a pattern. */
  subscribed(data: Subscribed): void {
    const snapshot = data.snapshot!;
    this.permissions = data.permissions ?? null;
    const named = data.ref != null;
    // If the task was requested by name, only the answer to that request counts.
    if (named ? data.ref !== this.ref : this.ref !== null) return;
    this.ref = null;
    this.refusals = 0;
    this.live = true;
    this.#take(snapshot);
    for (const cursor of [...this.cursors]) {
      const served = named && this.#askedFor.has(cursor);
      if (cursor.hasWish && !served && !cursor.joined) continue;
      // The subscription starts again. Under a pattern, this also holds for a task that was removed
      // before.
      if (named || cursor.position?.epoch !== snapshot.epoch) cursor.leave(this.#epoch);
      cursor.join(snapshot, named ? { ...this.#asked, served } : null);
    }
    this.#serve();
  }

  event(event: TidingsEvent): void {
    const { state } = this;
    const counted = state !== null && event.offset <= state.offset;
    // A merged event may begin at or below the state's offset.
    if (state && !counted && (event.from ?? event.offset) <= state.offset + 1) this.state = reduce(state, event);
    this.#tell((cursor) => cursor.event(event, this.#epoch, counted), event.offset - 1);
  }

  gap(data: Gap): void {
    if (data.snapshot) this.#take(data.snapshot);
    this.#tell((cursor) => cursor.gap(data as TaskGap, this.#epoch), data.from - 1);
  }

  reset(data: Reset): void {
    this.#take(data.snapshot);
    this.#tell((cursor) => cursor.reset(data), 0);
  }

  heartbeat(head: number): void {
    this.#tell((cursor) => cursor.heartbeat(head, this.#epoch), head);
  }

  /**
   * Tells every watcher. `tell` returns false for a watcher to whom earlier events are missing.
   * They are requested again, or else given up until `before`.
   */
  #tell(tell: (cursor: Cursor) => boolean, before: number): void {
    for (const cursor of [...this.cursors]) {
      if (!cursor.joined || cursor.closed || tell(cursor)) continue;
      if (this.#recover(cursor)) return;
      cursor.giveUp(before, this.#epoch);
      tell(cursor);
    }
    this.#serve();
  }

  /** Keeps the later of two states. A snapshot may be older than the events that have arrived. */
  #take(snapshot: TaskSnapshot): void {
    const { state } = this;
    if (!state || state.epoch !== snapshot.epoch || snapshot.offset >= state.offset) this.state = snapshot;
  }

  /**
   * Requests lost events again, starting from the watchers' positions. Returns false if that was
   * already tried.
   */
  #recover({ position }: Cursor): boolean {
    if (this.ref !== null) return true;
    const due = (position?.offset ?? 0) + 1;
    if (this.#hole === due) return false;
    this.#hole = due;
    this.ask();
    if (this.ref === null) return false;
    // Events that arrive before the answer will be sent again after it.
    for (const cursor of this.cursors) cursor.leave(this.#epoch);
    this.#waiting = true;
    return true;
  }
}
