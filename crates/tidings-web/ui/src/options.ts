import type { Gap, GapReason, PersonalMessage, ResetReason, Since, TaskSnapshot } from "./generated/protocol.js";
import type { TidingsError } from "./error.js";
import type { Status } from "./status.js";
import type { TidingsEvent } from "./types.js";

/** The part of `WebSocket` that is used, so that tests can script one. */
export interface SocketLike {
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A token, or how to get one. */
export type Token =
  | string
  /**
   * Called for every connection, and with `refused` after the server did not
   * accept the last one. At most one call is under way.
   */
  | ((why: "connect" | "refused") => string | Promise<string>);

export interface ClientOptions {
  /** The server's address, such as `https://example.org/tidings`. Default: the page's origin. */
  url?: string | URL | undefined;
  /** The token to connect with. `null`: connect only after `setToken`. Default: none is needed. */
  token?: Token | null | undefined;
  /** Keeps this id, and with it the inbox for personal messages, across reconnects. */
  clientId?: string;
  /** Fall back to server-sent events where WebSocket does not get through. Default true. */
  fallback?: boolean;
  /** How long a publish or command may take, in milliseconds, reconnects included. Default 30,000. */
  requestTimeout?: number;
  /** How long a connection that nobody needs is kept, in milliseconds. Default 500. */
  linger?: number;
  onStatus?: (status: Status) => void;
  onPersonalMessage?: (message: PersonalMessage) => void;
  /** Stand-ins for the browser's own. */
  WebSocket?: new (url: string, protocols: string[]) => SocketLike;
  fetch?: typeof fetch;
  random?: () => number;
}

/**
 * Offsets that are not delivered, both ends included.
 *
 * The reasons are the server's, and one of the client's own: `missed`, for
 * events of a task under a pattern while there was no connection.
 */
export interface TaskGap extends Omit<Gap, "reason" | "inbox"> {
  reason: GapReason | ResetReason | "missed";
}

/** What is called about tasks. Every one of them may be left out. */
export interface TaskHandlers {
  /** Every event, in order. `counted`: the last snapshot has it already. */
  onEvent?: (event: TidingsEvent, counted: boolean) => void;
  /** Offsets that will not come, before the next event. */
  onGap?: (gap: TaskGap, taskId: string) => void;
  /** The state as a whole: at the start, after reconnects and after gaps. */
  onSnapshot?: (snapshot: TaskSnapshot) => void;
  /** The connection's status, at once and whenever it changes. */
  onStatus?: (status: Status) => void;
  /** The server refused the subscription. */
  onError?: (error: TidingsError) => void;
}

export interface WatchOptions extends TaskHandlers {
  /** So many of the newest retained events as well. Default 0. */
  history?: number;
  /** Go on after this position; `"0"`: all that is retained. */
  since?: Since;
}
