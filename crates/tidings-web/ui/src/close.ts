import type { Reconnect } from "./generated/protocol.js";

/** A token is missing, bad or expired. */
export const UNAUTHENTICATED = 4401;

/** No sign of life from the other side. */
export const NO_HEARTBEAT = 4408;

/** Codes after which there is nothing to try again; see the protocol's table. */
const NEVER = [1000, 1002, 1003, 1007, 1008, 1009, UNAUTHENTICATED, 4403, 4409];

/**
 * What to do after a close of which `going_away` said nothing. A proxy that
 * breaks a connection gives 1001, 1005 or 1006: then it is tried again.
 */
export function afterClose(code: number): Reconnect {
  if (NEVER.includes(code)) return "never";
  if (code === NO_HEARTBEAT) return "now";
  return "backoff";
}
