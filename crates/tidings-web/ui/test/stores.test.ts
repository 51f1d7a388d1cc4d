/** The stores, as any framework uses them. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CHUNK, LogStore } from "../src/store/log-store.js";
import { TaskStore, type TaskView } from "../src/store/task-store.js";
import { TasksStore } from "../src/store/tasks-store.js";
import { scripted } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const frame = () => vi.advanceTimersByTimeAsync(600);

test("a listener is called at once and after each change, as Svelte wants it", async () => {
  const rig = scripted();
  const store = new TaskStore(rig.client, "t");
  const views: TaskView[] = [];
  const stop = store.subscribe((view) => views.push(view));
  expect(views).toHaveLength(1);
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.event(1, "task_started", { name: "Build" });
  await frame();
  expect(views.at(-1)).toMatchObject({ task: { name: "Build" }, asOf: null });
  stop();
  const before = views.length;
  await frame();
  expect(views).toHaveLength(before);
});

test("words of outputs are in the state, and push nothing out of the list", async () => {
  const rig = scripted();
  const store = new TaskStore(rig.client, "t", { maxEvents: 10 });
  store.subscribe(() => {});
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.event(1, "log", { message: "before" });
  for (let offset = 2; offset <= 601; offset++) rig.socket.event(offset, "output_delta", { output_id: offset % 2 ? "a" : "b", text: "word " });
  await frame();
  const { events, task } = store.getSnapshot();
  expect(events.map(({ event_type }) => event_type)).toEqual(["log"]);
  expect(task!.outputs.map(({ text }) => text.length)).toEqual([1_500, 1_500]);
});

test("after a loss the view says until when it is right", async () => {
  const rig = scripted();
  const store = new TaskStore(rig.client, "t");
  store.subscribe(() => {});
  rig.socket.welcome();
  rig.socket.subscribed(0);
  await frame();
  const lost = Date.now();
  rig.socket.breaks();
  await frame();
  expect(store.getSnapshot().asOf).toBe(lost);
  (await rig.next()).welcome();
  await frame();
  expect(store.getSnapshot().asOf).toBeNull();
});

/** A list of all tasks, and the server's own list over HTTP. */
function listed(pattern = "*") {
  const server = { tasks: [] as string[], status: 200, asked: 0, answers: Promise.resolve() };
  const fetch = async (url: URL) => {
    server.asked++;
    // Two pages, if there are two tasks or more.
    const matching = server.tasks.filter((id) => id.startsWith(url.searchParams.get("prefix") ?? "") && id > (url.searchParams.get("after") ?? ""));
    const tasks = matching.slice(0, 1).map((task_id) => ({ task_id }));
    await server.answers;
    return Response.json({ tasks, next: matching.length > 1 ? matching[0] : null }, { status: server.status });
  };
  const rig = scripted({ linger: 0, fetch: fetch as never });
  const store = new TasksStore(rig.client, pattern);
  const ids = () => store.getSnapshot().tasks.map(({ task_id }) => task_id);
  return { server, rig, store, ids, stop: store.subscribe(() => {}) };
}

/** Longer than the server may take to announce its tasks. */
const announcing = () => vi.advanceTimersByTimeAsync(3_000);

test("whoever comes back to a list sees what was there, until it is announced anew or found to be gone", async () => {
  const { server, rig, store, ids, stop } = listed();
  rig.socket.welcome();
  for (const id of ["a", "b", "c"]) rig.socket.announced(id, 1);
  await frame();
  stop();
  await frame();
  store.subscribe(() => {});
  rig.socket.welcome();
  rig.socket.announced("b", 7);
  await frame();
  expect(ids()).toEqual(["a", "b", "c"]);
  expect(store.getSnapshot().tasks.map(({ offset }) => offset)).toEqual([1, 7, 1]);
  server.tasks = ["b"];
  await announcing();
  expect(ids()).toEqual(["b"]);
});

test("a removed task leaves the list at once, and is there again when it starts over", async () => {
  const { server, rig, store, ids } = listed();
  rig.socket.welcome();
  for (const id of ["a", "b"]) rig.socket.announced(id, 3);
  await frame();
  rig.socket.says("unsubscribed", { task_id: "a", reason: "removed" }, "a");
  await frame();
  expect(ids()).toEqual(["b"]);
  expect(store.getSnapshot().counts.running).toBe(1);
  rig.socket.announced("a", 1, { epoch: "e2" });
  await frame();
  expect(ids()).toEqual(["a", "b"]);
  expect(store.getSnapshot().gaps).toBe(0);
  rig.socket.says("unsubscribed", { task_id: "b", reason: "forbidden" }, "b");
  await announcing();
  expect(ids()).toEqual(["a"]);
  // Every task was announced, so nothing is asked.
  expect(server.asked).toBe(0);
});

test("after a break, only tasks that are neither announced nor listed leave, and none for good", async () => {
  const { server, rig, ids } = listed();
  rig.socket.welcome();
  for (const id of ["gone", "late", "reborn"]) rig.socket.announced(id, 3);
  await frame();
  rig.socket.breaks();
  await frame();
  let answer!: () => void;
  server.answers = new Promise((resolve) => (answer = resolve));
  server.tasks = ["late"];
  const second = await rig.next();
  second.welcome();
  await announcing();
  expect(ids()).toEqual(["gone", "late", "reborn"]);
  // These begin after the server has made its list.
  second.announced("fresh", 0);
  second.announced("reborn", 0, { epoch: "e2" });
  second.says("unsubscribed", { task_id: "fresh", reason: "removed" }, "fresh");
  second.announced("fresh", 0, { epoch: "e2.1" });
  answer();
  await frame();
  expect(ids()).toEqual(["fresh", "late", "reborn"]);
  second.announced("late", 3);
  await announcing();
  const { asked } = server;
  await announcing();
  expect(server.asked).toBe(asked);
});

