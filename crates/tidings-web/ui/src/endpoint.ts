import type { ClientOptions } from "./options.js";

/** The longest delay that a timer takes, in milliseconds. A longer one would fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** Returns a delay that a timer can take, whatever a server or a clock says. */
export function delay(ms: number): number {
  return Math.min(MAX_DELAY, Math.max(0, ms || 0));
}

/**
 * Returns the address of a path below the server's. A prefix in `url`, as in
 * `https://example.org/tidings`, is kept.
 *
 * Throws a `TypeError` if there is no such address.
 */
export function endpoint({ url }: ClientOptions, path: string): URL {
  const { location } = globalThis;
  const base = new URL(url ?? "/", location?.href);
  if (!/^(http|ws)s?:$/.test(base.protocol)) throw new TypeError(`${base.href} is not an http(s) address`);
  return new URL(base.origin.replace(/^ws/, "http") + base.pathname.replace(/\/*$/, "") + path);
}
