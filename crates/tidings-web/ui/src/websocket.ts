import { backoff } from "./backoff.js";
import { Channel, type Ask } from "./channel.js";
import { Cursor, type Position } from "./cursor.js";
import { guarded, TidingsError } from "./error.js";
import { eventsOf, type EventsOptions } from "./events.js";
import type {
  Ack,
  Commanded,
  Gap,
  Heartbeat,
  Permission,
  PersonalMessage,
  ServerMessage,
  Subscribed,
  TaskCommanded,
  TaskSnapshot,
  Reset,
  Unsubscribed,
} from "./generated/protocol.js";
import { Link } from "./link.js";
import type { NewTidingsEvent, TidingsEvent } from "./types.js";
import type { ClientOptions, TaskHandlers, Token, WatchOptions } from "./options.js";
import { Requests } from "./requests.js";
import { IDLE, type Status } from "./status.js";

/** A watched task. */
export interface TaskWatch {
  readonly taskId: string;
  /** The task's state after the last event, or null before it is known. */
  readonly task: TaskSnapshot | null;
  /** The position in the log. To continue elsewhere, pass it as `since: "epoch:offset"`. */
  readonly position: Position | null;
  /** What this client may do with the task, or null if nothing is forbidden. */
  readonly permissions: readonly Permission[] | null;
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
  /** Forgets a task that the server no longer has. */
  forget(taskId: string): void;
  close(): void;
}

/** A task and all tasks below it. */
export interface TreeWatch {
  /** The topmost task. */
  readonly taskId: string;
  /** The ids of the tasks that have appeared. */
  taskIds(): Iterable<string>;
  /** A task's state after the last event, or null if the task has not appeared. */
  task(taskId: string): TaskSnapshot | null;
  /** Forgets a task that the server no longer has. */
  forget(taskId: string): void;
  close(): void;
}

interface GroupEntry {
  /** A pattern, or the topmost task of a tree. Only a pattern ends with `*`. */
  readonly key: string;
  readonly handlers: TaskHandlers;
  readonly cursors: Map<string, Cursor>;
  ref: number | null;
  /** The number of refusals in a row. */
  refusals: number;
}

/** The field of a request that names the group. */
function target(key: string): object {
  return key.endsWith("*") ? { pattern: key } : { tree: key };
}

