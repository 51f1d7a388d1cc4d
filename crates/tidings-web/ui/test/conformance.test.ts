/** The vectors of docs/conformance, which are for every language. */

import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { afterClose } from "../src/close.js";
import type { OutputState, Reconnect, TaskSnapshot } from "../src/generated/protocol.js";
import { reduce } from "../src/reduce.js";
import type { TidingsEvent } from "../src/types.js";
import type { TaskHandlers, Token } from "../src/options.js";
import { scripted, settle } from "./support/scripted.js";

/** A bundler for browsers would take `new URL(…, import.meta.url)` for a file to bundle. */
const here = import.meta.url;

function vectors<T>(name: string): T[] {
  const file = new URL(`../../../../docs/conformance/${name}.json`, here);
  return (JSON.parse(readFileSync(file, "utf8")) as { vectors: T[] }).vectors;
}

let ran = 0;
afterAll(() => console.log(`${ran} conformance vectors`));

/** Returns an output from the place from which the server keeps it. */
function from(output: OutputState, start: number): string {
  const bytes = new TextEncoder().encode(output.text).subarray(start - output.start);
  return new TextDecoder().decode(bytes);
}

function same(state: TaskSnapshot, expected: TaskSnapshot): void {
  // An unknown total is left out by the server, and undefined here.
  const plain = JSON.parse(JSON.stringify(state)) as TaskSnapshot;
  expect({ ...plain, outputs: [] }).toEqual({ ...expected, outputs: [] });
  expect(plain.outputs.map(({ output_id, length, complete }) => ({ output_id, length, complete }))).toEqual(
    expected.outputs.map(({ output_id, length, complete }) => ({ output_id, length, complete })),
  );
  plain.outputs.forEach((output, at) => expect(from(output, expected.outputs[at]!.start)).toBe(expected.outputs[at]!.text));
}

type Reduce = { name: string; start: TaskSnapshot; events: TidingsEvent[]; snapshot: TaskSnapshot };

describe("events are reduced to a snapshot", () => {
  test.each(vectors<Reduce>("reduce"))("$name", ({ start, events, snapshot }) => {
    same(events.reduce(reduce, start), snapshot);
    ran++;
  });
});

type Message = TidingsEvent | { event_type: string; data: { snapshot?: TaskSnapshot } };

describe("messages are folded into a state", () => {
  test.each(vectors<{ name: string; messages: Message[]; state: TaskSnapshot }>("fold"))("$name", ({ messages, state }) => {
    let folded: TaskSnapshot | undefined;
    for (const message of messages) {
      if (!("offset" in message)) folded = (message.data as { snapshot?: TaskSnapshot }).snapshot ?? folded;
      else if (folded && message.offset > folded.offset) folded = reduce(folded, message);
    }
    same(folded!, state);
    ran++;
  });
});

type Close = { name: string; going_away: { reconnect: Reconnect } | null; code: number; then: Reconnect };

describe("a close is followed by what the table says", () => {
  test.each(vectors<Close>("close"))("$name", ({ going_away, code, then }) => {
    expect(going_away?.reconnect ?? afterClose(code)).toBe(then);
    ran++;
  });
});

type Step = {
  watch?: { task_id: string; tree?: undefined; since: string | null } | { tree: string; since: null };
  command?: { task_id: string; command: string };
  publish?: { task_id: string; event_type: string; event_id: string; data: object };
  renews?: string;
  connects?: { after_ms: number; token: string | null };
  server?: { data: { ref?: unknown } };
  sends?: Record<string, unknown>;
  closes?: number;
  stops?: true;
  told?: string[];
  published?: number;
  commanded?: string[] | null;
};

/** One client, its network, and its clock, as a script has them. */
class Script {
  readonly #rig;
  #told: string[] = [];
  #published: number | undefined;
  #commanded: string[] | null | undefined;
  /** Sockets that have connected so far. */
  #connected = 0;
  #closedAt = -Infinity;
  /** Messages of this connection that no step has named. */
  #named = new Set<number>();
  #ref: unknown;

