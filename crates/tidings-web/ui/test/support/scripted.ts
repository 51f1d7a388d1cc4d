/** A socket that a test controls, and a client over such sockets. */

import { vi } from "vitest";
import type { TaskSnapshot } from "../../src/generated/protocol.js";
import type { ClientOptions, SocketLike } from "../../src/options.js";
import { TidingsClient } from "../../src/websocket.js";

export class ScriptedSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly sent: any[] = [];
  closed: { code: number | undefined } | null = null;
  /** Called for every message from the client, so that a script can answer. */
  answer: (message: any) => void = () => {};

  constructor(
    readonly url: URL,
    readonly protocols: string[],
  ) {}

  send(text: string): void {
    if (this.closed) throw new Error("sent on a closed socket");
    const message = JSON.parse(text);
    this.sent.push(message);
    this.answer(message);
  }

  close(code?: number): void {
    this.closed = { code };
  }

  /** Delivers a message from the server. */
  says(event_type: string, data: object, task_id?: string, offset?: number): void {
    this.onmessage?.({ data: JSON.stringify({ event_type, task_id, offset, timestamp: "2026-11-23T08:59:27.601Z", data }) });
  }

  welcome(heartbeat_interval_ms = 25_000): void {
    this.says("connection_established", { client_id: "c", protocol: "tidings.v1", resume_token: "t", heartbeat_interval_ms });
  }

  /** Delivers an event of a task. */
  event(offset: number, event_type = "log", data: object = { message: `line ${offset}` }, task_id = "t"): void {
    this.says(event_type, data, task_id, offset);
  }

  /** Answers the newest `subscribe` for a task. */
  subscribed(offset: number, { task = "t", epoch = "e1", recovered = true, permissions }: { task?: string; epoch?: string; recovered?: boolean; permissions?: string[] | undefined } = {}): void {
    const ref = this.subscribes(task).at(-1)?.ref;
    this.says("subscribed", { ref, task_id: task, epoch, offset, recovered, snapshot: snapshot(task, offset, epoch), permissions }, task);
  }

  /** Announces a task under a pattern. */
  announced(task: string, offset: number, { pattern = "*", epoch = "e1" } = {}): void {
    this.says("subscribed", { task_id: task, pattern, epoch, offset, recovered: true, snapshot: snapshot(task, offset, epoch) }, task);
  }

  /** Announces a task of a tree. */
  joins(task: string, tree: string, offset: number): void {
    const state = { epoch: "e1", offset, recovered: true, snapshot: snapshot(task, offset) };
    this.says("subscribed", { task_id: task, tree, ...state }, task);
  }

  subscribes(task = "t"): any[] {
    return this.sent.filter((message) => message.type === "subscribe" && message.task_id === task);
  }

  /** Breaks the connection, or closes it as the server. */
  breaks(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  goingAway(reconnect: string, reconnect_after_ms?: number, reason = "because"): void {
    this.says("going_away", { reason, reconnect, reconnect_after_ms });
  }
}

export function snapshot(task_id: string, offset: number, epoch = "e1"): TaskSnapshot {
  return {
    task_id,
    status: "running",
    run: 1,
    name: null,
    parent_task_id: null,
    progress: null,
    message: null,
    stage: null,
    started_at: null,
    updated_at: null,
    progress_at: null,
    finished_at: null,
    stalled: false,
    agents: [],
    steps: [],
    tool_calls: [],
    pending_inputs: [],
    pending_commands: [],
    outputs: [],
    artifacts: [],
    result: null,
    error: null,
    epoch,
    offset,
    truncated: false,
  };
}

/** Returns a client with scripted sockets. `random` is 1, so that pauses have their longest duration. */
export function scripted(options: ClientOptions = {}) {
  const sockets: ScriptedSocket[] = [];
  class Socket extends ScriptedSocket {
    constructor(url: string, protocols: string[]) {
      super(new URL(url), protocols);
      sockets.push(this);
    }
  }
  const client = new TidingsClient({ url: "http://server.test", WebSocket: Socket, fallback: false, random: () => 1, ...options });
  return {
    client,
    sockets,
    /** The newest socket. */
    get socket(): ScriptedSocket {
      return sockets.at(-1)!;
    },
    /** Advances time until there is one more socket than `before`. */
    async next(before = sockets.length): Promise<ScriptedSocket> {
      for (let waited = 0; sockets.length <= before; waited += 50) {
        if (waited > 120_000) throw new Error("no new socket within two minutes");
        await vi.advanceTimersByTimeAsync(50);
      }
      return sockets.at(-1)!;
    },
  };
}

/** Lets promises settle. */
export const settle = () => vi.advanceTimersByTimeAsync(0);
