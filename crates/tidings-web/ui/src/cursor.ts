import { guarded } from "./error.js";
import type { Reset, TaskSnapshot } from "./generated/protocol.js";
import type { TaskGap, TaskHandlers } from "./options.js";
import type { TidingsEvent } from "./types.js";

/** A place in a task's log. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** What a subscription by name was asked to begin with, and whether it was for this watcher. */
export interface Begin {
  readonly since?: string;
  readonly history?: number;
  readonly served: boolean;
}

/**
 * One watcher's place in one task's log, and what it is told: every offset
 * after its place, in order, once, or a gap.
 */
export class Cursor {
  /** The last offset that was delivered or named in a gap. */
  position: Position | null = null;
  /** Told of where it stands on the current connection. */
  joined = false;
  closed = false;
  /** The head when history of unknown length was asked for, of which nothing has come yet. */
  #head: number | null = null;

  constructor(
    readonly handlers: TaskHandlers,
    readonly named: boolean,
    readonly history: number,
    readonly since: string | null,
  ) {}

  /** It has no place yet, and wants to begin in the past. */
  get hasWish(): boolean {
    return !this.position && (this.history > 0 || this.since !== null);
  }

  /**
   * The subscription ends: the connection is gone, or it begins anew. History
   * that was still on its way is due from where it would have begun.
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
   * The server has said where the subscription stands: by name, or, without
   * `begin`, from the snapshot on.
   */
  join(snapshot: TaskSnapshot, begin: Begin | null): void {
    if (this.joined) return;
    this.joined = true;
    const { epoch, offset } = snapshot;
    if (this.position) {
      // Asked for in its own epoch, a gap says what has changed.
      const told = begin && (this.position.epoch === epoch || begin.since?.split(":")[0] === this.position.epoch);
      if (!told) this.#skip(snapshot);
    } else if (begin?.served && begin.since !== undefined) {
      const [since, from] = begin.since.split(":");
      this.position = from === undefined ? { epoch, offset: 0 } : { epoch: since!, offset: Number(from) };
    } else if (begin?.served && begin.history) {
      this.#head = offset;
    } else {
      this.position = { epoch, offset };
    }
    guarded(this.handlers.onSnapshot, snapshot);
  }

  /** Live from the snapshot on: what lies between is lost to this watcher, who is told. */
  #skip(snapshot: TaskSnapshot): void {
    const { epoch, offset } = snapshot;
    const before = this.position!;
    this.position = { epoch, offset };
    const gap = (from: number, reason: TaskGap["reason"]) =>
      guarded(this.handlers.onGap, { from, to: offset, reason, snapshot }, snapshot.task_id);
    if (before.epoch !== epoch) gap(1, "epoch_changed");
    else if (before.offset < offset) gap(before.offset + 1, "missed");
    else if (before.offset > offset) gap(offset + 1, "ahead");
  }

  /** Takes an event in; false if something before it is missing. */
  event(event: TidingsEvent, epoch: string, counted: boolean): boolean {
    if (!this.joined || this.closed) return true;
    const { offset } = event;
    const from = event.from ?? offset;
    // Had there been any history, it would have come before.
    if (this.#head !== null && from > this.#head + 1) this.#settle(epoch, this.#head);
    if (this.position) {
      if (offset <= this.position.offset) return true;
      if (from > this.position.offset + 1) return false;
      // Merged for a watcher that was further behind; `at` shows where its text overlaps.
      if (from <= this.position.offset) event = { ...event, from: this.position.offset + 1 };
    }
    this.#head = null;
    this.position = { epoch, offset };
    guarded(this.handlers.onEvent, event, counted);
    return true;
  }

  /** Takes a gap in; false if something before it is missing. */
  gap(gap: TaskGap, taskId: string, epoch: string): boolean {
    if (!this.joined || this.closed) return true;
    const { to } = gap;
    let { from } = gap;
    if (this.position) {
      if (to <= this.position.offset) return true;
      if (from > this.position.offset + 1) return false;
      from = this.position.offset + 1;
    }
    this.#head = null;
    this.position = { epoch, offset: to };
    guarded(this.handlers.onGap, { ...gap, from }, taskId);
    if (gap.snapshot) guarded(this.handlers.onSnapshot, gap.snapshot);
    return true;
  }

  /** Takes a reset in, if it is this watcher's place that is void: says so, by a gap that names no offsets. */
  reset({ reason, epoch, offset, snapshot }: Reset, taskId: string): void {
    if (!this.joined || this.closed) return;
    const { position } = this;
    const mine = !position || (reason === "ahead" ? position.offset > offset : position.epoch !== epoch);
    if (!mine) return;
    this.#head = null;
    this.position = { epoch, offset };
    guarded(this.handlers.onGap, { from: offset + 1, to: offset, reason, snapshot }, taskId);
    guarded(this.handlers.onSnapshot, snapshot);
  }

  /** A quiet subscription's head; false if this watcher is behind it. */
  heartbeat(head: number, epoch: string): boolean {
    if (!this.joined || this.closed) return true;
    if (this.#head !== null) this.#settle(epoch, this.#head);
    return this.position!.offset >= head;
  }

  /** What is missing up to an offset is lost: says so and goes on after it. */
  giveUp(to: number, taskId: string, epoch: string): void {
    const from = this.position!.offset + 1;
    this.position = { epoch, offset: to };
    guarded(this.handlers.onGap, { from, to, reason: "missed" }, taskId);
  }
}
