/**
 * A server that follows the protocol, over a network that breaks. It has logs with retention and
 * epochs, slow delivery, cuts at any message, and restarts without memory. A seed decides
 * everything.
 */

import type { TaskSnapshot } from "../../src/generated/protocol.js";
import type { SocketLike } from "../../src/options.js";
import { reduce } from "../../src/reduce.js";
import type { TidingsEvent } from "../../src/types.js";
import { snapshot } from "./scripted.js";

/** A small generator of numbers from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns the event that stands for two, or null if they cannot be merged. */
function merged(one: TidingsEvent, two: TidingsEvent): TidingsEvent | null {
  const [before, after] = [one.data, two.data] as Record<string, string>[];
  const from = one.from ?? one.offset;
  if (one.event_type !== two.event_type) return null;
  if (one.event_type === "progress_update") return { ...two, from, data: { ...before, ...after } } as TidingsEvent;
  if (one.event_type !== "output_delta" || before!.output_id !== after!.output_id) return null;
  return { ...two, from, at: one.at, data: { ...after, text: before!.text! + after!.text! } } as TidingsEvent;
}

interface Log {
  epoch: string;
  head: number;
  /** The first retained offset. */
  first: number;
  /** What is retained. */
  events: Map<number, TidingsEvent>;
  state: TaskSnapshot;
}

/** The number of events that a log keeps. */
const RETAINED = 12;

export class SimulatedServer {
  readonly logs = new Map<string, Log>();
  readonly connections = new Set<SimulatedConnection>();
  #epochs = 0;

  constructor(readonly random: () => number) {}

  log(taskId: string): Log {
    let log = this.logs.get(taskId);
    if (!log) {
      const epoch = `e${++this.#epochs}`;
      log = { epoch, head: 0, first: 1, events: new Map(), state: snapshot(taskId, 0, epoch) };
      this.logs.set(taskId, log);
      for (const connection of this.connections) connection.appeared(taskId);
    }
    return log;
  }

  publish(taskId: string): void {
    const log = this.log(taskId);
    const offset = ++log.head;
    log.first = Math.max(log.first, offset - RETAINED + 1);
    const event = { ...this.#some(log), task_id: taskId, offset, timestamp: "2026-11-23T08:59:27.601Z" } as TidingsEvent;
    log.events.delete(log.first - 1);
    log.events.set(offset, event);
    log.state = reduce(log.state, event);
    for (const connection of this.connections) connection.advance(taskId);
  }

  /** Returns an event that usually changes the state. */
  #some({ state }: Log): object {
    const dice = this.random();
    if (dice < 0.2) return { event_type: "log", data: { message: "" } };
    if (dice < 0.5) return { event_type: "progress_update", data: { progress: Math.floor(this.random() * 101), ...(dice < 0.3 && { message: `at ${dice}` }) } };
    const output_id = dice < 0.8 ? "o" : "p";
    const at = state.outputs.find((output) => output.output_id === output_id)?.length ?? 0;
    return { event_type: "output_delta", at, data: { output_id, text: "wörd " } };
  }

  /** Loses the memory: every log starts over. */
  forget(): void {
    for (const connection of [...this.connections]) connection.cut();
    this.logs.clear();
  }
}

