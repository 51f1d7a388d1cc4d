/**
 * The invariant of Tidings, as the Rust test kit checks it. Take the delivered offsets and gap
 * ranges of one task, in the order in which one subscriber receives them. They are contiguous and
 * do not overlap. Folded, they are the server's state.
 */

import type { Reset, TaskSnapshot } from "../../src/generated/protocol.js";
import type { TaskGap, TaskHandlers } from "../../src/options.js";
import { reduce } from "../../src/reduce.js";

type Next = { exactly: number } | { upTo: number } | null;

export class Violation extends Error {}

export class Checker {
  delivered = 0;
  readonly gaps: TaskGap[] = [];
  #next: Next;

  private constructor(next: Next) {
    this.#next = next;
  }

  /** Creates a checker for a subscriber that receives everything from `next` on. */
  static from(next: number): Checker {
    return new Checker({ exactly: next });
  }

  /** Creates a checker for a subscriber that asked for some history before `head`. */
  static withHistory(head: number): Checker {
    return new Checker({ upTo: head + 1 });
  }

  /** Creates a checker for a subscriber that was told nothing yet. */
  static unjoined(): Checker {
    return new Checker(null);
  }

  /** The offset that is due. */
  get expected(): number | null {
    if (!this.#next) return null;
    return "exactly" in this.#next ? this.#next.exactly : this.#next.upTo;
  }

  event(got: number, to = got): void {
    const next = this.#next;
    if (!next) throw new Violation(`offset ${got} came before the subscription began`);
    if ("exactly" in next && got !== next.exactly) {
      const what = got > next.exactly ? "offsets were lost" : "offsets came twice";
      throw new Violation(`offset ${got} came where ${next.exactly} was due: ${what}`);
    }
    if ("upTo" in next && (got > next.upTo || got < 1)) {
      throw new Violation(`history began at ${got}, after the head ${next.upTo - 1}`);
    }
    this.#next = { exactly: to + 1 };
    this.delivered++;
  }

  gap(gap: TaskGap): void {
    const { from, to, reason } = gap;
    const next = this.#next;
    const expected = next && "exactly" in next ? next.exactly : from;
    if (from !== expected || to < from) {
      throw new Violation(`gap ${from}-${to} (${reason}) came where ${expected} was due`);
    }
    if (!gap.snapshot && reason !== "conflated" && reason !== "missed") {
      throw new Violation(`gap ${from}-${to} (${reason}) came without a snapshot`);
    }
    this.#next = { exactly: to + 1 };
    this.gaps.push(gap);
  }

  reset({ offset, snapshot }: Reset): void {
    if (snapshot.offset < offset) throw new Violation(`a reset to ${offset} came with the state at ${snapshot.offset}`);
    this.#next = { exactly: offset + 1 };
  }
}

/** Checks and records everything that one watcher is told. */
export class Watched {
  readonly offsets: number[] = [];
  readonly violations: string[] = [];
  snapshots = 0;
  readonly gaps: TaskGap[] = [];
  readonly resets: Reset[] = [];
  /** Everything that came, folded: the state promise. */
  state: TaskSnapshot | null = null;
  #checker = Checker.unjoined();

  /** `history`: the watcher asked for some history. `all`: it asked for all retained events. */
  constructor(private readonly asks: "live" | "history" | "all" = "live") {}

  readonly handlers: TaskHandlers = {
    onSnapshot: (snapshot) => {
      this.state = snapshot;
      if (this.snapshots++ > 0) return;
      if (this.asks === "live") this.#checker = Checker.from(snapshot.offset + 1);
      if (this.asks === "history") this.#checker = Checker.withHistory(snapshot.offset);
      if (this.asks === "all") this.#checker = Checker.from(1);
    },
    onEvent: (event) => {
      const { from, offset } = event;
      this.#check(() => this.#checker.event(from ?? offset, offset));
      this.offsets.push(offset);
      if (this.state && offset > this.state.offset) this.state = reduce(this.state, event);
    },
    onGap: (gap) => {
      this.#check(() => this.#checker.gap(gap));
      this.gaps.push(gap);
    },
    onReset: (reset) => {
      this.#check(() => this.#checker.reset(reset));
      this.resets.push(reset);
    },
  };

  get expected(): number | null {
    return this.#checker.expected;
  }

  #check(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.violations.push(String(error));
    }
  }
}
