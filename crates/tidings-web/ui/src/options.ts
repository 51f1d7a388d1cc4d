import type { Gap, GapReason, PersonalMessage, Reset, Since, TaskSnapshot } from "./generated/protocol.js";
import type { TidingsError } from "./error.js";
import type { Status } from "./status.js";
import type { TidingsEvent } from "./types.js";

/** The part of `WebSocket` that the client uses, so that tests can replace it. */
export interface SocketLike {
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A token, or a function that returns one. */
export type Token =
  | string
  /**
   * Called for every connection. `refused` means that the server did not accept the last token. At
   * most one call is active at a time.
   */
  | ((why: "connect" | "refused") => string | Promise<string>);

export interface ClientOptions {
  /** The server's address, such as `https://example.org/tidings`. Default: the page's origin. */
  url?: string | URL | undefined;
  /** The token to connect with. `null` waits for `setToken`. Default: no token is needed. */
  token?: Token | null | undefined;
  /** The client's id. It keeps the inbox for personal messages across reconnects. */
  clientId?: string;
  /** Whether to use server-sent events if WebSocket does not work. Default true. */
  fallback?: boolean;
  /** How long a publish or command may take, including reconnects, in milliseconds. Default 30,000. */
  requestTimeout?: number;
  /** How long an unused connection is kept open, in milliseconds. Default 500. */
  linger?: number;
  onStatus?: (status: Status) => void;
  onPersonalMessage?: (message: PersonalMessage) => void;
  /** Replacements for the browser's own functions. */
  WebSocket?: new (url: string, protocols: string[]) => SocketLike;
  fetch?: typeof fetch;
  random?: () => number;
}

/**
 * A range of offsets that are not delivered, both ends included.
 *
 * The reasons are those of the server, and `missed`. The client itself uses `missed` for events of
 * a task under a pattern that happened while there was no connection.
 */
export interface TaskGap extends Omit<Gap, "reason" | "inbox"> {
  reason: GapReason | "missed";
}

/** Callbacks about tasks. All of them are optional. */
export interface TaskHandlers {
  /** Called for every event, in order. `counted` means that the last snapshot already contains it. */
  onEvent?: (event: TidingsEvent, counted: boolean) => void;
  /** Called with offsets that will not be delivered, before the next event. */
  onGap?: (gap: TaskGap, taskId: string) => void;
  /** Called when the position is void: the task goes on after `offset` of `epoch`. */
  onReset?: (reset: Reset, taskId: string) => void;
  /**
   * Called when a task is gone from a pattern or a tree: it was removed, or the token no longer
   * allows it.
   */
  onRemoved?: (taskId: string) => void;
  /** Called with the complete state: at the start, after reconnects, gaps and resets. */
  onSnapshot?: (snapshot: TaskSnapshot) => void;
  /** Called with the connection's status, at once and whenever it changes. */
  onStatus?: (status: Status) => void;
  /** Called when the server refuses the subscription. */
  onError?: (error: TidingsError) => void;
}

export interface WatchOptions extends TaskHandlers {
  /** How many of the newest retained events to receive first. Default 0. */
  history?: number;
  /** The position after which to continue. `"0"` starts with all retained events. */
  since?: Since;
}
