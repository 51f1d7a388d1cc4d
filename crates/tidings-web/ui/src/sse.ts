import type { ClientMessage } from "./generated/protocol.js";
import type { SocketLike } from "./options.js";

type Message = ClientMessage & { ref?: unknown; task_id?: string | null; pattern?: string | null; tree?: string | boolean | null; since?: unknown; history?: number };

/** The close code for a token that is missing, invalid or expired. */
const UNAUTHENTICATED = 4401;

/** The most tasks on one stream, as on the server. */
const MAX_TASKS = 64;

/** The most streams of patterns and trees. Over HTTP/1.1 a browser has six connections to a server. */
const MAX_GROUPS = 3;

/** Sends a request to a path of the server. */
type Request = (path: string, init?: RequestInit & { headers?: Record<string, string> }) => Promise<Response>;

/** The heartbeat interval that this socket reports, in milliseconds. Streams have heartbeats as well. */
const HEARTBEAT_INTERVAL = 25_000;

/** A subscription. */
interface Target {
  /** The `ref` of the subscription, until it is answered. */
  ref: unknown;
  /** The position to continue from, unless the last `id:` has a newer one. */
  since: string | null;
  history: number;
  /** Whether the newest stream has not announced it yet. */
  due: boolean;
  /** Earlier events are not wanted, although the stream has them because another task wants history. */
  after: number;
}

/**
 * An object with the interface of a WebSocket that is built on server-sent events and HTTP requests.
 * All tasks share one stream, which is opened again with their positions whenever a task is added.
 * A pattern or a tree has a stream of its own, because it has no position: opened again, it would
 * start over.
 *
 * The streams are read with `fetch`. An `EventSource` could send a token only in its URL.
 */
