import type { ClientMessage } from "./generated/protocol.js";
import type { SocketLike } from "./options.js";

type Message = ClientMessage & { ref?: unknown; task_id?: string | null };

/** The close code for a token that is missing, invalid or expired. */
const UNAUTHENTICATED = 4401;

/** The most open streams. Over HTTP/1.1 a browser has six connections to a server. */
const MAX_STREAMS = 4;

/** Sends a request to a path of the server. */
type Request = (path: string, init?: RequestInit & { headers?: Record<string, string> }) => Promise<Response>;

/** The heartbeat interval that this socket reports, in milliseconds. Streams have heartbeats as well. */
const HEARTBEAT_INTERVAL = 25_000;

/**
 * An object with the interface of a WebSocket that is built on server-sent events, one stream for
 * each task, and HTTP requests. There are no streams for patterns, so these are refused with
 * `unavailable`.
 *
 * The streams are read with `fetch`. An `EventSource` could send a token only in its URL.
 */
export class SseSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly #request: Request;
  readonly #streams = new Map<string, AbortController>();
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
    switch (message.type) {
      case "ping":
        this.#request("/healthz").then(
          () => this.#control("pong", { ref }),
          () => this.#break("the server cannot be reached"),
        );
        break;
      case "subscribe": {
        if (message.pattern) {
          const reason = "patterns need WebSocket, which does not get through";
          // An answer must not arrive before the request returns.
          queueMicrotask(() => this.#control("error", { ref, code: "unavailable", message: reason }));
        } else if (this.#streams.size >= MAX_STREAMS && !this.#streams.has(message.task_id!)) {
          const reason = `without WebSocket a page can watch ${MAX_STREAMS} tasks at a time`;
          queueMicrotask(() => this.#control("error", { ref, code: "unavailable", message: reason }));
        } else if (message.task_id) {
          void this.#stream(message.task_id, `${task}/events`, message);
        }
        break;
      }
      case "unsubscribe":
        this.#end(message.task_id ?? "");
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
        void this.#post(`${task}/commands`, { command: message.command, args: message.args }, ref, message.task_id);
    }
  }

  close(): void {
    this.#closed = true;
    for (const id of [...this.#streams.keys()]) this.#end(id);
  }

  async #post(path: string, body: object, ref: unknown, taskId: unknown): Promise<void> {
    try {
      const response = await this.#request(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
      if (!response.ok) return await this.#refused(response, ref);
      const { epoch, offset, duplicate = false } = await response.json();
      this.#control("ack", { ref, epoch, offset, duplicate }, taskId);
    } catch {
      this.#break("a request did not get through");
    }
  }

  async #stream(taskId: string, path: string, { ref, since, history }: Message & { since?: unknown; history?: unknown }): Promise<void> {
    this.#end(taskId);
    const controller = new AbortController();
    this.#streams.set(taskId, controller);
    const query = new URLSearchParams();
    if (since != null) query.set("since", String(since));
    if (history != null) query.set("history", String(history));
    const { signal } = controller;
    try {
      const response = await this.#request(`${path}?${query}`, { signal, headers: { accept: "text/event-stream" } });
      if (!response.ok || !response.body) return await this.#refused(response, ref);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop()!;
        // Every message is one line of data. Ids, comments and `retry` are meant for an
        // EventSource.
        for (const line of lines) if (line.startsWith("data: ") && !signal.aborted) this.#pass(taskId, ref, line.slice(6));
      }
    } catch {
      // The stream broke. It is handled like the end of the stream.
    }
    if (!signal.aborted) this.#break("a stream broke off");
  }

  #pass(taskId: string, ref: unknown, text: string): void {
    const message = JSON.parse(text);
    if (message.event_type !== "connection_established") return this.#emit(text);
    const { epoch, offset, recovered, snapshot } = message.data;
    this.#control("subscribed", { ref, task_id: taskId, epoch, offset, recovered, snapshot }, taskId);
  }

  /** Converts a problem (RFC 9457) to the protocol's error message. */
  async #refused(response: Response, ref: unknown): Promise<void> {
    const { code = "unavailable", detail = `HTTP status ${response.status}` } = await response.json().catch(() => ({}));
    if (response.status === 401) this.#break(detail, UNAUTHENTICATED);
    else this.#control("error", { ref, code, message: detail });
  }

  #end(taskId: string): void {
    this.#streams.get(taskId)?.abort();
    this.#streams.delete(taskId);
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
