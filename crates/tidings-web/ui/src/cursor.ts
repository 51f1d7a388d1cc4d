import { guarded } from "./error.js";
import type { Reset, ResetReason, TaskSnapshot } from "./generated/protocol.js";
import type { TaskGap, TaskHandlers } from "./options.js";
import type { TidingsEvent } from "./types.js";

/** A position in a task's log. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** How a subscription by name begins, and whether it was sent for this watcher. */
export interface Begin {
  readonly since?: string;
  readonly history?: number;
  readonly served: boolean;
}

/**
 * The position of one watcher in a task's log. The watcher is told about every offset after its
 * position, in order and once: as an event, or in a gap.
 */
export class Cursor {
  /** The last offset that was delivered or named in a gap. */
  position: Position | null = null;
  /** Whether the watcher knows its position on the current connection. */
  joined = false;
  closed = false;
  /** The task's newest offset, if history of unknown length was requested and none has arrived yet. */
  #head: number | null = null;

  constructor(
    readonly taskId: string,
    readonly handlers: TaskHandlers,
    readonly named: boolean,
    readonly history: number,
    readonly since: string | null,
  ) {}

  /** Whether the watcher has no position yet and wants to begin in the past. */
  get hasWish(): boolean {
    return !this.position && (this.history > 0 || this.since !== null);
  }

  /**
   * Records that the subscription ended, because the connection is gone or the subscription starts
   * again. History that has not arrived yet is due from its beginning.
   */
  leave(epoch: string): void {
    if (this.#head !== null) this.#settle(epoch, Math.max(0, this.#head - this.history));
    this.joined = false;
  }

  #settle(epoch: string, offset: number): void {
    this.position ??= { epoch, offset };
    this.#head = null;
  }

  /**
   * Records where the subscription starts: as requested by name or, without `begin`, at the
   * snapshot.
   */
  join(snapshot: TaskSnapshot, begin: Begin | null): void {
    if (this.joined) return;
    this.joined = true;
    const { epoch, offset } = snapshot;
    // Before the first event there is one place, whatever its epoch was called.
    if (this.position?.offset === 0) this.position = { epoch, offset: 0 };
    if (this.position) {
      // If the request named the watcher's own epoch, the server sends a gap for what has changed.
      const told = begin && (this.position.epoch === epoch || begin.since?.split(":")[0] === this.position.epoch);
      if (!told) this.#skip(snapshot);
    } else if (begin?.served && begin.since !== undefined) {
      const [since, from] = begin.since.split(":");
      this.position = Number(from ?? 0) === 0 ? { epoch, offset: 0 } : { epoch: since!, offset: Number(from) };
    } else if (begin?.served && begin.history) {
      this.#head = offset;
    } else {
      this.position = { epoch, offset };
    }
    guarded(this.handlers.onSnapshot, snapshot);
  }

  /**
   * Continues live after the snapshot. Reports the events in between as a gap, because the watcher
   * will not receive them.
   */
  #skip(snapshot: TaskSnapshot): void {
    const { epoch, offset } = snapshot;
    const before = this.position!;
    this.position = { epoch, offset };
    const reset = (reason: ResetReason) =>
      guarded(this.handlers.onReset, { reason, epoch, offset, snapshot }, this.taskId);
    if (before.epoch !== epoch) reset("epoch_changed");
    else if (before.offset > offset) reset("ahead");
    else if (before.offset < offset) {
      guarded(this.handlers.onGap, { from: before.offset + 1, to: offset, reason: "missed", snapshot }, this.taskId);
    }
  }

  /** Handles an event. Returns false if earlier events are missing. */
  event(event: TidingsEvent, epoch: string, counted: boolean): boolean {
    const { offset } = event;
    const from = event.from ?? offset;
    // If there were any history, it would have arrived before this event.
    if (this.#head !== null && from > this.#head + 1) this.#settle(epoch, this.#head);
    if (this.position) {
      if (offset <= this.position.offset) return true;
      if (from > this.position.offset + 1) return false;
      // The event was merged for a watcher that is further behind. `at` shows where its text
      // overlaps.
      if (from <= this.position.offset) event = { ...event, from: this.position.offset + 1 };
    }
    this.#head = null;
    this.position = { epoch, offset };
    guarded(this.handlers.onEvent, event, counted);
    return true;
  }

  /** Handles a gap. Returns false if earlier events are missing. */
  gap(gap: TaskGap, epoch: string): boolean {
    const { to } = gap;
    let { from } = gap;
    if (this.position) {
      if (to <= this.position.offset) return true;
      if (from > this.position.offset + 1) return false;
      from = this.position.offset + 1;
    }
    this.#head = null;
    this.position = { epoch, offset: to };
    guarded(this.handlers.onGap, { ...gap, from }, this.taskId);
    if (gap.snapshot) guarded(this.handlers.onSnapshot, gap.snapshot);
    return true;
  }

  /** Handles a reset if it concerns this watcher's position. */
  reset(reset: Reset): true {
    const { position } = this;
    const { reason, epoch, offset, snapshot } = reset;
    if (!position || (reason === "ahead" ? position.offset > offset : position.epoch !== epoch)) {
      this.#head = null;
      this.position = { epoch, offset };
      guarded(this.handlers.onReset, reset, this.taskId);
      guarded(this.handlers.onSnapshot, snapshot);
    }
    return true;
  }

  /** Handles the newest offset of a quiet subscription. Returns false if this watcher is behind it. */
  heartbeat(head: number, epoch: string): boolean {
    if (this.#head !== null) this.#settle(epoch, this.#head);
    return this.position!.offset >= head;
  }

  /** Gives up on the events up to an offset: reports a gap and continues after it. */
  giveUp(to: number, epoch: string): void {
    this.gap({ from: this.position!.offset + 1, to, reason: "missed" }, epoch);
  }
}
