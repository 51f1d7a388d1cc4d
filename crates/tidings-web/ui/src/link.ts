import { afterClose, NO_HEARTBEAT, UNAUTHENTICATED } from "./close.js";
import { backoff, FLOOR } from "./backoff.js";
import { delay, endpoint } from "./endpoint.js";
import { guarded } from "./error.js";
import type { ConnectionEstablished, GoingAway, ServerMessage } from "./generated/protocol.js";
import { Liveness } from "./liveness.js";
import type { ClientOptions, SocketLike, Token } from "./options.js";
import { listenToPage, seemsOffline } from "./page.js";
import { IDLE, type Status } from "./status.js";

/** How long connecting may take, in milliseconds. It includes getting the token and the server's first message. */
const CONNECT_TIMEOUT = 10_000;

/** How long the server may take to close after `going_away`, in milliseconds. */
const GOODBYE_TIMEOUT = 2_000;

/** A connection that lasted this long, in milliseconds, was stable. The next attempt then uses the shortest pause. */
const STABLE = 5_000;

/** The shortest pause that is used when the server asks for one. The server tells 0 to the first of many clients. */
const AFTER_FLOOR = 250;

/** How many new tokens in a row may be refused. */
const MAX_REFUSALS = 3;

/** How many times WebSocket may fail before server-sent events are tried. */
const MAX_SOCKET_FAILURES = 2;

type SocketMaker = new (url: string, protocols: string[]) => SocketLike;

export interface LinkHandlers {
  established(data: ConnectionEstablished): void;
  message(message: ServerMessage): void;
  lost(): void;
  status(status: Status): void;
}

/**
 * A connection to the server that reconnects whenever it is lost. It handles opening, tokens, signs
 * of life and pauses. It knows nothing about tasks.
 */
export class Link {
  status: Status = IDLE;
  readonly #options: ClientOptions;
  readonly #handlers: LinkHandlers;
  readonly #fetch: typeof fetch | undefined;
  readonly #Socket: SocketMaker | undefined;
  readonly #random: () => number;
  readonly #liveness: Liveness;
  #wanted = false;
  #suspended = false;
  #socket: SocketLike | null = null;
  /** Counts the attempts to connect. Callbacks of an older attempt are ignored. */
  #generation = 0;
  #opening = false;
  #established = false;
  #establishedAt = 0;
  #attempt = 0;
  #goodbye: GoingAway | null = null;
  #refused = false;
  #refusals = 0;
  #token: Promise<string> | null = null;
  /** The token of the connection. */
  held: string | null = null;
  #identity: { client_id: string; resume_token: string } | null = null;
  #socketWorks = false;
  #socketFailures = 0;
  /** Whether the server has sent anything in this attempt, so that the network path to it works. */
  #spoken = false;
  #transport: "websocket" | "sse" = "websocket";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unlisten = () => {};

