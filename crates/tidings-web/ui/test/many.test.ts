/** Many tasks, many watchers, patterns, and one socket. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watched } from "./support/checker.js";
import { scripted, settle, snapshot } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a thousand tasks share one socket, and come back over one", async () => {
  const rig = scripted();
  const seen = new Map<string, number>();
  for (let number = 0; number < 1_000; number++) {
    rig.client.watchTask(`t${number}`, { onEvent: ({ task_id, offset }) => seen.set(task_id, offset) });
  }
  rig.socket.welcome();
  expect(rig.socket.sent).toHaveLength(1_000);
  for (let number = 0; number < 1_000; number++) {
    rig.socket.subscribed(number, { task: `t${number}` });
    rig.socket.event(number + 1, "log", { message: "" }, `t${number}`);
  }
  expect(seen.size).toBe(1_000);
  expect(seen.get("t77")).toBe(78);
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  expect(rig.sockets).toHaveLength(2);
  expect(second.subscribes("t77")).toMatchObject([{ since: "e1:78" }]);
});

test("a thousand events in one tick are all told", () => {
  const watched = new Watched();
  const rig = scripted();
  const watch = rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(0);
  for (let offset = 1; offset <= 1_000; offset++) rig.socket.event(offset, "progress_update", { progress: offset / 10 });
  expect(watched.offsets).toHaveLength(1_000);
  expect(watched.violations).toEqual([]);
  expect(watch.task?.progress).toBe(100);
});

test("watchers of one task share its subscription; a late one begins where it is", async () => {
  const [early, late] = [new Watched(), new Watched()];
  const rig = scripted();
  rig.client.watchTask("t", early.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(3);
  rig.socket.event(4);
  rig.client.watchTask("t", late.handlers);
  expect(late.snapshots).toBe(0);
  await settle();
  expect(late.snapshots).toBe(1);
  rig.socket.event(5);
  expect([early.offsets, late.offsets]).toEqual([[4, 5], [5]]);
  expect(rig.socket.subscribes()).toHaveLength(1);
  expect([...early.violations, ...late.violations]).toEqual([]);
});

test("a late one that wants history gets it, and the early one nothing twice", () => {
  const [early, late] = [new Watched(), new Watched("history")];
  const rig = scripted();
  rig.client.watchTask("t", early.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(3);
  rig.socket.event(4);
  rig.client.watchTask("t", { ...late.handlers, history: 3 });
  expect(rig.socket.subscribes().at(-1)).toMatchObject({ history: 3 });
  rig.socket.event(5);
  rig.socket.subscribed(5);
  for (const offset of [3, 4, 5, 6]) rig.socket.event(offset);
  expect([early.offsets, late.offsets]).toEqual([[4, 5, 6], [3, 4, 5, 6]]);
  expect([...early.violations, ...late.violations]).toEqual([]);
});

test("the last watcher's end unsubscribes, and the socket closes a moment after the last of all", async () => {
  const rig = scripted({ linger: 500 });
  const first = rig.client.watchTask("t");
  const second = rig.client.watchTask("t");
  const other = rig.client.watchTask("u");
  rig.socket.welcome();
  first.close();
  first.close();
  expect(rig.socket.sent.some(({ type }) => type === "unsubscribe")).toBe(false);
  second.close();
  expect(rig.socket.sent.at(-1)).toMatchObject({ type: "unsubscribe", task_id: "t" });
  other.close();
  await vi.advanceTimersByTimeAsync(499);
  expect(rig.socket.closed).toBeNull();
  await vi.advanceTimersByTimeAsync(1);
  expect(rig.socket.closed).toEqual({ code: 1000 });
  expect(vi.getTimerCount()).toBe(0);
});

test("nothing is called after a watch was closed, also from within a call", () => {
  const rig = scripted();
  const calls: string[] = [];
  const watch = rig.client.watchTask("t", {
    onEvent: ({ offset }) => {
      calls.push(`first ${offset}`);
      watch.close();
      other.close();
    },
    onStatus: () => calls.push("status"),
  });
  const other = rig.client.watchTask("t", { onEvent: ({ offset }) => calls.push(`other ${offset}`) });
  rig.socket.welcome();
  rig.socket.subscribed(0);
  calls.length = 0;
  rig.socket.event(1);
  rig.socket.event(2);
  rig.socket.breaks();
  expect(calls).toEqual(["first 1"]);
});

test("a watcher that throws harms no other", () => {
  const reported: unknown[] = [];
  // The error reaches nobody: the browser reports it as uncaught.
  vi.stubGlobal("queueMicrotask", (run: () => void) => {
    try {
      run();
    } catch (error) {
      reported.push(error);
    }
  });
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", {
    onEvent: () => {
      throw new Error("an application's own");
    },
  });
  rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.event(1);
  rig.socket.event(2);
  expect(watched.offsets).toEqual([1, 2]);
  expect(reported).toHaveLength(2);
  vi.unstubAllGlobals();
});

test("a pattern brings tasks that are there and those to come", () => {
  const rig = scripted();
  const seen: string[] = [];
  const watch = rig.client.watchPattern("build-*", {
    onSnapshot: ({ task_id, offset }) => seen.push(`${task_id} at ${offset}`),
    onEvent: ({ task_id, offset }) => seen.push(`${task_id}:${offset}`),
  });
  rig.socket.welcome();
  expect(rig.socket.sent).toMatchObject([{ type: "subscribe", pattern: "build-*" }]);
  rig.socket.says("subscribed", { ref: rig.socket.sent[0].ref, pattern: "build-*" });
  rig.socket.announced("build-1", 4, { pattern: "build-*" });
  rig.socket.event(5, "progress_update", { progress: 50 }, "build-1");
  rig.socket.announced("build-2", 0, { pattern: "build-*" });
  rig.socket.event(1, "task_started", { name: "two" }, "build-2");
  expect(seen).toEqual(["build-1 at 4", "build-1:5", "build-2 at 0", "build-2:1"]);
  expect([...watch.taskIds()]).toEqual(["build-1", "build-2"]);
  expect(watch.task("build-1")?.progress).toBe(50);
  expect(watch.task("build-2")?.name).toBe("two");
  expect(watch.task("build-3")).toBeNull();
});

test("a tree brings its tasks, those to come, and those that are watched already", async () => {
  const rig = scripted();
  const seen: string[] = [];
  const told = {
    onSnapshot: ({ task_id, offset }: { task_id: string; offset: number }) => void seen.push(`${task_id} at ${offset}`),
    onEvent: ({ task_id, offset }: { task_id: string; offset: number }) => void seen.push(`${task_id}:${offset}`),
  };
  rig.client.watchTask("named");
  const watch = rig.client.watchTree("top", told);
  rig.socket.welcome();
  rig.socket.subscribed(3, { task: "named" });
  const asked = rig.socket.sent.find((message) => message.tree === "top");
  expect(asked).toMatchObject({ type: "subscribe" });
  rig.socket.says("subscribed", { ref: asked!.ref, tree: "top" });
  rig.socket.joins("top", "top", 4);
  rig.socket.says("subscribed", { task_id: "named", tree: "top" }, "named");
  rig.socket.event(4, "log", { message: "" }, "named");
  rig.socket.joins("born", "top", 0);
  rig.socket.event(1, "log", { message: "" }, "born");
  await settle();
  expect([...watch.taskIds()].sort()).toEqual(["born", "named", "top"]);
  expect(seen).toContain("top at 4");
  expect(seen).toContain("named at 4");
  expect(seen).toContain("born:1");
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  expect(second.sent.filter((message) => message.tree === "top")).toHaveLength(1);
  watch.close();
  expect(second.sent.at(-1)).toMatchObject({ type: "unsubscribe", tree: "top" });
});

test("a command for a tree is answered for each task", async () => {
  const rig = scripted();
  const answer = rig.client.commandTree("top", "cancel");
  rig.socket.welcome();
  const { ref } = rig.socket.sent[0];
  expect(rig.socket.sent[0]).toMatchObject({ type: "command", task_id: "top", command: "cancel", tree: true });
  const tasks = [
    { task_id: "part", code: "forbidden", message: "no" },
    { task_id: "top", command_id: "c1", epoch: "e1", offset: 4 },
  ];
  rig.socket.says("commanded", { ref, tasks }, "top");
  expect(await answer).toEqual(tasks);
});

test("what happened under a pattern meanwhile is named, task by task", async () => {
  const watched = new Map<string, Watched>();
  const of = (id: string) => watched.get(id) ?? watched.set(id, new Watched()).get(id)!;
  const rig = scripted();
  rig.client.watchPattern("*", {
    onSnapshot: (task) => of(task.task_id).handlers.onSnapshot!(task),
    onEvent: (event, counted) => of(event.task_id).handlers.onEvent!(event, counted),
    onGap: (gap, taskId) => of(taskId).handlers.onGap!(gap, taskId),
    onReset: (reset, taskId) => of(taskId).handlers.onReset!(reset, taskId),
  });
  rig.socket.welcome();
  for (const id of ["quiet", "busy", "reborn"]) rig.socket.announced(id, 2);
  rig.socket.event(3, "log", { message: "" }, "busy");
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  second.announced("quiet", 2);
  second.announced("busy", 9);
  second.announced("reborn", 4, { epoch: "e2" });
  second.event(10, "log", { message: "" }, "busy");
  second.event(5, "log", { message: "" }, "reborn");
  expect(of("quiet").gaps).toEqual([]);
  expect(of("busy").gaps).toMatchObject([{ from: 4, to: 9, reason: "missed" }]);
  expect(of("busy").offsets).toEqual([3, 10]);
  expect(of("reborn").resets).toMatchObject([{ offset: 4, epoch: "e2", reason: "epoch_changed" }]);
  expect([...watched.values()].flatMap(({ violations }) => violations)).toEqual([]);
});

test("a task that had gone and comes back under a pattern starts over", () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchPattern("*", watched.handlers);
  rig.socket.welcome();
  rig.socket.announced("t", 5);
  rig.socket.announced("t", 0, { epoch: "e1.1" });
  rig.socket.event(1);
  expect(watched.resets).toMatchObject([{ offset: 0, epoch: "e1.1", reason: "epoch_changed" }]);
  expect(watched.offsets).toEqual([1]);
  expect(watched.violations).toEqual([]);
});

test("a task that is gone is forgotten by its pattern, which is told, until it comes back", () => {
  const watched = new Watched();
  const rig = scripted();
  const removed: string[] = [];
  const watch = rig.client.watchPattern("*", { ...watched.handlers, onRemoved: (id) => removed.push(id) });
  rig.socket.welcome();
  for (const [at, reason] of ["removed", "forbidden"].entries()) {
    rig.socket.announced("t", 5, { epoch: `e${at}` });
    rig.socket.says("unsubscribed", { task_id: "t", reason }, "t");
    expect(removed).toHaveLength(at + 1);
    expect([...watch.taskIds()]).toEqual([]);
    expect(watch.task("t")).toBeNull();
  }
  rig.socket.announced("t", 0, { epoch: "e3" });
  rig.socket.event(1);
  expect(watched.resets).toEqual([]);
  expect(watched.offsets).toEqual([1]);
});

test("by name and by pattern, each is told once, and comes back without a hole", async () => {
  const [named, matched] = [new Watched(), new Watched()];
  const rig = scripted();
  rig.client.watchPattern("*", matched.handlers);
  rig.socket.welcome();
  rig.socket.announced("t", 1);
  rig.client.watchTask("t", named.handlers);
  // A pattern does not keep a task subscribed, so the task is subscribed by name as well.
  expect(rig.socket.subscribes()).toHaveLength(1);
  rig.socket.subscribed(1);
  rig.socket.event(2);
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  expect(second.sent.map(({ task_id, pattern, since }) => [task_id ?? pattern, since])).toEqual([["t", "e1:2"], ["*", undefined]]);
  second.subscribed(4);
  second.event(3);
  second.event(4);
  expect([named.offsets, matched.offsets]).toEqual([[2, 3, 4], [2, 3, 4]]);
  expect([...named.violations, ...matched.violations, ...named.gaps, ...matched.gaps]).toEqual([]);
});

test("a refused subscription is told to those who asked for it", () => {
  const rig = scripted();
  const errors: string[] = [];
  rig.client.watchTask("t", { onError: ({ code }) => errors.push(`task ${code}`) });
  rig.client.watchPattern("a*", { onError: ({ code }) => errors.push(`pattern ${code}`) });
  rig.client.watchTask("u", { onError: ({ code }) => errors.push(`other ${code}`) });
  rig.socket.welcome();
  const [task, , pattern] = rig.socket.sent;
  rig.socket.says("error", { ref: task.ref, code: "forbidden", message: "no" });
  rig.socket.says("error", { ref: pattern.ref, code: "forbidden", message: "no" });
  expect(errors).toEqual(["task forbidden", "pattern forbidden"]);
});

test("status is told at once and whenever it changes", async () => {
  const rig = scripted();
  const states: string[] = [];
  rig.client.watchTask("t", { onStatus: ({ state }) => states.push(state) });
  await settle();
  rig.socket.welcome();
  rig.socket.breaks();
  await rig.next();
  expect(states).toEqual(["connecting", "connected", "reconnecting", "connecting"]);
});

test("personal messages are the client's, and unknown messages nobody's", () => {
  const messages: unknown[] = [];
  const rig = scripted({ onPersonalMessage: ({ event_type }) => messages.push(event_type) });
  rig.client.watchTask("t");
  rig.socket.welcome();
  rig.socket.says("personal_message", { offset: 1, event_type: "notice", data: {} });
  rig.socket.says("something_new", {});
  rig.socket.says("gap", { from: 1, to: 2, reason: "expired", inbox: true });
  rig.socket.says("gap", { from: 1, to: 2, reason: "expired", snapshot: snapshot("x", 2) }, "not-watched");
  expect(messages).toEqual(["notice"]);
});