/** Whether the task belongs to the group by its id alone. */
function holds(key: string, taskId: string): boolean {
  return key.endsWith("*") ? taskId.startsWith(key.slice(0, -1)) : taskId === key;
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
  readonly #groups = new Set<GroupEntry>();
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
    const cursor = new Cursor(taskId, options, true, since === null ? (options.history ?? 0) : 0, since);
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
      get permissions() {
        return channel.permissions;
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
    return { pattern, ...this.#watchMany(pattern, handlers) };
  }

  /**
   * Watches a task and all tasks below it, including tasks that start later. A task below it that
   * the token does not allow to watch is left out.
   */
  watchTree(taskId: string, handlers: TaskHandlers = {}): TreeWatch {
    return { taskId, ...this.#watchMany(taskId, handlers) };
  }

  #watchMany(key: string, handlers: TaskHandlers): Omit<PatternWatch, "pattern"> {
    this.#assertOpen();
    const entry: GroupEntry = { key, handlers, cursors: new Map(), ref: null, refusals: 0 };
    const same = this.#group(key);
    this.#groups.add(entry);
    for (const channel of this.#channels.values()) {
      // The server does not announce again what it has announced.
      if (same?.cursors.has(channel.taskId) || holds(key, channel.taskId)) this.#match(entry, channel);
    }
    if (!same) this.#askGroup(entry);
    const unlisten = this.#listen(handlers);
    this.#settle();
    const channels = this.#channels;
    return {
      taskIds: () => entry.cursors.keys(),
      task: (taskId) => (entry.cursors.has(taskId) ? (channels.get(taskId)?.state ?? null) : null),
      forget: (taskId) => void this.#forget(entry, taskId),
      close: () => {
        if (!this.#groups.delete(entry)) return;
        unlisten();
        for (const taskId of [...entry.cursors.keys()]) this.#forget(entry, taskId);
        if (!this.#group(key)) this.#link.send({ type: "unsubscribe", ...target(key), ref: ++this.#ref });
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
   * Sends a command to a task and all tasks below it, the deepest first. The answer says for each
   * task whether it was asked. A task below it that has ended is not asked. After a break the
   * command is not sent again, and fails with `connection_lost`.
   */
  async commandTree(taskId: string, command: string, args?: Record<string, unknown>): Promise<TaskCommanded[]> {
    const message = { type: "command", task_id: taskId, command, args, tree: true };
    const answer = (await this.#request(message, false)) as unknown as Commanded;
    return answer.tasks;
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
    this.#groups.clear();
    this.#requests.close();
    this.#link.stop({ ...IDLE, state: "closed", reason: "the client was closed" });
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

  /** Returns a task to which events arrive on this connection. */
  #live(taskId: string | null | undefined): Channel | null {
    const channel = this.#channels.get(taskId!);
    return channel?.live ? channel : null;
  }

  #subscribe(taskId: string, ask: Ask): number | null {
    const ref = ++this.#ref;
    return this.#link.send({ type: "subscribe", task_id: taskId, ref, ...ask }) ? ref : null;
  }

  #group(key: string): GroupEntry | undefined {
    return [...this.#groups].find((entry) => entry.key === key);
  }

  #askGroup(entry: GroupEntry): void {
    const ref = ++this.#ref;
    entry.ref = this.#link.send({ type: "subscribe", ...target(entry.key), ref }) ? ref : null;
  }

  /** Adds a task that belongs to a group to the group's watch. */
  #match(entry: GroupEntry, channel: Channel): void {
    if (entry.cursors.has(channel.taskId)) return;
    const cursor = new Cursor(channel.taskId, entry.handlers, false, 0, null);
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

  #forget({ cursors }: GroupEntry, taskId: string): boolean {
    const cursor = cursors.get(taskId);
    const channel = this.#channels.get(taskId);
    if (cursor && channel) this.#remove(channel, cursor);
    return cursors.delete(taskId);
  }

  /** Connects if something is watched. Otherwise closes the connection after a moment. */
  #settle(): void {
    clearTimeout(this.#linger);
    if (this.#closed) return;
    const needed = this.#channels.size + this.#groups.size + this.#requests.size > 0;
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
    // Subscribe by name first, so that a group does not announce these tasks again.
    for (const channel of this.#channels.values()) if (channel.isNamed) channel.ask();
    for (const entry of this.#groups) {
      if (entry !== this.#group(entry.key)) continue;
      // The server resumes the groups of a client with an id by itself. Unsubscribe, so that it
      // announces them again.
      if (this.#options.clientId) this.#link.send({ type: "unsubscribe", ...target(entry.key) });
      this.#askGroup(entry);
    }
    this.#requests.flush();
  }

  #lost(): void {
    for (const retry of this.#retries) clearTimeout(retry);
    this.#retries.clear();
    for (const channel of this.#channels.values()) channel.lost();
    for (const entry of this.#groups) entry.ref = null;
    this.#requests.lost();
  }

  #received(message: ServerMessage): void {
    if ("offset" in message) return this.#live(message.task_id)?.event(message as TidingsEvent);
    const { event_type, data } = message;
    const task_id = "task_id" in message ? message.task_id : undefined;
    switch (event_type) {
      case "subscribed":
        for (const entry of this.#groups) if (entry.ref === (data as Subscribed).ref) entry.refusals = 0;
        if (task_id && (data as Subscribed).snapshot) this.#subscribed(task_id, data as Subscribed);
        else if (task_id) this.#joins(task_id, data as Subscribed);
        break;
      case "gap":
        this.#live(task_id)?.gap(data as Gap);
        break;
      case "reset":
        this.#live(task_id)?.reset(data as Reset);
        break;
      case "heartbeat":
        for (const [taskId, head] of Object.entries((data as Heartbeat).heads)) {
          this.#live(taskId)?.heartbeat(head as number);
        }
        break;
      case "unsubscribed": {
        const { reason, task_id: taskId } = data as Unsubscribed;
        const channel = taskId && this.#channels.get(taskId);
        if (!channel || reason === "asked") break;
        channel.lost();
        for (const { named, handlers } of [...channel.cursors]) {
          if (named && reason === "forbidden") guarded(handlers.onError, new TidingsError("forbidden", "the token no longer allows this task"));
        }
        // A group waits for the next task with this id.
        for (const entry of this.#groups) if (this.#forget(entry, taskId)) guarded(entry.handlers.onRemoved, taskId);
        break;
      }
      case "ack":
      case "commanded":
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
    if (data.ref == null && data.pattern == null && data.tree == null) {
      // With offset 0 the message names the epoch of a task that another node has begun.
      // Otherwise it concerns a subscription that the server resumed by itself.
      if (data.offset === 0) this.#channels.get(taskId)?.subscribed(data);
      return;
    }
    const matching = [...this.#groups].filter(({ key }) => key === data.tree || holds(key, taskId));
    if (!this.#channels.has(taskId) && matching.length === 0) return;
    const channel = this.#channel(taskId);
    for (const entry of matching) this.#match(entry, channel);
    channel.subscribed(data);
  }

  /** A task that is watched already belongs to a tree as well. */
  #joins(taskId: string, { tree }: Subscribed): void {
    const channel = this.#channels.get(taskId);
    if (!channel) return;
    for (const entry of this.#groups) if (entry.key === tree) this.#match(entry, channel);
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
    for (const entry of this.#groups) {
      if (entry.ref !== ref) continue;
      this.#later(error, entry.refusals++, () => this.#groups.has(entry) && this.#askGroup(entry));
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
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
