/** When the client reconnects, and when it does not. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backoff } from "../src/backoff.js";
import { scripted, settle } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("pauses double up to a bound, with full jitter and a floor", () => {
  const longest = Array.from({ length: 9 }, (_, attempt) => backoff(attempt, () => 1));
  expect(longest).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  expect(backoff(5, () => 0.5)).toBe(8000);
  expect(backoff(5, () => 0)).toBe(100);
  expect(backoff(1e9, () => 1)).toBe(30000);
});

test("a server that is away is tried with growing pauses, and the status says when", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 4; attempt++) {
    rig.socket.breaks();
    expect(rig.client.status).toMatchObject({ state: "reconnecting", code: 1006 });
    const { retryAt } = rig.client.status;
    pauses.push(retryAt! - Date.now());
    await vi.advanceTimersByTimeAsync(retryAt! - Date.now() - 1);
    expect(rig.sockets).toHaveLength(attempt + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(rig.sockets).toHaveLength(attempt + 2);
  }
  expect(pauses).toEqual([500, 1000, 2000, 4000]);
});

test("a connection that lasts begins anew; one that is closed at once does not", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  for (let attempt = 0; attempt < 3; attempt++) {
    rig.socket.welcome();
    rig.socket.breaks();
    await rig.next();
  }
  expect(rig.client.status.attempt).toBe(3);
  rig.socket.welcome();
  await vi.advanceTimersByTimeAsync(6_000);
  rig.socket.breaks();
  expect(rig.client.status.retryAt! - Date.now()).toBe(500);
});

describe("what `going_away` says is done", () => {
  test.each([
    ["never", undefined, 1012, null],
    ["now", undefined, 1012, 100],
    ["after", 1250, 1012, 1250],
    ["after", 0, 1012, 250],
    ["backoff", undefined, 1000, 500],
    // A proxy has removed the code.
    ["after", 3000, 1006, 3000],
  ])("%s %s, closed with %i", (reconnect, after, code, pause) => {
    const rig = scripted();
    rig.client.watchTask("t");
    rig.socket.welcome();
    rig.socket.goingAway(reconnect, after);
    rig.socket.breaks(code);
    const { state, retryAt, reason } = rig.client.status;
    expect(reason).toBe("because");
    if (pause === null) expect({ state, retryAt }).toEqual({ state: "closed", retryAt: null });
    else expect({ state, pause: retryAt! - Date.now() }).toEqual({ state: "reconnecting", pause });
  });
});

describe("without `going_away` the close code tells", () => {
  test.each([1002, 1003, 1007, 1008, 1009, 4401, 4403, 4409])("%i is for good", async (code) => {
    const rig = scripted();
    rig.client.watchTask("t");
    rig.socket.welcome();
    rig.socket.breaks(code, "said so");
    expect(rig.client.status).toMatchObject({ state: "closed", code, reason: "said so" });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(rig.sockets).toHaveLength(1);
  });

  test.each([1001, 1005, 1006, 1011, 1012, 1013, 4429])("%i is tried again after a while", (code) => {
    const rig = scripted();
    rig.client.watchTask("t");
    rig.socket.welcome();
    rig.socket.breaks(code);
    expect(rig.client.status.state).toBe("reconnecting");
    expect(rig.client.status.retryAt! - Date.now()).toBe(500);
  });

  test("4408 is tried again at once, but not again and again", async () => {
    const rig = scripted();
    rig.client.watchTask("t");
    rig.socket.welcome();
    rig.socket.breaks(4408);
    expect(rig.client.status.retryAt! - Date.now()).toBe(100);
    (await rig.next()).welcome();
    rig.socket.breaks(4408);
    expect(rig.client.status.retryAt! - Date.now()).toBe(1000);
  });
});

test("a server that says goodbye and does not close is left", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  rig.socket.goingAway("after", 500);
  const [first] = rig.sockets;
  await vi.advanceTimersByTimeAsync(2_000);
  expect(first!.closed).toBeTruthy();
  expect(rig.client.status.retryAt! - Date.now()).toBe(500);
});

test("a server that takes the connection and says nothing is given up", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rig.sockets[0]!.closed).toBeTruthy();
  expect(rig.client.status).toMatchObject({ state: "reconnecting", reason: "connecting took too long" });
});

test("closed for good, it comes back when asked to", async () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  rig.socket.subscribed(4);
  rig.socket.breaks(4409);
  // Watching another task does not disturb the newer connection.
  rig.client.watchTask("u");
  expect(rig.sockets).toHaveLength(1);
  rig.client.reconnect();
  await settle();
  expect(rig.sockets).toHaveLength(2);
  rig.socket.welcome();
  expect(rig.socket.subscribes("t")).toMatchObject([{ since: "e1:4" }]);
  expect(rig.socket.subscribes("u")).toHaveLength(1);
});

test("what an old socket still says is not heard", async () => {
  const seen: number[] = [];
  const rig = scripted();
  rig.client.watchTask("t", { onEvent: ({ offset }) => seen.push(offset) });
  const old = rig.socket;
  old.welcome();
  old.subscribed(0);
  rig.client.reconnect();
  await settle();
  rig.socket.welcome();
  rig.socket.subscribed(0);
  old.event(1);
  old.breaks();
  rig.socket.event(1);
  expect(seen).toEqual([1]);
  expect(rig.client.status.state).toBe("connected");
});

test("what is not JSON breaks the connection, not the page", () => {
  const rig = scripted();
  rig.client.watchTask("t");
  rig.socket.welcome();
  rig.socket.onmessage!({ data: "{" });
  expect(rig.client.status).toMatchObject({ state: "closed", code: 1002 });
});
