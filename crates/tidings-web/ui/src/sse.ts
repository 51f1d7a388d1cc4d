import type { ClientMessage } from "./generated/protocol.js";
import type { ClientOptions, SocketLike } from "./options.js";

type Message = ClientMessage & { ref?: unknown; task_id?: string | null };

/**
 * Looks like a WebSocket that speaks the protocol, and is made of server-sent
 * events, a stream for each task, and requests. Patterns have no stream: they
 * are refused with `unavailable`.
 */
export class SseSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly #options: ClientOptions;
  readonly #streams = new Map<string, EventSource>();
  #token: string | null;
  #closed = false;

  static isPossible(options: ClientOptions): boolean {
    return Boolean(options.EventSource ?? globalThis.EventSource);
  }

  constructor(options: ClientOptions, token: string | null) {
    this.#options = options;
    this.#token = token;
    this.#request("/healthz").then(
      ({ ok }) =>
        ok
          ? this.#control("connection_established", {
              client_id: "sse",
              protocol: "tidings.v1",
              resume_token: "",
              heartbeat_interval_ms: 25_000,
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
          () => this.#control("pong", {}),
          () => this.#break("the server cannot be reached"),
        );
        break;
      case "subscribe": {
        if (message.pattern) {
          const message = "patterns need WebSocket, which does not get through";
          // An answer never comes before the request's end.
          queueMicrotask(() => this.#control("error", { ref, code: "unavailable", message }));
        } else if (message.task_id) {
          this.#stream(message.task_id, `${task}/events`, message);
        }
        break;
      }
      case "unsubscribe":
        this.#end(message.task_id ?? "");
        break;
      case "publish": {
        const { type: _type, ref: _ref, task_id: _task, ...event } = message;
        this.#post(`${task}/events`, event, ref, message.task_id);
        break;
      }
      case "command":
        this.#post(`${task}/commands`, { command: message.command, args: message.args }, ref, message.task_id);
        break;
      case "authenticate":
        this.#token = message.token;
    }
  }

  close(): void {
    this.#closed = true;
    for (const id of [...this.#streams.keys()]) this.#end(id);
  }

  #url(path: string): URL {
    return new URL(path, this.#options.url ?? globalThis.location?.href);
  }

  #request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    const request = this.#options.fetch ?? globalThis.fetch;
    return request(this.#url(path), { ...init, headers, cache: "no-store" });
  }

  #post(path: string, body: object, ref: unknown, taskId: unknown): void {
    this.#request(path, { method: "POST", body: JSON.stringify(body) }).then(
      async (response) => {
        const answer = await response.json().catch(() => ({}));
        if (response.ok) {
          this.#control("ack", { ref, epoch: answer.epoch, offset: answer.offset, duplicate: answer.duplicate ?? false }, taskId);
        } else {
          const message = answer.detail ?? `HTTP status ${response.status}`;
          this.#control("error", { ref, code: answer.code ?? "unavailable", message });
        }
      },
      () => this.#break("a request did not get through"),
    );
  }

  #stream(taskId: string, path: string, { ref, since, history }: Message & { since?: unknown; history?: unknown }): void {
    this.#end(taskId);
    const url = this.#url(path);
    if (since != null) url.searchParams.set("since", String(since));
    if (history != null) url.searchParams.set("history", String(history));
    if (this.#token) url.searchParams.set("token", this.#token);
    const Source = this.#options.EventSource ?? globalThis.EventSource;
    const stream = new Source(url.href);
    this.#streams.set(taskId, stream);
    stream.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.event_type !== "connection_established") return this.#emit(data);
      const { epoch, offset, recovered, snapshot } = message.data;
      this.#control("subscribed", { ref, task_id: taskId, epoch, offset, recovered, snapshot }, taskId);
    };
    // It would come back by itself, but when and where from is for the link to say.
    stream.onerror = () => this.#break("a stream broke off");
  }

  #end(taskId: string): void {
    this.#streams.get(taskId)?.close();
    this.#streams.delete(taskId);
  }

  #control(event_type: string, data: object, task_id?: unknown): void {
    this.#emit(JSON.stringify({ event_type, task_id, timestamp: new Date().toISOString(), data }));
  }

  #emit(data: string): void {
    if (!this.#closed) this.onmessage?.({ data });
  }

  #break(reason: string): void {
    if (this.#closed) return;
    this.close();
    this.onclose?.({ code: 1006, reason });
  }
}
