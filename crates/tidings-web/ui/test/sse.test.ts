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

  /** Sends the bytes of a message, cut at arbitrary places. */
  async says(event_type: string, data: object, task_id = "t", offset?: number): Promise<void> {
    const message = JSON.stringify({ event_type, task_id, offset, timestamp: "2026-11-23T08:59:27.601Z", data });
    const bytes = new TextEncoder().encode(`: ping\n\nid: e1:${offset}\ndata: ${message}\n\n`);
    for (const at of [0, 7, 30, 31]) this.#out.enqueue(bytes.slice(at, { 0: 7, 7: 30, 30: 31, 31: undefined }[at]));
    await settle();
  }

  welcome(offset: number): Promise<void> {
    return this.says("connection_established", { client_id: "s", protocol: "tidings.v1", resume_token: "", heartbeat_interval_ms: 25_000, epoch: "e1", offset, recovered: true, snapshot: snapshot("t", offset) });
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
  expect(stream!.url.pathname).toBe("/api/tasks/t/events");
  await stream!.welcome(3);
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
  expect(again.url.searchParams.get("since")).toBe("e1:4");
  await again.welcome(5);
  await again.says("log", { message: "" }, "t", 5);
  expect(watched.offsets).toEqual([4, 5]);
  expect(watched.violations).toEqual([]);
});

test("publishing and commands are requests, with the token", async () => {
  const { rig } = await blocked("secret");
  const stream = asked.find(({ path, init }) => path === "/api/tasks/t/events" && !init.method);
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

test("a pattern has no stream, and that is said", async () => {
  const { rig } = await blocked();
  const errors: string[] = [];
  rig.client.watchPattern("*", { onError: ({ code, message }) => errors.push(`${code}: ${message}`) });
  await settle();
  expect(errors).toEqual(["unavailable: patterns need WebSocket, which does not get through"]);
});

test("streams leave room for requests: of many tasks, the first four are watched, and the others are told why", async () => {
  const { rig } = await blocked();
  const refused: string[] = [];
  for (let task = 1; task < 10; task++) rig.client.watchTask(`t${task}`, { onError: ({ temporary, message }) => refused.push(`${temporary} ${message}`) });
  await settle();
  expect(Stream.all).toHaveLength(4);
  expect(refused).toEqual(Array(6).fill("true without WebSocket a page can watch 4 tasks at a time"));
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
  answers["/api/tasks/t/events"] = () => Response.json({ code: "unauthenticated", detail: "expired" }, { status: 401 });
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
