import type { ErrorCode } from "./generated/protocol.js";

/** Why a request was not done. */
export class TidingsError extends Error {
  override readonly name = "TidingsError";

  /**
   * @param code The protocol's error code; or `timeout` and `connection_lost`:
   * whether the server took the request is then unknown; `closed` and `busy`:
   * it did not.
   */
  constructor(
    readonly code: ErrorCode | "timeout" | "connection_lost" | "closed" | "busy",
    message: string,
  ) {
    super(message);
  }

  /** The server refused for a while. A subscription is asked for again by itself. */
  get temporary(): boolean {
    return this.code === "unavailable" || this.code === "rate_limited";
  }
}

/** Calls an application's function; what it throws is reported and harms nobody else. */
export function guarded<A extends unknown[]>(call: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    call?.(...args);
  } catch (error) {
    const report = (globalThis as { reportError?: (error: unknown) => void }).reportError;
    if (report) report(error);
    else queueMicrotask(() => { throw error; });
  }
}