  constructor(tokens: string[]) {
    const left = [...tokens];
    const token: Token | undefined = tokens.length > 1 ? () => left.shift() ?? "none" : tokens[0];
    this.#rig = scripted({ token });
  }

  readonly #handlers: TaskHandlers = {
    onEvent: ({ from, offset }) => this.#told.push(`event ${from === undefined ? "" : `${from}-`}${offset}`),
    onGap: ({ from, to, reason }) => this.#told.push(`gap ${from}-${to} ${reason}`),
    onReset: ({ epoch, offset, reason }) => this.#told.push(`reset ${epoch}:${offset} ${reason}`),
  };

  async step(step: Step): Promise<void> {
    const { client, socket } = this.#rig;
    if (step.watch?.tree !== undefined) {
      client.watchTree(step.watch.tree, {
        ...this.#handlers,
        onEvent: ({ task_id, from, offset }) => this.#told.push(`${task_id} event ${from === undefined ? "" : `${from}-`}${offset}`),
      });
    } else if (step.watch) {
      const { task_id, since } = step.watch;
      client.watchTask(task_id, { ...this.#handlers, ...(since !== null && { since }) });
    } else if (step.command) {
      client.commandTree(step.command.task_id, step.command.command).then(
        (tasks) => (this.#commanded = tasks.map((task) => `${task.task_id} ${"code" in task ? task.code : "asked"}`)),
        () => (this.#commanded = null),
      );
    } else if (step.commanded !== undefined) {
      expect(this.#commanded).toEqual(step.commanded);
    } else if (step.publish) {
      const { task_id, ...event } = step.publish;
      client.publish(task_id, event as never).then(
        ({ offset }) => (this.#published = offset),
        () => {},
      );
    } else if (step.renews) client.setToken(step.renews);
    else if (step.connects) await this.#connects(step.connects);
    else if (step.server) {
      const data = { ...step.server.data };
      if (data.ref === "$ref") data.ref = this.#ref;
      socket.onmessage?.({ data: JSON.stringify({ ...step.server, data }) });
    } else if (step.sends) this.#sends(step.sends);
    else if (step.closes) {
      this.#closedAt = Date.now();
      socket.breaks(step.closes);
    } else if (step.stops) {
      await vi.advanceTimersByTimeAsync(120_000);
      expect(client.status.state).toBe("closed");
      expect(this.#rig.sockets).toHaveLength(this.#connected);
    } else if (step.told) {
      expect(this.#told).toEqual(step.told);
      this.#told = [];
    } else expect(this.#published).toBe(step.published);
    await settle();
  }

  async #connects({ after_ms, token }: { after_ms: number; token: string | null }): Promise<void> {
    const socket = this.#rig.sockets.length > this.#connected ? this.#rig.socket : await this.#rig.next(this.#connected);
    this.#connected = this.#rig.sockets.length;
    expect(Date.now() - this.#closedAt).toBeGreaterThanOrEqual(after_ms);
    expect(socket.protocols).toEqual(["tidings.v1", ...(token ? [`bearer.${token}`] : [])]);
    this.#named.clear();
  }

  #sends(expected: Record<string, unknown>): void {
    const { sent } = this.#rig.socket;
    const at = sent.findIndex(({ type }, at) => type === expected.type && !this.#named.has(at));
    expect(at, `${JSON.stringify(expected)} is sent`).toBeGreaterThanOrEqual(0);
    this.#named.add(at);
    for (const [name, value] of Object.entries(expected)) expect(sent[at][name] ?? null, name).toEqual(value);
    this.#ref = sent[at].ref;
  }

  close(): void {
    this.#rig.client.close();
  }
}

describe("a client does what the server's words ask for", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  test.each(vectors<{ name: string; tokens: string[]; steps: Step[] }>("script"))("$name", async ({ tokens, steps }) => {
    const script = new Script(tokens);
    for (const step of steps) await script.step(step);
    script.close();
    ran++;
  });
});
