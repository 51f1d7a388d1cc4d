import { backoff } from "./backoff.js";
import { Channel, type Ask } from "./channel.js";
import { Cursor, type Position } from "./cursor.js";
import { guarded, TidingsError } from "./error.js";
import { eventsOf, type EventsOptions } from "./events.js";
import type {
  Ack,
  Gap,
  Heartbeat,
  PersonalMessage,
  ServerMessage,
  Subscribed,
  TaskSnapshot,
  Reset,
  Unsubscribed,
} from "./generated/protocol.js";
import { Link } from "./link.js";
import type { NewTidingsEvent, TidingsEvent } from "./types.js";
import type { ClientOptions, TaskHandlers, Token, WatchOptions } from "./options.js";
import { Requests } from "./requests.js";
import type { Status } from "./status.js";

/** A watched task. */
export interface TaskWatch {
  readonly taskId: string;
  /** The task's state after the last event, or null before it is known. */
  readonly task: TaskSnapshot | null;
  /** The position in the log. To continue elsewhere, pass it as `since: "epoch:offset"`. */
  readonly position: Position | null;
  /** Whether the watch was closed. */
  readonly closed: boolean;
  /** Stops watching. No callback is called after this. */
  close(): void;
}

/** All tasks whose ids begin with a prefix. */
export interface PatternWatch {
  readonly pattern: string;
  /** The ids of the tasks that have appeared. */
  taskIds(): Iterable<string>;
  /** A task's state after the last event, or null if the task has not appeared. */
  task(taskId: string): TaskSnapshot | null;
  /** Forgets a task that the server has removed. */
  forget(taskId: string): void;
  close(): void;
}

interface PatternEntry {
  readonly pattern: string;
  readonly handlers: TaskHandlers;
  readonly cursors: Map<string, Cursor>;
  ref: number | null;
  /** The number of refusals in a row. */
  refusals: number;
}

/**
 * Watches tasks over one connection, and publishes events to them.
 *
 * The client connects when a task is watched, and closes the connection when no task is watched any
 * more. After every break it continues where it was. Each watcher receives every offset in order
 * and once, or is told by a gap which offsets it does not receive.
 */
export class TidingsClient {
  readonly #link: Link;
  readonly #requests: Requests;
  readonly #options: ClientOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #patterns = new Set<PatternEntry>();
  readonly #listeners = new Set<(status: Status) => void>();
  #ref = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;
  /** Timers of refused subscriptions, which are requested again on this connection. */
  readonly #retries = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;