export class SimulatedConnection implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  /** The messages on their way to the client. */
  readonly #wire: string[] = [];
  /** The last offset that was sent for each subscription. */
  readonly #cursors = new Map<string, number>();
  readonly #patterns = new Set<string>();
  #open = true;

  constructor(private readonly server: SimulatedServer) {
    server.connections.add(this);
    this.#say("connection_established", { client_id: "c", protocol: "tidings.v1", resume_token: "t", heartbeat_interval_ms: 25_000 });
  }

  send(text: string): void {
    const message = JSON.parse(text);
    if (message.type === "ping") this.#say("pong", { ref: message.ref });
    if (message.type === "unsubscribe" && !this.#matching(message.task_id)) this.#cursors.delete(message.task_id);
    if (message.type !== "subscribe") return;
    if (message.pattern) {
      this.#patterns.add(message.pattern);
      this.#say("subscribed", { ref: message.ref, pattern: message.pattern });
      for (const taskId of this.server.logs.keys()) this.appeared(taskId);
    } else {
      this.#join(message);
    }
  }

  close(): void {
    this.#open = false;
    this.server.connections.delete(this);
  }

  /** Breaks the network. Messages on their way are lost. */
  cut(): void {
    this.close();
    this.onclose?.({ code: 1006, reason: "" });
  }

  /** Delivers some of the messages on their way. */
  deliver(count: number): void {
    for (const text of this.#wire.splice(0, count)) if (this.#open) this.onmessage?.({ data: text });
  }

  appeared(taskId: string): void {
    const pattern = this.#matching(taskId);
    if (!pattern || this.#cursors.has(taskId)) return;
    const { epoch, head, state } = this.server.log(taskId);
    this.#cursors.set(taskId, head);
    this.#say("subscribed", { task_id: taskId, pattern, epoch, offset: head, recovered: true, snapshot: state }, taskId);
  }

  /** Sends the events of a log after the cursor. A slow reader may be left behind. */
  advance(taskId: string): void {
    const cursor = this.#cursors.get(taskId);
    if (cursor === undefined || this.#wire.length > 20) return;
    const { head, first } = this.server.log(taskId);
    let next = cursor + 1;
    if (next < first) {
      this.#gap(taskId, next, first - 1, "overrun");
      next = first;
    }
    this.#events(taskId, next, head);
    this.#cursors.set(taskId, head);
  }

  #join({ ref, task_id, since, history }: { ref: number; task_id: string; since?: string; history?: number }): void {
    const { epoch, head, first, state } = this.server.log(task_id);
    const [asked, from] = since?.includes(":") ? since.split(":") : [epoch, since === "0" ? "0" : undefined];
    let cursor = head;
    let gap: [number, number, string] | null = null;
    let reset: string | null = null;
    let resets: object | null = null;
    if (from !== undefined) {
      cursor = Number(from);
      // Before the first event there is one place, whatever its epoch was called.
      if (asked !== epoch && cursor > 0) [cursor, reset] = [0, "epoch_changed"];
      else if (cursor > head) [cursor, reset] = [head, "ahead"];
      const offset = cursor;
      if (reset) resets = { reason: reset, epoch, offset, snapshot: state };
      if (cursor + 1 < first) [cursor, gap] = [first - 1, [cursor + 1, first - 1, "expired"]];
    } else if (history) {
      cursor = Math.max(first - 1, head - history);
    }
    this.#say("subscribed", { ref, task_id, epoch, offset: head, recovered: !gap && !reset, snapshot: state }, task_id);
    if (resets) this.#say("reset", resets, task_id);
    if (gap) this.#gap(task_id, ...gap);
    this.#events(task_id, cursor + 1, head);
    this.#cursors.set(task_id, head);
  }

  #gap(taskId: string, from: number, to: number, reason: string): void {
    this.#say("gap", { from, to, reason, snapshot: this.server.log(taskId).state }, taskId);
  }

  /** Sends events. Some that are adjacent are merged, as for a subscriber that lags. */
  #events(taskId: string, from: number, to: number): void {
    const { events } = this.server.log(taskId);
    let waiting: TidingsEvent | null = null;
    for (let offset = from; offset <= to; offset++) {
      const next = events.get(offset)!;
      const both: TidingsEvent | null = waiting && this.server.random() < 0.7 ? merged(waiting, next) : null;
      if (waiting && !both) this.#send(waiting);
      waiting = both ?? next;
    }
    if (waiting) this.#send(waiting);
  }

  #send(event: TidingsEvent): void {
    if (this.#open) this.#wire.push(JSON.stringify(event));
  }

  #matching(taskId: string | undefined): string | undefined {
    return [...this.#patterns].find((known) => taskId?.startsWith(known.slice(0, -1)));
  }

  #say(event_type: string, data: object, task_id?: string): void {
    if (this.#open) this.#wire.push(JSON.stringify({ event_type, task_id, timestamp: "2026-11-23T08:59:27.601Z", data }));
  }
}
