/** The status of a client's connection. */
export interface Status {
  /**
   * * `idle`: nothing is watched, so there is no connection.
   * * `connecting`: an attempt to connect is running.
   * * `connected`: events arrive.
   * * `reconnecting`: the connection was lost. The next attempt is at `retryAt`.
   * * `offline`: the same, and the browser reports that there is no network.
   * * `closed`: closed for good; `reason` says why. `reconnect()` still tries again.
   */
  readonly state: "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "closed";
  /** The number of attempts since the last connection that lasted. */
  readonly attempt: number;
  /** When the next attempt starts, in milliseconds since 1970. */
  readonly retryAt: number | null;
  /** Why there is no connection, for people. */
  readonly reason: string | null;
  /** The close code, if there was one. */
  readonly code: number | null;
  /** The transport of the events. */
  readonly transport: "websocket" | "sse" | null;
}

export const IDLE: Status = {
  state: "idle",
  attempt: 0,
  retryAt: null,
  reason: null,
  code: null,
  transport: null,
};

/**
 * Returns the time up to which the displayed data is current, in milliseconds since 1970. It is
 * null while connected, and the moment of the loss afterwards.
 */
export function asOf(before: number | null, last: Status, next: Status): number | null {
  if (next.state === "connected") return null;
  return last.state === "connected" ? Date.now() : before;
}
