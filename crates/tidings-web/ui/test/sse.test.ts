/** Server-sent events, for networks in which WebSocket does not work. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watched } from "./support/checker.js";
import { scripted, snapshot } from "./support/scripted.js";
import { customEvent } from "../src/types.js";

/** A stream that the client has requested. */
class Stream {
  static all: Stream[] = [];
  closed = false;
  #out!: ReadableStreamDefaultController<Uint8Array>;
  readonly response: Response;

  constructor(
    readonly url: URL,
    signal: AbortSignal,
  ) {
    const body = new ReadableStream<Uint8Array>({ start: (out) => void (this.#out = out) });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
    signal.addEventListener("abort", () => {
      this.closed = true;
      this.#out.error(new DOMException("aborted", "AbortError"));
    });
    Stream.all.push(this);
  }

  /** Sends the bytes of a message, cut at arbitrary places. `id` has the positions after it. */
  async says(event_type: string, data: object, task_id: string | null = "t", offset?: number, id = `t@e1:${offset}`): Promise<void> {
    const message = JSON.stringify({ event_type, task_id: task_id ?? undefined, offset, timestamp: "2026-11-23T08:59:27.601Z", data });
    const line = offset === undefined ? "" : `id: ${id}\n`;
    const bytes = new TextEncoder().encode(`: ping\n\n${line}data: ${message}\n\n`);
    for (const at of [0, 7, 30, 31]) this.#out.enqueue(bytes.slice(at, { 0: 7, 7: 30, 30: 31, 31: undefined }[at]));
    await settle();
  }

  async welcome(...tasks: [task: string, offset: number][]): Promise<void> {
    await this.says("connection_established", { client_id: "s", protocol: "tidings.v1", resume_token: "", heartbeat_interval_ms: 25_000 }, null);
    for (const [task, offset] of tasks) await this.announces(task, offset);
  }

  announces(task: string, offset: number, through: object = {}): Promise<void> {
    return this.says("subscribed", { task_id: task, ...through, epoch: "e1", offset, recovered: true, snapshot: snapshot(task, offset) }, task);
  }

  get tasks(): string[] {
    return this.url.searchParams.getAll("task");
  }

  async breaks(): Promise<void> {
    this.#out.error(new TypeError("network error"));
    await settle();
  }
}

const asked: { path: string; init: RequestInit }[] = [];
let answers: Record<string, () => Response> = {};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  Stream.all = [];
  asked.length = 0;
  answers = { "/healthz": () => Response.json({ status: "ok" }) };
});
afterEach(() => void vi.useRealTimers());

/** Waits for the steps of streams, which no timer controls. */
async function settle(): Promise<void> {
  await vi.dynamicImportSettled();
  await vi.advanceTimersByTimeAsync(0);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function blocked(token?: string) {
  const fetch = async (url: URL | RequestInfo, init: RequestInit = {}) => {
    const { pathname } = new URL(String(url));
    asked.push({ path: pathname, init });
    if ((init.headers as Record<string, string>).accept === "text/event-stream" && !answers[pathname]) {
      return new Stream(new URL(String(url)), init.signal!).response;
    }
    const answer = answers[pathname];
    if (!answer) throw new TypeError("the network is down");
    return answer();
  };
  const rig = scripted({ fallback: true, fetch: fetch as never, ...(token ? { token } : {}) });
  const watched = new Watched();
  rig.client.watchTask("t", watched.handlers);
  await settle();
  // A proxy answers the upgrade with an error, twice.
  rig.socket.breaks();
  await rig.next();
  rig.socket.breaks();
  await vi.advanceTimersByTimeAsync(2_000);
  await settle();
  return { rig, watched };
}

test("after two failures events come over a stream, from the same place on", async () => {
  const { rig, watched } = await blocked();
  expect(rig.client.status).toMatchObject({ state: "connected", transport: "sse" });
  const [stream] = Stream.all;
  expect(stream!.url.pathname).toBe("/api/events");
  expect(stream!.url.search).toBe("?task=t");
  await stream!.welcome(["t", 3]);
  await stream!.says("log", { message: "" }, "t", 4);
  expect(watched.offsets).toEqual([4]);

  // The stream breaks. WebSocket is tried once more, then a stream again.
  await stream!.breaks();
  const sockets = rig.sockets.length;
  await rig.next(sockets);
  rig.socket.breaks();
  await vi.advanceTimersByTimeAsync(5_000);
  await settle();
  const again = Stream.all.at(-1)!;
  expect(again.url.searchParams.get("since")).toBe("t@e1:4");
  await again.welcome(["t", 5]);
  await again.says("log", { message: "" }, "t", 5);
  expect(watched.offsets).toEqual([4, 5]);
  expect(watched.violations).toEqual([]);
});

test("publishing and commands are requests, with the token", async () => {
  const { rig } = await blocked("secret");
  const stream = asked.find(({ path, init }) => path === "/api/events" && !init.method);
  expect(stream!.init.headers).toMatchObject({ authorization: "Bearer secret" });
  expect(Stream.all[0]!.url.searchParams.has("token")).toBe(false);
  answers["/api/tasks/t/events"] = () => Response.json({ epoch: "e1", offset: 8, duplicate: false }, { status: 201 });
  answers["/api/tasks/t/commands"] = () => Response.json({ code: "forbidden", detail: "not you" }, { status: 403 });
  expect(await rig.client.publish("t", customEvent("note", { x: 1 }))).toMatchObject({ offset: 8 });
  await expect(rig.client.command("t", "cancel")).rejects.toMatchObject({ code: "forbidden", message: "not you" });
  const [publish, command] = asked.filter(({ init }) => init.method === "POST");
  expect(JSON.parse(publish!.init.body as string)).toMatchObject({ event_type: "note", data: { x: 1 } });
  expect(publish!.init.headers).toMatchObject({ authorization: "Bearer secret" });
  expect(JSON.parse(command!.init.body as string)).toEqual({ command: "cancel" });
});

test("all tasks share one stream, which continues everywhere when a task is added", async () => {
  const { rig, watched } = await blocked();
  await Stream.all[0]!.welcome(["t", 3]);
  await Stream.all[0]!.says("log", { message: "" }, "t", 4);
  const others = ["u", "v"].map((id) => {
    const other = new Watched();
    rig.client.watchTask(id, other.handlers);
    return other;
  });
  await settle();
  const [first, second] = Stream.all;
  expect(Stream.all).toHaveLength(2);
  expect(first!.closed).toBe(true);
  expect(second!.tasks).toEqual(["t", "u", "v"]);
  expect(second!.url.searchParams.get("since")).toBe("t@e1:4");
  await second!.welcome(["t", 5], ["u", 7], ["v", 0]);
  await second!.says("log", { message: "" }, "t", 5, "t@e1:5,u@7,v@e1:0");
  await second!.says("log", { message: "" }, "u", 8, "t@e1:5,u@8,v@e2:0");

  // Somebody else wants a task from an earlier place, and goes again: it comes twice, and is told once.
  rig.client.watchTask("u", { since: "e1:6" }).close();
  await settle();
  const third = Stream.all.at(-1)!;
  expect(third.url.searchParams.get("since")).toBe("t@e1:5,u@e1:6,v@e2:0");
  await third.welcome(["t", 5], ["u", 8], ["v", 0]);
  for (const offset of [7, 8]) await third.says("log", { message: "" }, "u", offset, `t@e1:5,u@${offset},v@e2:0`);
  await third.says("log", { message: "" }, "v", 1, "t@e1:5,u@8,v@e2:1");
  expect([watched, ...others].map(({ offsets }) => offsets)).toEqual([[4, 5], [8], [1]]);
  expect([watched, ...others].flatMap(({ violations }) => violations)).toEqual([]);
});

test("a task that has had no event yet continues at its state", async () => {
  const { rig, watched } = await blocked();
  await Stream.all[0]!.welcome(["t", 3]);
  rig.client.watchTask("u");
  await settle();
  expect(Stream.all[1]!.url.searchParams.get("since")).toBe("t@e1:3");
  await Stream.all[1]!.welcome(["t", 5], ["u", 0]);
  for (const offset of [4, 5]) await Stream.all[1]!.says("log", { message: "" }, "t", offset);
  expect(watched.offsets).toEqual([4, 5]);
  expect(watched.violations).toEqual([]);
});

test("history is only for those who want it, and no more of it", async () => {
  const { rig, watched } = await blocked();
  const u: number[] = [];
  const v: number[] = [];
  rig.client.watchTask("u", { history: 2, onEvent: ({ offset }) => u.push(offset) });
  rig.client.watchTask("v", { history: 4, onEvent: ({ offset }) => v.push(offset) });
  await settle();
  const stream = Stream.all.at(-1)!;
  expect(stream.url.searchParams.get("history")).toBe("4");
  await stream.welcome(["t", 9], ["u", 9], ["v", 9]);
  for (const id of ["t", "u", "v"]) for (const offset of [6, 7, 8, 9, 10]) await stream.says("log", { message: "" }, id, offset, "");
  expect([watched.offsets, u, v]).toEqual([[10], [8, 9, 10], [6, 7, 8, 9, 10]]);
});

test("a pattern has a stream of its own, of which there are three", async () => {
  const { rig } = await blocked();
  const errors: string[] = [];
  const seen: string[] = [];
  rig.client.watchPattern("build-*", { onEvent: ({ task_id, offset }) => seen.push(`${task_id} ${offset}`) });
  for (const tree of ["a", "b", "c"]) rig.client.watchTree(tree, { onError: ({ temporary, message }) => errors.push(`${temporary} ${message}`) });
  await settle();
  expect(Stream.all.map(({ url }) => url.search)).toEqual(["?task=t", "?pattern=build-*", "?tree=a", "?tree=b"]);
  expect(errors).toEqual(["true without WebSocket a page can watch 3 patterns and trees at a time"]);
  const stream = Stream.all[1]!;
  await stream.welcome();
  await stream.says("subscribed", { pattern: "build-*" }, null);
  await stream.announces("build-1", 4, { pattern: "build-*" });
  await stream.says("log", { message: "" }, "build-1", 5, "");
  expect(seen).toEqual(["build-1 5"]);
  // Its stream is not opened again when a task comes.
  rig.client.watchTask("u");
  await settle();
  expect(stream.closed).toBe(false);
});

test("a task that may not be watched does not end the others", async () => {
  const { rig, watched } = await blocked();
  const errors: string[] = [];
  rig.client.watchTask("secret", { onError: ({ code }) => errors.push(code) });
  await settle();
  const stream = Stream.all.at(-1)!;
  await stream.welcome(["t", 3]);
  await stream.says("unsubscribed", { task_id: "secret", reason: "forbidden" }, "secret");
  await stream.says("log", { message: "" }, "t", 4);
  expect(errors).toEqual(["forbidden"]);
  expect(watched.offsets).toEqual([4]);
  answers["/api/events"] = () => Response.json({ code: "forbidden", detail: "not yours" }, { status: 403 });
  const alone = await blocked();
  const none: string[] = [];
  alone.rig.client.watchTask("x", { onError: ({ code }) => none.push(code) });
  await settle();
  expect(none).toEqual(["forbidden"]);
});

test("a command to a tree is answered for each task", async () => {
  const { rig } = await blocked();
  answers["/api/tasks/t/commands"] = () => Response.json({ tasks: [{ task_id: "t", offset: 3 }] }, { status: 202 });
  expect(await rig.client.commandTree("t", "cancel")).toEqual([{ task_id: "t", offset: 3 }]);
  const command = asked.find(({ init }) => init.method === "POST");
  expect(JSON.parse(command!.init.body as string)).toEqual({ command: "cancel", tree: true });
});

test("more tasks than a stream may have are refused", async () => {
  const { rig } = await blocked();
  const refused: string[] = [];
  for (let task = 1; task < 66; task++) rig.client.watchTask(`t${task}`, { onError: ({ temporary, message }) => refused.push(`${temporary} ${message}`) });
  await settle();
  expect(Stream.all.at(-1)!.tasks).toHaveLength(64);
  expect(refused).toEqual(Array(2).fill("true without WebSocket a page can watch 64 tasks at a time"));
});

test("closing ends the streams", async () => {
  const { rig } = await blocked();
  rig.client.close();
  await settle();
  expect(Stream.all.map(({ closed }) => closed)).toEqual([true]);
});

test("a server that is away is no proxy: once WebSocket has worked, it is what is tried", async () => {
  const rig = scripted({ fallback: true, fetch: (async () => Response.error()) as never });
  rig.client.watchTask("t");
  rig.socket.welcome();
  for (let round = 0; round < 4; round++) {
    rig.socket.breaks();
    await rig.next();
  }
  expect(Stream.all).toEqual([]);
  expect(rig.sockets).toHaveLength(5);
});

test("a token that the stream is refused for is renewed as any other", async () => {
  answers["/api/events"] = () => Response.json({ code: "unauthenticated", detail: "expired" }, { status: 401 });
  const { rig } = await blocked("fixed");
  expect(rig.client.status).toMatchObject({ state: "closed", code: 4401, reason: "expired" });
});

test("a server that refuses has been reached: that is no reason to take another way", async () => {
  const rig = scripted({ fallback: true, token: () => "bad", fetch: (async () => Response.json({})) as never });
  rig.client.watchTask("t");
  await settle();
  for (let round = 0; round < 3; round++) {
    if (round > 0) await rig.next();
    rig.socket.says("error", { code: "unauthenticated", message: "a valid token is needed" });
    rig.socket.goingAway("never");
    rig.socket.breaks(1006);
  }
  expect(rig.client.status).toMatchObject({ state: "closed", code: 4401 });
});
