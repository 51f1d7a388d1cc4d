import { AFTER_CLOSE } from "./generated/close-codes.js";
import type { Reconnect } from "./generated/protocol.js";

/** The token is missing, invalid or expired. */
export const UNAUTHENTICATED = 4401;

/** The other side gave no sign of life. */
export const NO_HEARTBEAT = 4408;

/**
 * Returns what to do after a close without `going_away`, according to the protocol's table. A
 * connection that a proxy breaks ends with 1000, 1001, 1005 or 1006, after which the client
 * reconnects.
 */
export function afterClose(code: number): Reconnect {
  return AFTER_CLOSE[code] ?? "backoff";
}
