/** Where WebSocket does not get through: the same over server-sent events. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watched } from "./support/checker.js";
import { scripted, settle, snapshot } from "./support/scripted.js";

class Stream {
  static all: Stream[] = [];
  onmessage: ((event: { data: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  readonly url: URL;

  constructor(url: string) {
    this.url = new URL(url);
    Stream.all.push(this);
  }

  close(): void {
    this.closed = true;
  }

  says(event_type: string, data: object, task_id = "t", offset?: number): void {
    this.onmessage?.({ data: JSON.stringify({ event_type, task_id, offset, timestamp: "2026-11-23T08:59:27.601Z", data }) });
  }

  welcome(offset: number): void {
    this.says("connection_established", { client_id: "s", protocol: "tidings.v1", resume_token: "", heartbeat_interval_ms: 25_000, epoch: "e1", offset, recovered: true, snapshot: snapshot("t", offset) });
  }
}

const asked: { path: string; init: RequestInit }[] = [];
let answers: Record<string, () => Response> = {};

beforeEach(() => {
  vi.useFakeTimers();
  Stream.all = [];
  asked.length = 0;
  answers = { "/healthz": () => Response.json({ status: "ok" }) };
});
afterEach(() => void vi.useRealTimers());

async function blocked(token?: string) {
  const fetch = async (url: URL | RequestInfo, init: RequestInit = {}) => {
    const { pathname } = new URL(String(url));
    asked.push({ path: pathname, init });
    const answer = answers[pathname];
    if (!answer) throw new TypeError("the network is down");
    return answer();
  };
  const rig = scripted({ fallback: true, EventSource: Stream as never, fetch: fetch as never, ...(token ? { token } : {}) });
  const watched = new Watched();
  rig.client.watchTask("t", watched.handlers);
  await settle();
  // A proxy answers the upgrade with an error, twice.
  rig.socket.breaks();
  await rig.next();
  rig.socket.breaks();
  await vi.advanceTimersByTimeAsync(2_000);
  return { rig, watched };
}

test("after two failures events come over a stream, from the same place on", async () => {
  const { rig, watched } = await blocked();
  expect(rig.client.status).toMatchObject({ state: "connected", transport: "sse" });
  const [stream] = Stream.all;
  expect(stream!.url.pathname).toBe("/api/tasks/t/events");
  stream!.welcome(3);
  stream!.says("log", { message: "" }, "t", 4);
  expect(watched.offsets).toEqual([4]);

  // It breaks off. WebSocket is tried once more, then the stream again.
  stream!.onerror!();
  expect(stream!.closed).toBe(true);
  const sockets = rig.sockets.length;
  await rig.next(sockets);
  rig.socket.breaks();
  await vi.advanceTimersByTimeAsync(5_000);
  const again = Stream.all.at(-1)!;
  expect(again.url.searchParams.get("since")).toBe("e1:4");
  again.welcome(5);
  again.says("log", { message: "" }, "t", 5);
  expect(watched.offsets).toEqual([4, 5]);
  expect(watched.violations).toEqual([]);
});

test("publishing and commands are requests, with the token", async () => {
  const { rig } = await blocked("secret");
  expect(Stream.all[0]!.url.searchParams.get("token")).toBe("secret");
  answers["/api/tasks/t/events"] = () => Response.json({ epoch: "e1", offset: 8, duplicate: false }, { status: 201 });
  answers["/api/tasks/t/commands"] = () => Response.json({ code: "forbidden", detail: "not you" }, { status: 403 });
  expect(await rig.client.publish("t", { event_type: "note", data: { x: 1 } })).toMatchObject({ offset: 8 });
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

test("closing ends the streams", async () => {
  const { rig } = await blocked();
  rig.client.close();
  expect(Stream.all.map(({ closed }) => closed)).toEqual([true]);
});

test("a server that is away is no proxy: once WebSocket has worked, it is what is tried", async () => {
  const rig = scripted({ fallback: true, EventSource: Stream as never });
  rig.client.watchTask("t");
  rig.socket.welcome();
  for (let round = 0; round < 4; round++) {
    rig.socket.breaks();
    await rig.next();
  }
  expect(Stream.all).toEqual([]);
  expect(rig.sockets).toHaveLength(5);
});
