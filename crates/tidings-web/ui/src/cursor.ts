import type { Event as TaskEvent, TaskSnapshot } from "./generated/protocol.js";
import { guarded } from "./error.js";
import type { TaskGap, TaskHandlers } from "./options.js";

/** A place in a task's log. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/**
 * One watcher's place in one task's log, and what it is told: every offset
 * after its place, in order, once, or a gap.
 */
export class Cursor {
  /** The last offset that was delivered or named in a gap. */
  position: Position | null = null;
  /** The head when history of unknown length was asked for, of which nothing has come yet. */
  head: number | null = null;
  /** Told of where it stands on the current connection. */
  joined = false;
  closed = false;

  constructor(
    readonly handlers: TaskHandlers,
    readonly named: boolean,
    readonly history: number,
    readonly since: string | null,
  ) {}

  /**
   * The server has said where a subscription stands. `follows`: what was asked
   * for before the head comes as well, or is named in a gap.
   */
  join(snapshot: TaskSnapshot, follows: { since: string | null; history: number } | null): void {
    if (this.joined) return;
    this.joined = true;
    const { epoch, offset } = snapshot;
    if (this.position) {
      const asked = follows?.since?.split(":")[0] ?? this.position.epoch;
      if (!follows || asked !== this.position.epoch) this.#skip(snapshot);
    } else if (follows && follows.since !== null) {
      const [since, from] = follows.since.split(":");
      // In another epoch a gap says first where the numbers begin.
      this.position = from === undefined ? { epoch, offset: 0 } : { epoch: since ?? "", offset: Number(from) };
    } else if (follows && follows.history > 0) {
      this.head = offset;
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
  event(event: TaskEvent, epoch: string, counted: boolean): boolean {
    if (!this.joined || this.closed) return true;
    const { offset } = event;
    const due = this.position ? this.position.offset + 1 : null;
    if (due !== null && offset < due) return true;
    if (due !== null && offset > due) return false;
    if (due === null && offset > this.head! + 1) return false;
    this.position = { epoch, offset };
    guarded(this.handlers.onEvent, event, counted);
    return true;
  }

  /** Takes a gap in; false if something before it is missing. */
  gap(gap: TaskGap, taskId: string, epoch: string): boolean {
    if (!this.joined || this.closed) return true;
    const { reason, to } = gap;
    let { from } = gap;
    if (reason !== "epoch_changed" && reason !== "ahead" && this.position) {
      if (to <= this.position.offset) return true;
      if (from > this.position.offset + 1) return false;
      from = this.position.offset + 1;
    }
    this.position = { epoch, offset: to };
    guarded(this.handlers.onGap, { ...gap, from }, taskId);
    if (gap.snapshot) guarded(this.handlers.onSnapshot, gap.snapshot);
    return true;
  }

  /** A quiet subscription's head; false if this watcher is behind it. */
  heartbeat(head: number, epoch: string): boolean {
    if (!this.joined || this.closed) return true;
    // Nothing of the history that was asked for was left.
    if (!this.position) this.position = { epoch, offset: this.head! };
    return this.position.offset >= head;
  }

  /** What is missing up to an offset is lost: says so and goes on after it. */
  giveUp(to: number, taskId: string, epoch: string): void {
    const from = (this.position?.offset ?? this.head!) + 1;
    this.position = { epoch, offset: to };
    guarded(this.handlers.onGap, { from, to, reason: "missed" }, taskId);
  }
}
