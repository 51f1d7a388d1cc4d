import type { ErrorCode } from "./generated/protocol.js";

/** Why a request failed. */
export class TidingsError extends Error {
  override readonly name = "TidingsError";

  /**
   * @param code The protocol's error code, or a code of the client. After `timeout` and
   * `connection_lost` it is not known whether the server accepted the request. After `closed` and
   * `busy`, the server did not receive it.
   */
  constructor(
    readonly code: ErrorCode | "timeout" | "connection_lost" | "closed" | "busy",
    message: string,
  ) {
    super(message);
  }

  /** Whether the refusal is temporary. The client retries a subscription by itself. */
  get temporary(): boolean {
    return this.code === "unavailable" || this.code === "rate_limited";
  }
}

/** Calls a function of the application. An error that it throws is reported, and does not affect other callbacks. */
export function guarded<A extends unknown[]>(call: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    call?.(...args);
  } catch (error) {
    // Like any error that nobody catches.
    queueMicrotask(() => {
      throw error;
    });
  }
}
