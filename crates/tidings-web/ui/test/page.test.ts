// @vitest-environment jsdom
/** What happens to the page: offline, hidden, cached, resumed. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scripted } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function transition(type: "pagehide" | "pageshow", persisted: boolean): void {
  window.dispatchEvent(Object.assign(new Event(type), { persisted }));
}

async function waitingLong() {
  const rig = scripted();
  const watch = rig.client.watchTask("t");
  rig.socket.welcome();
  rig.socket.subscribed(3);
  for (let attempt = 0; attempt < 7; attempt++) {
    rig.socket.breaks();
    if (attempt < 6) await rig.next();
  }
  expect(rig.client.status.retryAt! - Date.now()).toBe(30_000);
  return { rig, watch };
}

test.each([
  ["the network is back", () => window.dispatchEvent(new Event("online"))],
  ["the tab is looked at again", () => document.dispatchEvent(new Event("visibilitychange"))],
  ["the page thaws", () => document.dispatchEvent(new Event("resume"))],
])("it connects at once when %s", async (_, wake) => {
  const { rig } = await waitingLong();
  const before = rig.sockets.length;
  wake();
  expect(rig.sockets).toHaveLength(before + 1);
  wake();
  expect(rig.sockets).toHaveLength(before + 1);
  rig.socket.welcome();
  expect(rig.socket.subscribes()).toMatchObject([{ since: "e1:3" }]);
});

test("a tab that is hidden is no reason to connect", async () => {
  const { rig } = await waitingLong();
  const before = rig.sockets.length;
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  document.dispatchEvent(new Event("visibilitychange"));
  expect(rig.sockets).toHaveLength(before);
});

test("a laptop that wakes with a dead socket finds out within seconds", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  vi.setSystemTime(Date.now() + 3_600_000);
  document.dispatchEvent(new Event("visibilitychange"));
  expect(rig.socket.sent.at(-1)).toEqual({ type: "ping" });
  await vi.advanceTimersByTimeAsync(5_200);
  expect(rig.sockets).toHaveLength(2);
});

test("offline, the status says so, and it tries all the same: the browser may be wrong", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
  window.dispatchEvent(new Event("offline"));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(rig.client.status.state).toBe("offline");
  await rig.next();
  expect(rig.sockets).toHaveLength(2);
});

test("offline, a connection to this very machine goes on", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  window.dispatchEvent(new Event("offline"));
  rig.socket.says("pong", {});
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rig.client.status.state).toBe("connected");
});

test("out of the back-forward cache it connects at once and goes on where it was", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  const first = rig.socket;
  first.welcome();
  first.subscribed(3);
  transition("pagehide", true);
  expect(first.closed).toBeTruthy();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(rig.sockets).toHaveLength(1);
  transition("pageshow", true);
  expect(rig.sockets).toHaveLength(2);
  rig.socket.welcome();
  expect(rig.socket.subscribes()).toMatchObject([{ since: "e1:3" }]);
});

test("a page that comes and goes without the cache changes nothing", () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  transition("pageshow", false);
  transition("pagehide", false);
  expect(rig.sockets).toHaveLength(1);
  expect(rig.socket.closed).toBeNull();
});

test("a closed client does not listen to the page", async () => {
  const { rig } = await waitingLong();
  const before = rig.sockets.length;
  rig.client.close();
  window.dispatchEvent(new Event("online"));
  transition("pageshow", true);
  expect(rig.sockets).toHaveLength(before);
});
