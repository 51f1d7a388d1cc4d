/* Made from docs/schema by `npm run types`: do not edit. */

import type { Reconnect } from "./protocol.js";

/** The action after each close code. After any other code, clients reconnect with backoff. */
export const AFTER_CLOSE: Readonly<Record<number, Reconnect>> = {
  1000: "backoff",
  1001: "backoff",
  1002: "never",
  1003: "never",
  1007: "never",
  1008: "never",
  1009: "never",
  1011: "backoff",
  1012: "backoff",
  1013: "backoff",
  4401: "never",
  4403: "never",
  4408: "now",
  4409: "never",
  4429: "backoff",
};
