import { delay } from "./endpoint.js";

/** How long the answer to a ping may take, in milliseconds. */
const GRACE = 5_000;

/** The number of heartbeat intervals of silence after which a ping is sent. */
const QUIET = 1.5;

/**
 * Finds out whether the other side is alive. A browser may report a dead connection only after many
 * minutes.
 *
 * A timer alone proves nothing. In a hidden tab, timers are up to a minute late. After a laptop's
 * sleep, the silence was our own. So silence leads to a ping, and only a ping without an answer
 * ends the connection. If the timer for the answer was late, the ping is repeated once.
 *
 * Durations come from `performance.now()`, because a wall clock may be set back.
 */
export class Liveness {
  readonly #ping: () => void;
  readonly #dead: () => void;
  #limit = 0;
  #heardAt = 0;
  #probe: { at: number; again: boolean } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ ping, dead }: { ping: () => void; dead: () => void }) {
    this.#ping = ping;
    this.#dead = dead;
  }

  start(heartbeatInterval: number): void {
    this.#limit = heartbeatInterval * QUIET;
    this.heard();
    this.#arm(this.#limit);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#limit = 0;
    this.#probe = null;
  }

  /** Records that data arrived. It is called for every message, so it must be fast. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#probe = null;
  }

  /** Sends a ping now. */
  probe(again = false): void {
    if (!this.#limit || (this.#probe && !again)) return;
    this.#probe = { at: performance.now(), again };
    this.#ping();
    this.#arm(GRACE);
  }

  #arm(pause: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), delay(pause));
  }

  #check(): void {
    const now = performance.now();
    if (!this.#probe) {
      const quiet = now - this.#heardAt;
      if (quiet < this.#limit) this.#arm(this.#limit - quiet);
      else this.probe();
      return;
    }
    const late = now - this.#probe.at > 2 * GRACE;
    if (late && !this.#probe.again) this.probe(true);
    else this.#dead();
  }
}
