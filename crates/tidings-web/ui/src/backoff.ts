/** The first pause, before jitter, in milliseconds. */
const BASE = 500;

/** The longest pause, in milliseconds: a server that comes back is noticed within it. */
const CAP = 30_000;

/** The shortest pause, in milliseconds, so that no answer can make a client spin. */
export const FLOOR = 100;

/**
 * How long to wait before an attempt, in milliseconds: "full jitter", anything
 * up to a bound that doubles. Clients that lost one server together come back
 * spread out.
 */
export function backoff(attempt: number, random: () => number): number {
  const bound = Math.min(CAP, BASE * 2 ** Math.min(attempt, 16));
  return Math.max(FLOOR, Math.round(random() * bound));
}