  constructor(options: ClientOptions, handlers: LinkHandlers) {
    this.#options = { ...options };
    this.#fetch = options.fetch ?? globalThis.fetch?.bind(globalThis);
    this.#handlers = handlers;
    this.#random = options.random ?? Math.random;
    // Node.js before version 22 has no WebSocket.
    this.#Socket = options.WebSocket ?? (globalThis.WebSocket as unknown as SocketMaker | undefined);
    if (!this.#Socket && options.fallback !== false) this.#transport = "sse";
    this.#liveness = new Liveness({
      ping: () => this.send({ type: "ping" }),
      dead: () => this.#drop(NO_HEARTBEAT, "the server does not answer"),
    });
  }

  get isOpen(): boolean {
    return this.#established;
  }

  /** Connects if necessary, and keeps the connection open. */
  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempt = 0;
    this.#refusals = 0;
    this.#unlisten = listenToPage({
      wake: () => this.#wake(),
      offline: () => this.#liveness.probe(),
      suspend: () => {
        this.#suspended = true;
        this.#drop(1001, "the page sleeps");
      },
      resume: () => {
        this.#suspended = false;
        this.#wake();
      },
    });
    this.#connect();
  }

  /** Closes the connection, until `start` is called again. */
  stop(status: Status = IDLE): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#suspended = false;
    this.#unlisten();
    this.#release(1000, "");
    this.#set(status);
  }

  /** Reconnects at once. */
  reconnect(): void {
    if (!this.#wanted) return this.start();
    this.#attempt = 0;
    if (this.#socket) this.#release(1000, "");
    this.#connect();
  }

  send(message: object): boolean {
    if (!this.#established) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  #set(change: Partial<Status>): void {
    this.status = { ...IDLE, attempt: this.#attempt, ...change };
    this.#handlers.status(this.status);
  }

  /** Ends a pause early, because something has improved. */
  #wake(): void {
    if (!this.#wanted || this.#suspended) return;
    if (this.#established) this.#liveness.probe();
    else if (!this.#opening) this.#connect();
  }

  #connect(): void {
    if (this.#opening || this.#socket) return;
    this.#opening = true;
    this.#goodbye = null;
    this.#spoken = false;
    const generation = ++this.#generation;
    // Without its token, the connection would be refused. `setToken` continues.
    if (this.#options.token === null) return this.#set({ state: "connecting", reason: "waiting for a token" });
    this.#after(CONNECT_TIMEOUT, () => this.#drop(1006, "connecting took too long"));
    this.#set({ state: "connecting", reason: this.status.reason });
    if (this.#options.token === undefined) return this.#open(null);
    this.freshToken().then(
      (token) => generation === this.#generation && this.#open(token),
      (error: unknown) => generation === this.#generation && this.#lost(1006, `no token: ${String(error)}`),
    );
  }

  /** Uses another token. Connects at once if the connection waits for a token, or if the last one was refused. */
  setToken(token: Token | null | undefined): void {
    const { token: before } = this.#options;
    this.#options.token = token;
    // A function that a component creates at each render is not a new token.
    if (before === token || token === null || (typeof before === "function" && typeof token === "function")) return;
    this.#token = null;
    if (before === null && this.#opening) {
      this.#opening = false;
      this.#connect();
    } else if (this.status.code === UNAUTHENTICATED) {
      this.reconnect();
    }
  }

  /** Sends a request to a path of the server, with the token. */
  async fetch(path: string, init?: RequestInit & { headers?: Record<string, string> }): Promise<Response> {
    const token = this.held ?? (await this.freshToken());
    const headers = { ...init?.headers, ...(token && { authorization: `Bearer ${token}` }) };
    return this.#fetch!(endpoint(this.#options, path), { cache: "no-store", ...init, headers });
  }

  /** Gets a token from the application. Concurrent callers share the same request. */
  freshToken(): Promise<string> {
    const { token } = this.#options;
    const why = this.#refused ? "refused" : "connect";
    if (this.#token) return this.#token;
    const asked = Promise.resolve()
      .then(() => (typeof token === "function" ? token(why) : (token ?? "")))
      .finally(() => this.#token === asked && (this.#token = null));
    return (this.#token = asked);
  }

  #open(token: string | null): void {
    this.held = token;
    if (this.#transport === "sse") return this.#openStream();
    try {
      this.#attach(this.#webSocket(token));
    } catch (error) {
      // The address, or the page's security policy, is wrong. The next attempt would fail as well.
      this.#goodbye = { reason: String(error), reconnect: "never" };
      this.#lost(1006, "");
    }
  }

  /** Opens the fallback. Its code is loaded only if WebSocket does not work. */
  #openStream(): void {
    const generation = this.#generation;
    import("./sse.js").then(
      ({ SseSocket }) => generation === this.#generation && this.#attach(new SseSocket((path, init) => this.fetch(path, init))),
      (error: unknown) => generation === this.#generation && this.#lost(1006, String(error)),
    );
  }

  #attach(socket: SocketLike): void {
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#received(String(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
  }

  #webSocket(token: string | null): SocketLike {
    const url = endpoint(this.#options, "/ws");
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#identity) {
      for (const [name, value] of Object.entries(this.#identity)) url.searchParams.set(name, value);
    } else if (this.#options.clientId) {
      url.searchParams.set("client_id", this.#options.clientId);
    }
    const protocols = ["tidings.v1"];
    // A token that a subprotocol cannot contain (RFC 9110, token) goes into the query.
    if (token && /^[\w!#$%&'*+.^`|~-]+$/.test(token)) protocols.push(`bearer.${token}`);
    else if (token) url.searchParams.set("token", token);
    return new this.#Socket!(url.href, protocols);
  }

  #received(text: string): void {
    this.#liveness.heard();
    this.#spoken = true;
    let message: ServerMessage;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#drop(1002, "not JSON");
    }
    if ("offset" in message) return this.#handlers.message(message);
    switch (message.event_type) {
      case "connection_established":
        return this.#welcome(message.data as ConnectionEstablished);
      case "going_away":
        this.#goodbye = message.data as GoingAway;
        return this.#after(GOODBYE_TIMEOUT, () => this.#drop(1006, this.#goodbye?.reason ?? ""));
      case "error": {
        // An error with a ref answers a request, and the connection stays open.
        const { code, ref } = message.data as { code: string; ref?: unknown };
        this.#refused ||= code === "unauthenticated" && ref == null;
      }
    }
    this.#handlers.message(message);
  }

  #welcome(data: ConnectionEstablished): void {
    clearTimeout(this.#timer);
    this.#opening = false;
    this.#established = true;
    this.#establishedAt = performance.now();
    this.#refused = false;
    this.#refusals = 0;
    this.#socketWorks ||= this.#transport === "websocket";
    if (this.#options.clientId) this.#identity = { client_id: data.client_id, resume_token: data.resume_token };
    this.#liveness.start(data.heartbeat_interval_ms);
    this.#set({ state: "connected", transport: this.#transport });
    this.#handlers.established(data);
  }

  /** Ends this connection, and continues as if it had broken. */
  #drop(code: number, reason: string): void {
    this.#release(4000, reason);
    if (this.#wanted) this.#retry(code, reason);
  }

  #lost(code: number, reason: string): void {
    this.#release();
    this.#retry(code, reason);
  }

  /** Releases everything that belongs to the current attempt. */
  #release(code?: number, reason?: string): void {
    this.held = null;
    clearTimeout(this.#timer);
    this.#liveness.stop();
    this.#generation++;
    this.#opening = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      if (code) socket.close(code, reason);
    }
    if (!this.#established) return;
    this.#established = false;
    if (performance.now() - this.#establishedAt >= STABLE) this.#attempt = 0;
    this.#handlers.lost();
  }

  #retry(code: number, closeReason: string): void {
    const goodbye = this.#goodbye;
    this.#goodbye = null;
    const reason = goodbye?.reason || closeReason || "the connection was lost";
    this.#chooseTransport();
    let policy = goodbye?.reconnect ?? afterClose(code);
    if (code === UNAUTHENTICATED || this.#refused) {
      this.#refused = true;
      const again = typeof this.#options.token === "function" && ++this.#refusals < MAX_REFUSALS;
      policy = !again ? "never" : this.#refusals === 1 ? "now" : "backoff";
    }
    if (policy === "never") {
      // A proxy may have removed the close code.
      return this.stop({ ...IDLE, state: "closed", reason, code: this.#refused ? UNAUTHENTICATED : code });
    }
    // The server closes again and again at once, so do not reconnect faster.
    const pause =
      policy === "after"
        ? Math.max(AFTER_FLOOR, goodbye?.reconnect_after_ms ?? this.#random() * CONNECT_TIMEOUT)
        : policy === "now" && this.#attempt === 0
          ? FLOOR
          : backoff(this.#attempt, this.#random);
    this.#attempt++;
    const state = seemsOffline() ? "offline" : "reconnecting";
    if (this.#suspended) return this.#set({ state, reason, code });
    this.#after(pause, () => this.#connect());
    this.#set({ state, reason, code, retryAt: Date.now() + pause });
  }

  /** Tries server-sent events if WebSocket has never worked. */
  #chooseTransport(): void {
    if (this.#socketWorks || (this.#spoken && this.#transport === "websocket")) return;
    if (this.#options.fallback === false || !this.#fetch) return;
    if (!this.#Socket) return;
    if (this.#transport === "sse") {
      // WebSocket may work again. Try it once, then use SSE again.
      this.#transport = "websocket";
      this.#socketFailures = MAX_SOCKET_FAILURES - 1;
    } else if (++this.#socketFailures >= MAX_SOCKET_FAILURES) {
      this.#transport = "sse";
    }
  }

  #after(pause: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => guarded(then), delay(pause));
  }
}
