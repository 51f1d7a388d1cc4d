/** Reconnecting: where a watcher continues, and what it is told. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watched } from "./support/checker.js";
import { scripted, settle, snapshot } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("it goes on after the last event, and nothing is lost or doubled", async () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  expect(rig.socket.subscribes()).toMatchObject([{ task_id: "t" }]);
  expect(rig.socket.subscribes()[0]).not.toHaveProperty("since");
  rig.socket.subscribed(5);
  rig.socket.event(6);
  rig.socket.event(7);
  rig.socket.breaks();

  const second = await rig.next();
  second.welcome();
  expect(second.subscribes()).toMatchObject([{ since: "e1:7" }]);
  second.subscribed(9);
  second.event(8);
  second.event(9);
  second.event(10);
  expect(watched.offsets).toEqual([6, 7, 8, 9, 10]);
  expect(watched.gaps).toEqual([]);
  expect(watched.violations).toEqual([]);
});

test("a first connection that never had an event is gone on from as well", async () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  expect(second.subscribes()).toMatchObject([{ since: "e1:0" }]);
  second.subscribed(2);
  second.event(1);
  second.event(2);
  expect(watched.offsets).toEqual([1, 2]);
  expect(watched.violations).toEqual([]);
});

test("broken before it was told where it stands, it asks again for what it wanted", async () => {
  const rig = scripted();
  rig.client.watchTask("t", { history: 20 });
  rig.socket.welcome();
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  expect(second.subscribes()).toMatchObject([{ history: 20 }]);
  // The newest offset is known, but no history has arrived. It is due from its beginning.
  second.subscribed(29);
  second.breaks();
  const third = await rig.next();
  third.welcome();
  expect(third.subscribes()).toMatchObject([{ since: "e1:9" }]);
});

test("history comes before what is live, and is marked as counted", async () => {
  const rig = scripted();
  const seen: [number, boolean][] = [];
  const watch = rig.client.watchTask("t", { history: 2, onEvent: ({ offset }, counted) => seen.push([offset, counted]) });
  rig.socket.welcome();
  rig.socket.subscribed(9);
  for (const offset of [8, 9, 10]) rig.socket.event(offset);
  expect(seen).toEqual([[8, true], [9, true], [10, false]]);
  expect(watch.task?.offset).toBe(10);
  expect(watch.position).toEqual({ epoch: "e1", offset: 10 });
});

test("a given position is gone on from", async () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", { ...watched.handlers, since: "e1:3" });
  rig.socket.welcome();
  expect(rig.socket.subscribes()).toMatchObject([{ since: "e1:3" }]);
  rig.socket.subscribed(5);
  rig.socket.event(4);
  expect(watched.offsets).toEqual([4]);
});

test("what has expired meanwhile is named, with the state", async () => {
  const watched = new Watched();
  const rig = scripted();
  const watch = rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(5);
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  second.subscribed(40, { recovered: false });
  second.says("gap", { from: 6, to: 30, reason: "expired", snapshot: snapshot("t", 40) }, "t");
  for (let offset = 31; offset <= 41; offset++) second.event(offset);
  expect(watched.gaps).toMatchObject([{ from: 6, to: 30, reason: "expired" }]);
  expect(watched.violations).toEqual([]);
  expect(watched.expected).toBe(42);
  expect(watch.task?.offset).toBe(41);
});

test("a server that has lost its memory starts over", async () => {
  const watched = new Watched();
  const rig = scripted();
  const watch = rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(5);
  rig.socket.breaks();
  const second = await rig.next();
  second.welcome();
  second.subscribed(2, { epoch: "e2", recovered: false });
  second.says("reset", { reason: "epoch_changed", epoch: "e2", offset: 0, snapshot: snapshot("t", 2, "e2") }, "t");
  second.event(1);
  second.event(2);
  second.event(3);
  expect(watched.offsets).toEqual([1, 2, 3]);
  expect(watched.violations).toEqual([]);
  expect(watch.position).toEqual({ epoch: "e2", offset: 3 });
  second.breaks();
  const third = await rig.next();
  third.welcome();
  expect(third.subscribes()).toMatchObject([{ since: "e2:3" }]);
});

test("a hole on one connection is asked for again; if it stays, it is named", async () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.event(1);
  rig.socket.event(4);
  expect(rig.socket.subscribes().at(-1)).toMatchObject({ since: "e1:1" });
  // Events that arrive before the answer are sent again after it.
  rig.socket.event(5);
  rig.socket.subscribed(5);
  for (const offset of [2, 3, 4, 5]) rig.socket.event(offset);
  expect(watched.offsets).toEqual([1, 2, 3, 4, 5]);

  rig.socket.event(9);
  rig.socket.subscribed(9);
  rig.socket.event(9);
  expect(watched.gaps).toMatchObject([{ from: 6, to: 8, reason: "missed" }]);
  expect(watched.offsets.at(-1)).toBe(9);
  expect(watched.violations).toEqual([]);
});

test("a heartbeat that knows of more than came has it sent again", async () => {
  const watched = new Watched();
  const rig = scripted();
  rig.client.watchTask("t", watched.handlers);
  rig.socket.welcome();
  rig.socket.subscribed(3);
  rig.socket.says("heartbeat", { heads: { t: 3, other: 9 } });
  expect(rig.socket.subscribes()).toHaveLength(1);
  rig.socket.says("heartbeat", { heads: { t: 5 } });
  expect(rig.socket.subscribes().at(-1)).toMatchObject({ since: "e1:3" });
  rig.socket.subscribed(5);
  rig.socket.event(4);
  rig.socket.event(5);
  expect(watched.offsets).toEqual([4, 5]);
  expect(watched.violations).toEqual([]);
});

test("a known client continues with its token, and only at the place it asks for", async () => {
  const watched = new Watched();
  const rig = scripted({ clientId: "laptop" });
  rig.client.watchTask("t", watched.handlers);
  rig.client.watchPattern("x-*");
  expect(rig.socket.url.searchParams.get("client_id")).toBe("laptop");
  rig.socket.welcome();
  rig.socket.subscribed(1);
  rig.socket.breaks();
  const second = await rig.next();
  expect(second.url.search).toBe("?client_id=c&resume_token=t");
  second.welcome();
  // The server itself continues at the old connection's position, which does not count.
  second.says("subscribed", { task_id: "t", epoch: "e1", offset: 4, recovered: true, snapshot: snapshot("t", 4) }, "t");
  second.event(3);
  expect(second.sent.filter(({ pattern }) => pattern).map(({ type }) => type)).toEqual(["unsubscribe", "subscribe"]);
  second.subscribed(4);
  for (const offset of [2, 3, 4]) second.event(offset);
  await settle();
  expect(watched.offsets).toEqual([2, 3, 4]);
  expect(watched.violations).toEqual([]);
});