  constructor(options: ClientOptions = {}) {
    this.#options = { ...options };
    this.#link = new Link(options, {
      established: () => this.#established(),
      message: (message) => this.#received(message),
      lost: () => this.#lost(),
      status: (status) => this.#status(status),
    });
    this.#requests = new Requests(
      (message) => this.#link.send(message),
      () => this.#settle(),
      options.requestTimeout ?? 30_000,
    );
    if (options.onStatus) this.#listeners.add(options.onStatus);
  }

  get status(): Status {
    return this.#link.status;
  }

  /** Calls `listener` whenever the status changes, until the returned function is called. */
  onStatus(listener: (status: Status) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Watches one task. */
  watchTask(taskId: string, options: WatchOptions = {}): TaskWatch {
    this.#assertOpen();
    const since = options.since === undefined ? null : String(options.since);
    const cursor = new Cursor(options, true, since === null ? (options.history ?? 0) : 0, since);
    const channel = this.#channel(taskId);
    channel.add(cursor);
    const unlisten = this.#listen(options);
    this.#settle();
    return {
      taskId,
      get task() {
        return channel.state;
      },
      get position() {
        return cursor.position;
      },
      get closed() {
        return cursor.closed;
      },
      close: () => {
        if (cursor.closed) return;
        unlisten();
        this.#remove(channel, cursor);
        this.#settle();
      },
    };
  }

  /** Watches all tasks whose ids begin with the text before the `*`, including tasks that start later. */
  watchPattern(pattern: string, handlers: TaskHandlers = {}): PatternWatch {
    this.#assertOpen();
    const entry: PatternEntry = { pattern, handlers, cursors: new Map(), ref: null, refusals: 0 };
    const known = [...this.#patterns].some((other) => other.pattern === pattern);
    this.#patterns.add(entry);
    for (const channel of this.#channels.values()) this.#match(entry, channel);
    if (!known) this.#askPattern(entry);
    const unlisten = this.#listen(handlers);
    this.#settle();
    const channels = this.#channels;
    return {
      pattern,
      taskIds: () => entry.cursors.keys(),
      task: (taskId) => (entry.cursors.has(taskId) ? (channels.get(taskId)?.state ?? null) : null),
      forget: (taskId) => this.#forget(entry, taskId),
      close: () => {
        if (!this.#patterns.delete(entry)) return;
        unlisten();
        for (const taskId of [...entry.cursors.keys()]) this.#forget(entry, taskId);
        const others = [...this.#patterns].some((other) => other.pattern === pattern);
        if (!others) this.#link.send({ type: "unsubscribe", pattern, ref: ++this.#ref });
        this.#settle();
      },
    };
  }

  /**
   * Publishes an event. After a break it is sent again until it is answered. Its `event_id`, which
   * is generated if there is none, makes that safe.
   */
  publish(taskId: string, event: NewTidingsEvent): Promise<Ack> {
    const event_id = event.event_id ?? randomId();
    return this.#request({ type: "publish", task_id: taskId, ...event, event_id }, true);
  }

  /**
   * Sends a command to a task, such as `cancel`. The answer says that the server accepted the
   * command; the task answers with an event. After a break the command is not sent again, and fails
   * with `connection_lost`.
   */
  command(taskId: string, command: string, args?: Record<string, unknown>): Promise<Ack> {
    return this.#request({ type: "command", task_id: taskId, command, args }, false);
  }

  /**
   * Answers an open question of a task. The first answer wins: a later one fails with
   * `already_answered`. After a break it is not sent again: it fails with
   * `connection_lost`, and the task's state says whether it was taken.
   */
  answer(taskId: string, inputId: string, value: unknown): Promise<Ack> {
    return this.#request({ type: "answer", task_id: taskId, input_id: inputId, value }, false);
  }

  /**
   * Sends a newer token on the existing connection. Fails if the server does not accept it. Without
   * a connection it does nothing, because the next connection gets its own token.
   */
  async authenticate(token?: string): Promise<void> {
    const newer = token ?? (await this.#link.freshToken());
    if (!this.#link.isOpen) return;
    this.#link.held = newer;
    const ref = ++this.#ref;
    const answer = this.#requests.add(ref, { type: "authenticate", token: newer }, false);
    // The server does not answer a valid token, so wait for the answer to the next message.
    this.#link.send({ type: "ping", ref });
    await answer;
  }

  /**
   * Uses another token from now on. A client that waits for a token, or was refused, connects. A
   * connected client renews its token on the existing connection.
   */
  setToken(token: Token | null | undefined): void {
    const changed = token !== this.#options.token;
    this.#options.token = token;
    this.#link.setToken(token);
    if (changed && this.#link.isOpen && typeof token === "string") this.authenticate(token).catch(() => {});
  }

  /** Sends a request to a path of the server, such as `/api/tasks`, with the token. */
  fetch(path: string, init?: RequestInit & { headers?: Record<string, string> }): Promise<Response> {
    return this.#link.fetch(path, init);
  }

  /**
   * Returns the events of a task as they arrive, until `signal` aborts. Offsets that are not
   * delivered are passed to `onGap`, resets of the position to `onReset`.
   */
  events(taskId: string, options?: EventsOptions): AsyncGenerator<TidingsEvent, void, void> {
    return eventsOf(this, taskId, options);
  }

  /** Reconnects at once. */
  reconnect(): void {
    this.#assertOpen();
    this.#link.reconnect();
  }

  /** Closes the client for good. No callback is called after this, and pending requests fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#linger);
    this.#lost();
    for (const channel of this.#channels.values()) for (const cursor of channel.cursors) cursor.closed = true;
    this.#channels.clear();
    this.#patterns.clear();
    this.#requests.close();
    this.#link.stop({ ...this.#link.status, state: "closed", reason: "closed by the page", retryAt: null, transport: null });
    this.#listeners.clear();
  }

  #assertOpen(): void {
    if (this.#closed) throw new TidingsError("closed", "the client was closed");
  }

  #request(message: object, repeatable: boolean): Promise<Ack> {
    if (this.#closed) return Promise.reject(new TidingsError("closed", "the client was closed"));
    const answer = this.#requests.add(++this.#ref, message, repeatable);
    this.#settle();
    return answer;
  }

  #listen({ onStatus }: TaskHandlers): () => void {
    if (!onStatus) return () => {};
    // Wrap the callback, because the same function may be passed to two watches.
    let stopped = false;
    let told: Status | null = null;
    const listener = (status: Status) => {
      if (stopped || status === told) return;
      told = status;
      guarded(onStatus, status);
    };
    const stop = this.onStatus(listener);
    queueMicrotask(() => listener(this.status));
    return () => {
      stopped = true;
      stop();
    };
  }

  #channel(taskId: string): Channel {
    let channel = this.#channels.get(taskId);
    if (!channel) {
      channel = new Channel(taskId, (ask) => this.#subscribe(taskId, ask));
      this.#channels.set(taskId, channel);
    }
    return channel;
  }

  #subscribe(taskId: string, ask: Ask): number | null {
    const ref = ++this.#ref;
    return this.#link.send({ type: "subscribe", task_id: taskId, ref, ...ask }) ? ref : null;
  }

  #askPattern(entry: PatternEntry): void {
    const ref = ++this.#ref;
    entry.ref = this.#link.send({ type: "subscribe", pattern: entry.pattern, ref }) ? ref : null;
  }

  /** Adds a task that matches a pattern to the pattern's watch. */
  #match(entry: PatternEntry, channel: Channel): void {
    if (entry.cursors.has(channel.taskId) || !channel.taskId.startsWith(entry.pattern.slice(0, -1))) return;
    const cursor = new Cursor(entry.handlers, false, 0, null);
    entry.cursors.set(channel.taskId, cursor);
    channel.add(cursor);
  }

  #remove(channel: Channel, cursor: Cursor): void {
    cursor.closed = true;
    channel.cursors.delete(cursor);
    if (channel.byName && !channel.isNamed) {
      channel.byName = false;
      this.#link.send({ type: "unsubscribe", task_id: channel.taskId, ref: ++this.#ref });
    }
    if (channel.cursors.size === 0) this.#channels.delete(channel.taskId);
  }

  #forget(entry: PatternEntry, taskId: string): void {
    const cursor = entry.cursors.get(taskId);
    const channel = this.#channels.get(taskId);
    entry.cursors.delete(taskId);
    if (cursor && channel) this.#remove(channel, cursor);
  }

  /** Connects if something is watched. Otherwise closes the connection after a moment. */
  #settle(): void {
    clearTimeout(this.#linger);
    if (this.#closed) return;
    const needed = this.#channels.size + this.#patterns.size + this.#requests.size > 0;
    if (needed) {
      // A connection that was closed for good stays closed until the application reconnects.
      if (this.status.state !== "closed") this.#link.start();
    } else {
      this.#linger = setTimeout(() => this.#link.stop(), this.#options.linger ?? 500);
    }
  }

  #status(status: Status): void {
    for (const listener of [...this.#listeners]) guarded(listener, status);
  }

  #established(): void {
    // Subscribe by name first, so that a pattern does not announce these tasks again.
    for (const channel of this.#channels.values()) if (channel.isNamed) channel.ask();
    const asked = new Set<string>();
    for (const entry of this.#patterns) {
      if (asked.has(entry.pattern)) continue;
      asked.add(entry.pattern);
      // The server resumes the patterns of a client with an id by itself. Unsubscribe, so that it
      // announces them again.
      if (this.#options.clientId) this.#link.send({ type: "unsubscribe", pattern: entry.pattern });
      this.#askPattern(entry);
    }
    this.#requests.flush();
  }

  #lost(): void {
    for (const retry of this.#retries) clearTimeout(retry);
    this.#retries.clear();
    for (const channel of this.#channels.values()) channel.lost();
    for (const entry of this.#patterns) entry.ref = null;
    this.#requests.lost();
  }

  #received(message: ServerMessage): void {
    if ("offset" in message) return this.#channels.get(message.task_id)?.event(message as TidingsEvent);
    const { event_type, data } = message;
    const task_id = "task_id" in message ? message.task_id : undefined;
    switch (event_type) {
      case "subscribed":
        for (const entry of this.#patterns) if (entry.ref === (data as Subscribed).ref) entry.refusals = 0;
        if (task_id && (data as Subscribed).snapshot) this.#subscribed(task_id, data as Subscribed);
        break;
      case "gap":
        if (task_id) this.#channels.get(task_id)?.gap(data as Gap);
        break;
      case "reset":
        if (task_id) this.#channels.get(task_id)?.reset(data as Reset);
        break;
      case "heartbeat":
        for (const [taskId, head] of Object.entries((data as Heartbeat).heads)) {
          this.#channels.get(taskId)?.heartbeat(head as number);
        }
        break;
      case "unsubscribed": {
        const { reason, task_id: taskId } = data as Unsubscribed;
        const channel = taskId && this.#channels.get(taskId);
        if (!channel || reason === "asked") break;
        if (reason === "forbidden") channel.ended(new TidingsError("forbidden", "the token does not allow this task any more"));
        // The pattern waits for the next task with this id.
        else channel.lost();
        break;
      }
      case "ack":
      case "pong":
        this.#requests.taken(data as Ack);
        break;
      case "error":
        this.#refused(data as { ref?: unknown; code: TidingsError["code"]; message: string });
        break;
      case "personal_message":
        guarded(this.#options.onPersonalMessage, data as PersonalMessage);
    }
  }

  #subscribed(taskId: string, data: Subscribed): void {
    if (data.ref == null && data.pattern == null) {
      // With offset 0 the message names the epoch of a task that another node has begun.
      // Otherwise it concerns a subscription that the server resumed by itself.
      if (data.offset === 0) this.#channels.get(taskId)?.subscribed(data);
      return;
    }
    const matching = [...this.#patterns].filter(({ pattern }) => taskId.startsWith(pattern.slice(0, -1)));
    if (!this.#channels.has(taskId) && matching.length === 0) return;
    const channel = this.#channel(taskId);
    for (const entry of matching) this.#match(entry, channel);
    channel.subscribed(data);
  }

  #refused({ ref, code, message }: { ref?: unknown; code: TidingsError["code"]; message: string }): void {
    if (ref == null) return;
    const error = new TidingsError(code, message);
    for (const channel of this.#channels.values()) {
      if (channel.ref !== ref) continue;
      channel.ref = null;
      channel.byName = false;
      this.#later(error, channel.refusals++, () => channel.isNamed && !channel.byName && channel.ask());
      for (const { named, handlers } of [...channel.cursors]) if (named) guarded(handlers.onError, error);
      return;
    }
    for (const entry of this.#patterns) {
      if (entry.ref !== ref) continue;
      this.#later(error, entry.refusals++, () => this.#patterns.has(entry) && this.#askPattern(entry));
      return guarded(entry.handlers.onError, error);
    }
    this.#requests.refused(ref, code, message);
  }

  /** Repeats a request that was refused temporarily, on the existing connection. */
  #later({ temporary }: TidingsError, refusals: number, ask: () => void): void {
    if (!temporary) return;
    const retry = setTimeout(() => {
      this.#retries.delete(retry);
      ask();
    }, backoff(refusals, this.#options.random ?? Math.random));
    this.#retries.add(retry);
  }
}

/** Returns 128 random bits. `randomUUID` exists only in secure contexts. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
