/* Made from docs/schema by `npm run types`: do not edit. */

import type { Reconnect } from "./protocol.js";

/** The action after a close code. After any code that is not listed, clients reconnect with backoff. */
export const AFTER_CLOSE: Readonly<Record<number, Reconnect>> = {
  1002: "never",
  1003: "never",
  1007: "never",
  1008: "never",
  1009: "never",
  4401: "never",
  4403: "never",
  4408: "now",
  4409: "never",
};
