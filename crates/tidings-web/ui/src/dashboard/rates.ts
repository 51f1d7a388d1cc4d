/** Seconds that are shown. */
export const WINDOW = 60;

/** Ways of which the delivery time is remembered. */
const SAMPLES = 256;

/** Events a second over the last minute, and how late they come. */
export class Rates {
  readonly #counts = new Map<number, number>();
  readonly #ways: number[] = [];
  /** The quickest way of all: clocks differ, so only what is more than it tells. */
  #quickest = Infinity;

  /** An event came that the server took at `timestamp`. */
  event(timestamp: string, now = Date.now()): void {
    const second = Math.floor(now / 1000);
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + 1);
    if (this.#counts.size > WINDOW + 1) this.#counts.delete(this.#counts.keys().next().value!);
    const way = now - Date.parse(timestamp);
    this.#quickest = Math.min(this.#quickest, way);
    this.#ways.push(way);
    if (this.#ways.length > SAMPLES) this.#ways.splice(0, this.#ways.length - SAMPLES);
  }

  /** Events in each of the last seconds that are over, the newest last. */
  perSecond(now = Date.now()): number[] {
    const last = Math.floor(now / 1000);
    return Array.from({ length: WINDOW }, (_, index) => this.#counts.get(last - WINDOW + index) ?? 0);
  }

  /** How much longer than the quickest one recent events were under way, in milliseconds, at the median. */
  lag(): number | null {
    if (this.#ways.length === 0) return null;
    const sorted = [...this.#ways].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]! - this.#quickest;
  }
}