export class SseSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly #request: Request;
  /** The tasks that were subscribed to by name. */
  readonly #tasks = new Map<string, Target>();
  /** The open streams: that of all tasks under "", and those of groups under their names. */
  readonly #streams = new Map<string, AbortController>();
  /** The last `id:` of the stream of all tasks. */
  #last = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(request: Request) {
    this.#request = request;
    request("/healthz").then(
      ({ ok }) =>
        ok
          ? this.#control("connection_established", {
              client_id: "sse",
              protocol: "tidings.v1",
              resume_token: "",
              heartbeat_interval_ms: HEARTBEAT_INTERVAL,
            })
          : this.#break("the server is not well"),
      () => this.#break("the server cannot be reached"),
    );
  }

  send(text: string): void {
    const message = JSON.parse(text) as Message;
    const { ref } = message;
    const task = `/api/tasks/${encodeURIComponent(message.task_id ?? "")}`;
    const group = groupOf(message);
    switch (message.type) {
      case "ping":
        this.#request("/healthz").then(
          () => this.#control("pong", { ref }),
          () => this.#break("the server cannot be reached"),
        );
        break;
      case "subscribe":
        if (group) this.#watchGroup(group, message);
        else this.#watchTask(message.task_id!, message);
        break;
      case "unsubscribe":
        if (group) this.#end(group);
        else if (this.#tasks.delete(message.task_id!)) this.#soon();
        break;
      case "publish": {
        const { type: _type, ref: _ref, task_id: _task, ...event } = message;
        void this.#post(`${task}/events`, event, ref, message.task_id);
        break;
      }
      case "answer":
        void this.#post(`${task}/inputs/${encodeURIComponent(message.input_id!)}`, { value: message.value }, ref, message.task_id);
        break;
      case "command":
        void this.#post(`${task}/commands`, { command: message.command, args: message.args, tree: message.tree }, ref, message.task_id);
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const name of [...this.#streams.keys()]) this.#end(name);
  }

  #watchTask(id: string, { ref, since, history = 0 }: Message): void {
    if (this.#tasks.size >= MAX_TASKS && !this.#tasks.has(id)) return this.#full(ref, `${MAX_TASKS} tasks`);
    this.#soon();
    this.#tasks.set(id, { ref, since: since == null ? null : String(since), history, due: true, after: 0 });
  }

  #watchGroup(name: string, { ref, history = 0 }: Message): void {
    const groups = this.#streams.size - Number(this.#streams.has(""));
    if (groups >= MAX_GROUPS && !this.#streams.has(name)) return this.#full(ref, `${MAX_GROUPS} patterns and trees`);
    const target = { ref, since: null, history, due: true, after: 0 };
    void this.#stream(name, new URLSearchParams(name), new Map([[name, target]]));
  }

  #full(ref: unknown, most: string): void {
    const message = `without WebSocket a page can watch ${most} at a time`;
    // An answer must not arrive before the request returns.
    queueMicrotask(() => this.#control("error", { ref, code: "unavailable", message }));
  }

  /** Opens the stream of all tasks again, once for all changes of this moment. */
  #soon(): void {
    this.#settle();
    this.#end("");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#tasks.size === 0) return;
      const all = [...this.#tasks];
      const query = new URLSearchParams(all.map(([id]) => ["task", id]));
      const places = all.filter(([, { since }]) => since !== null);
      if (places.length > 0) query.set("since", places.map(([id, { since }]) => `${id}@${since}`).join());
      for (const [, target] of all) target.due = true;
      void this.#stream("", query, this.#tasks);
    });
  }

  /** Takes the positions of all tasks from the last `id:`, such as `a@e1:7,b@9`. An epoch that is left out is the one before it. */
  #settle(): void {
    let epoch = "";
    for (const item of this.#last.split(",")) {
      const [id = "", place = ""] = item.split("@");
      const [first, offset = first] = place.split(":");
      if (place.includes(":")) epoch = first!;
      const target = this.#tasks.get(id);
      if (target) target.since = `${epoch}:${offset}`;
    }
    this.#last = "";
  }

  async #post(path: string, body: object, ref: unknown, taskId: unknown): Promise<void> {
    try {
      const response = await this.#request(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
      if (!response.ok) return await this.#refused(response, ref);
      const { epoch, offset, duplicate = false, tasks } = await response.json();
      if (tasks) this.#control("commanded", { ref, tasks }, taskId);
      else this.#control("ack", { ref, epoch, offset, duplicate }, taskId);
    } catch {
      this.#break("a request did not get through");
    }
  }

  async #stream(name: string, query: URLSearchParams, targets: Map<string, Target>): Promise<void> {
    this.#end(name);
    const controller = new AbortController();
    this.#streams.set(name, controller);
    const history = Math.max(...[...targets.values()].map(({ since, history }) => (since === null ? history : 0)));
    if (history > 0) query.set("history", String(history));
    const { signal } = controller;
    try {
      const response = await this.#request(`/api/events?${query}`, { signal, headers: { accept: "text/event-stream" } });
      if (!response.ok || !response.body) {
        for (const [id, { ref }] of [...targets]) {
          // It is refused now, and was there before.
          if (ref == null) return this.#break("a stream was refused");
          targets.delete(id);
          await this.#refused(response.clone(), ref);
        }
        return this.#end(name);
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      let id = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop()!;
        // Every message is one line of data, with its id before it. Comments and `retry` are meant
        // for an EventSource.
        for (const line of lines) {
          if (signal.aborted) break;
          if (line.startsWith("id: ")) id = line.slice(4);
          if (!line.startsWith("data: ")) continue;
          this.#pass(name, targets, line.slice(6));
          if (id && name === "") this.#last = id;
          id = "";
        }
      }
    } catch {
      // The stream broke. It is handled like the end of the stream.
    }
    if (!signal.aborted) this.#break("a stream broke off");
  }

  /** Passes a message on. The server's answers get the `ref` of the request. */
  #pass(name: string, targets: Map<string, Target>, text: string): void {
    const message = JSON.parse(text);
    const { event_type, data, offset } = message;
    const target = targets.get(name || (message.task_id ?? ""));
    if (event_type === "connection_established") return;
    if (name === "") {
      // The client may have unsubscribed.
      if (!target && message.task_id) return;
      if (event_type === "reset") target!.after = 0;
      if (offset <= (target?.after ?? 0)) return;
    }
    if (!target?.due || !/^(un)?subscribed$/.test(event_type) || (name && data.snapshot)) return this.#emit(text);
    const { ref } = target;
    target.due = false;
    target.ref = null;
    if (event_type === "unsubscribed") {
      targets.delete(message.task_id);
      if (ref != null) return this.#control("error", { ref, code: "forbidden", message: "the token does not allow to watch this" });
    } else if (!name && target.since === null) {
      target.after = data.offset - target.history;
      if (target.history === 0) target.since = `${data.epoch}:${data.offset}`;
    }
    // Announced again, it goes on as it was.
    if (ref != null) this.#emit(JSON.stringify({ ...message, data: { ...data, ref } }));
    else if (event_type === "unsubscribed") this.#emit(text);
  }

  /** Converts a problem (RFC 9457) to the protocol's error message. */
  async #refused(response: Response, ref: unknown): Promise<void> {
    const { code = "unavailable", detail = `HTTP status ${response.status}` } = await response.json().catch(() => ({}));
    if (response.status === 401) this.#break(detail, UNAUTHENTICATED);
    else this.#control("error", { ref, code, message: detail });
  }

  #end(name: string): void {
    this.#streams.get(name)?.abort();
    this.#streams.delete(name);
  }

  #control(event_type: string, data: object, task_id?: unknown): void {
    this.#emit(JSON.stringify({ event_type, task_id, timestamp: new Date().toISOString(), data }));
  }

  #emit(data: string): void {
    if (!this.#closed) this.onmessage?.({ data });
  }

  #break(reason: string, code = 1006): void {
    if (this.#closed) return;
    this.close();
    this.onclose?.({ code, reason });
  }
}

/** Returns the parameter that names the pattern or the tree of a message. */
function groupOf({ pattern, tree }: Message): string {
  if (pattern) return `pattern=${encodeURIComponent(pattern)}`;
  return typeof tree === "string" ? `tree=${encodeURIComponent(tree)}` : "";
}
