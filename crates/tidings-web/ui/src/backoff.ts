/** The first pause, before jitter, in milliseconds. */
const BASE = 500;

/** The longest pause, in milliseconds. A server that is back is noticed within this time. */
const CAP = 30_000;

/** The shortest pause, in milliseconds, so that no server's answer can make a client reconnect in a busy loop. */
export const FLOOR = 100;

/**
 * Returns how long to wait before an attempt, in milliseconds. The pause is random ("full jitter"),
 * up to a limit that doubles with each attempt. Clients that lost the same server therefore
 * reconnect at different times.
 */
export function backoff(attempt: number, random: () => number): number {
  const bound = Math.min(CAP, BASE * 2 ** Math.min(attempt, 16));
  return Math.max(FLOOR, Math.round(random() * bound));
}
