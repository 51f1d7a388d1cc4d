import type { ClientOptions } from "./options.js";

/** The longest delay that a timer supports, in milliseconds. With a longer one it would fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** Returns a delay that a timer supports, for any number from a server or a clock. */
export function delay(ms: number): number {
  return Math.min(MAX_DELAY, Math.max(0, ms || 0));
}

/**
 * Returns the address of a path on the server. A prefix in `url`, as in
 * `https://example.org/tidings`, is kept.
 *
 * Throws a `TypeError` if the address is not valid.
 */
export function endpoint({ url }: ClientOptions, path: string): URL {
  const { location } = globalThis;
  const base = new URL(url ?? "/", location?.href);
  if (!/^(http|ws)s?:$/.test(base.protocol)) throw new TypeError(`${base.href} is not an http(s) address`);
  return new URL(base.origin.replace(/^ws/, "http") + base.pathname.replace(/\/*$/, "") + path);
}