test("the list of a pattern has no more tasks than the pattern, and is read to its end", async () => {
  const { server, rig, ids } = listed("b-*");
  rig.socket.welcome();
  for (const id of ["b-1", "b-2", "b-3"]) rig.socket.announced(id, 3, { pattern: "b-*" });
  await frame();
  rig.socket.breaks();
  server.tasks = ["a", "b-1", "b-3", "c"];
  (await rig.next()).welcome();
  await announcing();
  expect(server.asked).toBe(2);
  expect(ids()).toEqual(["b-1", "b-3"]);
});

test("a list that is refused is not asked for again and again, and one that fails is", async () => {
  for (const [status, least, most] of [[403, 1, 1], [503, 2, 99]] as const) {
    const { server, rig, ids } = listed();
    rig.socket.welcome();
    rig.socket.announced("a", 3);
    await frame();
    rig.socket.breaks();
    server.status = status;
    (await rig.next()).welcome();
    await announcing();
    await announcing();
    await announcing();
    expect(server.asked).toBeGreaterThanOrEqual(least);
    expect(server.asked).toBeLessThanOrEqual(most);
    expect(ids()).toEqual(["a"]);
    rig.client.close();
  }
});

/** A log of `head` events over HTTP, of which the first `lost` are no longer retained. */
function logged(head: number, lost = 0) {
  const asked: number[] = [];
  const fetch = async (url: URL) => {
    const since = Number(url.searchParams.get("since")!.split(":")[1]);
    const limit = Number(url.searchParams.get("limit"));
    asked.push(since);
    const first = Math.max(since, lost) + 1;
    const last = Math.min(head, first + limit - 1);
    const events = Array.from({ length: last - first + 1 }, (_, index) => ({ event_type: "log", task_id: "t", offset: first + index, timestamp: "2026-11-29T12:00:00Z", data: { message: `${first + index}` } }));
    return Response.json({ events, next: `e1:${last}`, ...(since < lost && { gap: { from: since + 1, to: lost, reason: "expired" } }) });
  };
  const rig = scripted({ fetch: fetch as never });
  const store = new LogStore(rig.client, "t");
  store.subscribe(() => {});
  rig.socket.welcome();
  rig.socket.subscribed(head);
  const offsets = (chunk: number) => store.entries(chunk)?.map((entry) => ("offset" in entry ? entry.offset : -1)) ?? null;
  return { rig, store, asked, offsets };
}

const span = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("what is looked at is loaded, joined with what comes live, and never twice", async () => {
  const { rig, store, asked, offsets } = logged(1_050);
  rig.socket.event(1_051);
  await frame();
  expect(offsets(5)).toEqual([1_051]);
  store.look(5, 5);
  await frame();
  rig.socket.event(1_052);
  await frame();
  expect(offsets(5)).toEqual(span(1_001, 1_052));
  expect(offsets(4)).toEqual(span(801, 1_000));
  const requests = asked.length;
  store.look(3, 5);
  await frame();
  expect(asked).toHaveLength(requests);
  store.look(0, 0);
  await frame();
  expect(offsets(0)).toEqual(span(1, CHUNK));
});

test("what is no longer kept is said, and not asked for again", async () => {
  const { store, asked, offsets } = logged(1_000, 700);
  store.look(0, 4);
  await frame();
  expect(store.getSnapshot().first).toBe(701);
  expect(offsets(3)).toEqual(span(701, 800));
  const requests = asked.length;
  store.look(0, 4);
  await frame();
  expect(asked).toHaveLength(requests);
});

test("memory is bounded however much is looked at, and however much comes", async () => {
  const { rig, store, offsets } = logged(100_000);
  for (let chunk = 0; chunk < 480; chunk += 4) {
    store.look(chunk, chunk + 3);
    rig.socket.says("heartbeat", { heads: {} });
    await frame();
  }
  expect(span(0, 499).filter((chunk) => offsets(chunk) !== null).length).toBeLessThanOrEqual(64);
  for (let offset = 100_001; offset <= 120_000; offset++) rig.socket.event(offset);
  await frame();
  expect(span(0, 620).filter((chunk) => offsets(chunk) !== null).length).toBeLessThanOrEqual(64);
  expect(offsets(599)).toEqual(span(119_801, 120_000));
});

test("a page that cannot be loaded is told, and tried again when asked", async () => {
  let fails = true;
  const rig = scripted({ fetch: (async () => (fails ? Response.json({ code: "unavailable", detail: "the disk is slow" }, { status: 503 }) : Response.json({ events: [], next: "e1:9" }))) as never });
  const store = new LogStore(rig.client, "t");
  store.subscribe(() => {});
  rig.socket.welcome();
  rig.socket.subscribed(9);
  store.look(0, 0);
  await frame();
  expect(store.getSnapshot().failure).toBe("the disk is slow");
  fails = false;
  store.retry();
  await frame();
  expect(store.getSnapshot().failure).toBeNull();
  expect(store.entries(0)).toEqual([]);
});
