import { AFTER_CLOSE } from "./generated/close-codes.js";
import type { Reconnect } from "./generated/protocol.js";

/** A token is missing, bad or expired. */
export const UNAUTHENTICATED = 4401;

/** No sign of life from the other side. */
export const NO_HEARTBEAT = 4408;

/**
 * What to do after a close of which `going_away` said nothing, by the protocol's
 * table. A proxy that breaks a connection gives 1000, 1001, 1005 or 1006: then it
 * is tried again.
 */
export function afterClose(code: number): Reconnect {
  return AFTER_CLOSE[code] ?? "backoff";
}
