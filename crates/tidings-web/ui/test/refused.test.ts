/** A subscription that is refused temporarily is requested again. One that is refused for good is not. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scripted } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function watched() {
  const rig = scripted();
  const codes: string[] = [];
  rig.client.watchTask("t", { onError: ({ code }) => codes.push(code) });
  rig.socket.welcome();
  const refuse = (code: string) => rig.socket.says("error", { ref: rig.socket.subscribes().at(-1).ref, code, message: "not now" });
  return { rig, codes, refuse };
}

test.each(["unavailable", "rate_limited"])("%s passes: it is tried again on the same connection", async (code) => {
  const { rig, codes, refuse } = watched();
  for (let round = 1; round <= 3; round++) {
    refuse(code);
    expect(codes).toHaveLength(round);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(rig.socket.subscribes()).toHaveLength(round + 1);
  }
  rig.socket.subscribed(4);
  rig.socket.event(5);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(rig.socket.subscribes()).toHaveLength(4);
  expect(rig.sockets).toHaveLength(1);
});

test.each(["forbidden", "invalid_task_id", "too_many_subscriptions"])("%s is for good", async (code) => {
  const { rig, codes, refuse } = watched();
  refuse(code);
  rig.socket.answer = ({ type }) => type === "ping" && rig.socket.says("pong", {});
  await vi.advanceTimersByTimeAsync(120_000);
  expect(codes).toEqual([code]);
  expect(rig.socket.subscribes()).toHaveLength(1);
});

test("a pattern is tried again, and not after it was closed", async () => {
  const rig = scripted();
  const watch = rig.client.watchPattern("*");
  rig.socket.welcome();
  const patterns = () => rig.socket.sent.filter(({ type, pattern }) => type === "subscribe" && pattern);
  const refuse = () => rig.socket.says("error", { ref: patterns().at(-1).ref, code: "rate_limited", message: "slower" });
  refuse();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(patterns()).toHaveLength(2);
  refuse();
  watch.close();
  await vi.advanceTimersByTimeAsync(400);
  expect(patterns()).toHaveLength(2);
});

test("what waits is asked for once after a break, and leaves no timer behind", async () => {
  const { rig, refuse } = watched();
  refuse("unavailable");
  rig.socket.breaks();
  const next = await rig.next();
  next.welcome();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(next.subscribes()).toHaveLength(1);
  next.says("error", { ref: next.subscribes()[0].ref, code: "unavailable", message: "not now" });
  rig.client.close();
  expect(vi.getTimerCount()).toBe(0);
});
