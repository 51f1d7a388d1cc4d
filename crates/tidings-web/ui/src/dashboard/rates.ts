/** The number of seconds that are displayed. */
export const WINDOW = 60;

/** The number of delivery times to remember. */
const SAMPLES = 256;

/** Counts events per second over the last minute, and measures their delivery time. */
export class Rates {
  readonly #counts = new Map<number, number>();
  readonly #ways: number[] = [];
  /** The shortest delivery time so far. Clocks differ, so only the difference to it is meaningful. */
  #quickest = Infinity;

  /** Records an event that the server accepted at `timestamp`. */
  event(timestamp: string, now = Date.now()): void {
    const second = Math.floor(now / 1000);
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + 1);
    if (this.#counts.size > WINDOW + 1) this.#counts.delete(this.#counts.keys().next().value!);
    const way = now - Date.parse(timestamp);
    this.#quickest = Math.min(this.#quickest, way);
    this.#ways.push(way);
    if (this.#ways.length > SAMPLES) this.#ways.splice(0, this.#ways.length - SAMPLES);
  }

  /** Returns the number of events in each of the last complete seconds, the newest last. */
  perSecond(now = Date.now()): number[] {
    const last = Math.floor(now / 1000);
    return Array.from({ length: WINDOW }, (_, index) => this.#counts.get(last - WINDOW + index) ?? 0);
  }

  /** Returns the median of how much longer recent events took than the fastest one, in milliseconds. */
  lag(): number | null {
    if (this.#ways.length === 0) return null;
    const sorted = [...this.#ways].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]! - this.#quickest;
  }
}
