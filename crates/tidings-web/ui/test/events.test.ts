/** `for await (const event of client.events(...))`. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scripted, settle } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function looping(options: { history?: number; onGap?: (gap: any) => void } = {}) {
  const rig = scripted({ linger: 0 });
  const stop = new AbortController();
  const offsets: number[] = [];
  const loop = (async () => {
    for await (const event of rig.client.events("t", { ...options, signal: stop.signal })) offsets.push(event.offset);
  })();
  return { rig, stop, offsets, loop };
}

test("events come in order until the signal aborts, and then nothing is watched", async () => {
  const { rig, stop, offsets, loop } = looping();
  await settle();
  rig.socket.welcome();
  rig.socket.subscribed(2);
  for (const offset of [3, 4, 5]) rig.socket.event(offset);
  await settle();
  expect(offsets).toEqual([3, 4, 5]);
  stop.abort();
  await loop;
  await settle();
  expect(rig.client.status.state).toBe("idle");
});

test("gaps are told before the event that follows them", async () => {
  const told: string[] = [];
  const { rig, offsets, stop, loop } = looping({ onGap: ({ from, to }) => told.push(`${from}-${to} after ${offsets.length}`) });
  await settle();
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.event(1);
  rig.socket.says("gap", { from: 2, to: 9, reason: "conflated" }, "t");
  rig.socket.event(10);
  await settle();
  expect([told, offsets]).toEqual([["2-9 after 1"], [1, 10]]);
  stop.abort();
  await loop;
});

test("a refusal ends the loop with its reason", async () => {
  const { rig, loop } = looping();
  const ended = loop.catch((error) => error.code);
  await settle();
  rig.socket.welcome();
  rig.socket.says("error", { ref: rig.socket.subscribes()[0].ref, code: "forbidden", message: "not you" });
  expect(await ended).toBe("forbidden");
});

test("a loop that is slow holds a bounded number of events, and misses none", async () => {
  const rig = scripted({ linger: 10_000 });
  const events = rig.client.events("t");
  const first = events.next();
  await settle();
  rig.socket.welcome();
  rig.socket.subscribed(0);
  for (let offset = 1; offset <= 5_000; offset++) rig.socket.event(offset);
  const got = [((await first).value as any).offset];
  for (let count = 1; count < 1_000; count++) got.push(((await events.next()).value as any).offset);
  // The limit was reached. The rest is requested when the loop asks for it.
  const next = events.next();
  await settle();
  expect(rig.socket.subscribes().at(-1).since).toBe("e1:1000");
  rig.socket.subscribed(5_000);
  for (let offset = 1_001; offset <= 1_500; offset++) rig.socket.event(offset);
  got.push(((await next).value as any).offset);
  expect(got).toEqual(Array.from({ length: 1_001 }, (_, index) => index + 1));
  await events.return();
});
