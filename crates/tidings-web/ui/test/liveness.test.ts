/** Whether the other side is alive, in the foreground, in the background and after a sleep. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scripted } from "./support/scripted.js";

/** The time that has passed while no timer fired. */
let passed = 0;

beforeEach(() => {
  vi.useFakeTimers();
  passed = 0;
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + passed);
});
afterEach(() => void vi.useRealTimers());

/** Lets time pass while no timer fires, as in a sleep or a hidden tab. */
function pass(ms: number): void {
  passed += ms;
}

function connected() {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome(10_000);
  rig.socket.subscribed(0);
  const pings = () => rig.socket.sent.filter(({ type }) => type === "ping").length;
  return { rig, pings };
}

test("silence asks for a sign of life, and none ends the connection", async () => {
  const { rig, pings } = connected();
  await vi.advanceTimersByTimeAsync(14_999);
  expect(pings()).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(pings()).toBe(1);
  const dead = rig.socket;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(dead.closed).toBeTruthy();
  expect(rig.client.status.state).toBe("reconnecting");
  expect(rig.client.status.reason).toBe("the server does not answer");
  await rig.next();
  expect(rig.sockets).toHaveLength(2);
});

test("anything at all is a sign of life", async () => {
  const { rig, pings } = connected();
  for (let round = 0; round < 20; round++) {
    await vi.advanceTimersByTimeAsync(14_000);
    if (round % 2) rig.socket.event((round + 1) / 2);
    else rig.socket.says("heartbeat", { heads: {} });
  }
  expect(pings()).toBe(0);
  await vi.advanceTimersByTimeAsync(15_000);
  rig.socket.says("pong", {});
  await vi.advanceTimersByTimeAsync(14_000);
  expect(rig.client.status.state).toBe("connected");
});

test("timers that a hidden tab gets a minute late end nothing", async () => {
  const { rig, pings } = connected();
  // Messages are not delayed in hidden tabs, so a ping is answered.
  rig.socket.answer = ({ type }) => type === "ping" && rig.socket.says("pong", {});
  for (let minute = 0; minute < 10; minute++) {
    // The browser runs no timers for a minute. Then time has advanced, and the due timers fire.
    pass(60_000);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(rig.client.status.state).toBe("connected");
  }
  expect(pings()).toBeGreaterThan(5);
  expect(rig.sockets).toHaveLength(1);
});

test("after a sleep in the middle of a ping, the ping is repeated before anything ends", async () => {
  const { rig, pings } = connected();
  await vi.advanceTimersByTimeAsync(15_000);
  expect(pings()).toBe(1);
  // The lid was closed for an hour, so the timer for the answer is long due.
  pass(3_600_000);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(rig.client.status.state).toBe("connected");
  expect(pings()).toBe(2);
  rig.socket.says("pong", {});
  await vi.advanceTimersByTimeAsync(5_000);
  expect(rig.client.status.state).toBe("connected");
  expect(rig.sockets).toHaveLength(1);
});

test("a connection that died in the sleep is found dead", async () => {
  const { rig } = connected();
  await vi.advanceTimersByTimeAsync(15_000);
  pass(3_600_000);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rig.sockets[0]!.closed).toBeTruthy();
});

test.each([-3_600_000, -30 * 86_400_000, 3_600_000])("a wall clock that is set %i ms off changes nothing", async (ms) => {
  const { rig, pings } = connected();
  vi.setSystemTime(Date.now() + ms);
  await vi.advanceTimersByTimeAsync(14_999);
  expect(pings()).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(pings()).toBe(1);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(rig.client.status.reason).toBe("the server does not answer");
});

test("a heartbeat longer than a timer can wait does not make a loop", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome(2 ** 40);
  rig.socket.subscribed(0);
  const set = vi.spyOn(globalThis, "setTimeout");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(set.mock.calls.length).toBe(0);
  expect(rig.client.status.state).toBe("connected");
});

test("a closed client has no timer left", async () => {
  const { rig } = connected();
  rig.client.close();
  expect(vi.getTimerCount()).toBe(0);
});
