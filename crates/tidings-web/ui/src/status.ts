/** How a client is connected. */
export interface Status {
  /**
   * * `idle`: nothing is watched, so there is no connection.
   * * `connecting`: for the first time, or anew right now.
   * * `connected`: events flow.
   * * `reconnecting`: the connection was lost; it is tried again at `retryAt`.
   * * `offline`: the same, and the browser says that there is no network.
   * * `closed`: for good; `reason` says why. `reconnect()` tries all the same.
   */
  readonly state: "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "closed";
  /** Attempts since the last connection that lasted. */
  readonly attempt: number;
  /** When it is tried again, in milliseconds since 1970. */
  readonly retryAt: number | null;
  /** Why it is not connected, for people. */
  readonly reason: string | null;
  /** The close code, where there was one. */
  readonly code: number | null;
  /** What carries the events. */
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
 * Returns until when what is shown is current, in milliseconds since 1970: null
 * while connected, and the moment of the loss afterwards.
 */
export function asOf(before: number | null, last: Status, next: Status): number | null {
  if (next.state === "connected") return null;
  return last.state === "connected" ? Date.now() : before;
}
