/** Publishes and commands are answered once, whatever happens to the connection. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TidingsError } from "../src/error.js";
import { customEvent } from "../src/types.js";
import { scripted, settle } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const fails = (promise: Promise<unknown>) => promise.then(() => "taken", (error: TidingsError) => error.code);

test("publishing waits for the server's answer", async () => {
  const rig = scripted();
  const answer = rig.client.publish("t", customEvent("note", { text: "x" }));
  rig.socket.welcome();
  const [sent] = rig.socket.sent;
  expect(sent).toMatchObject({ type: "publish", task_id: "t", event_type: "note", data: { text: "x" } });
  expect(sent.event_id).toMatch(/^\d+-\d+-\d+-\d+$/);
  rig.socket.says("ack", { ref: sent.ref, epoch: "e1", offset: 7, duplicate: false }, "t");
  expect(await answer).toMatchObject({ epoch: "e1", offset: 7 });
});

test("an event is sent again after a break, under the same id and in order", async () => {
  const rig = scripted();
  const first = rig.client.publish("t", customEvent("a", {}));
  const second = rig.client.publish("t", { ...customEvent("b"), event_id: "mine" });
  rig.socket.welcome();
  const before = rig.socket.sent;
  rig.socket.breaks();
  const next = await rig.next();
  next.welcome();
  expect(next.sent).toEqual(before);
  expect(next.sent[1]).toMatchObject({ event_type: "b", event_id: "mine" });
  for (const { ref } of next.sent) next.says("ack", { ref, epoch: "e1", offset: ref, duplicate: true }, "t");
  expect((await first).duplicate).toBe(true);
  expect((await second).duplicate).toBe(true);
});

test("a command is not sent twice: after a break nobody knows, and that is said", async () => {
  const rig = scripted();
  const sent = fails(rig.client.command("t", "cancel", { grace_ms: 5 }));
  rig.socket.welcome();
  expect(rig.socket.sent[0]).toMatchObject({ type: "command", task_id: "t", command: "cancel", args: { grace_ms: 5 } });
  rig.socket.breaks();
  expect(await sent).toBe("connection_lost");
  // A request that was not sent yet waits.
  const waiting = rig.client.command("t", "pause");
  const next = await rig.next();
  next.welcome();
  expect(next.sent).toMatchObject([{ command: "pause" }]);
  next.says("ack", { ref: next.sent[0].ref, epoch: "e1", offset: 3, duplicate: false }, "t");
  expect((await waiting).offset).toBe(3);
});

test("a refusal is the request's own", async () => {
  const rig = scripted();
  const refused = fails(rig.client.publish("t", { event_type: "progress_update", data: {} }));
  const fine = fails(rig.client.publish("t", customEvent("note", {})));
  rig.socket.welcome();
  const [first, second] = rig.socket.sent;
  rig.socket.says("error", { ref: first.ref, code: "invalid_event", message: "no" });
  rig.socket.says("ack", { ref: second.ref, epoch: "e1", offset: 1, duplicate: false }, "t");
  expect(await Promise.all([refused, fine])).toEqual(["invalid_event", "taken"]);
});

test("what is not answered in time fails, and so does what was still open at the end", async () => {
  const rig = scripted({ requestTimeout: 5_000 });
  const late = fails(rig.client.publish("t", customEvent("note", {})));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await late).toBe("timeout");
  const open = fails(rig.client.publish("t", customEvent("note", {})));
  rig.client.close();
  expect(await open).toBe("closed");
  expect(await fails(rig.client.command("t", "cancel"))).toBe("closed");
});

test("what waits is bounded", async () => {
  const rig = scripted();
  const all = Array.from({ length: 1_001 }, () => fails(rig.client.publish("t", customEvent("note", {}))));
  expect(await all.at(-1)).toBe("busy");
  rig.client.close();
  expect(new Set(await Promise.all(all.slice(0, -1)))).toEqual(new Set(["closed"]));
});

test("when all is answered and nothing is watched, the connection closes", async () => {
  const rig = scripted({ linger: 300 });
  const answer = rig.client.publish("t", customEvent("note", {}));
  rig.socket.welcome();
  rig.socket.says("ack", { ref: rig.socket.sent[0].ref, epoch: "e1", offset: 1, duplicate: false }, "t");
  await answer;
  expect(rig.socket.closed).toBeNull();
  await vi.advanceTimersByTimeAsync(300);
  expect(rig.socket.closed).toEqual({ code: 1000 });
  expect(rig.client.status.state).toBe("idle");
  await settle();
});

test("an answer goes out once, and the one that came too late is told so", async () => {
  const rig = scripted();
  const answer = fails(rig.client.answer("t", "deploy", "yes"));
  rig.socket.welcome();
  const [sent] = rig.socket.sent;
  expect(sent).toMatchObject({ type: "answer", task_id: "t", input_id: "deploy", value: "yes" });
  rig.socket.says("error", { ref: sent.ref, code: "already_answered", message: "the question `deploy` was answered by ada" });
  expect(await answer).toBe("already_answered");
  const second = fails(rig.client.answer("t", "deploy", "no"));
  rig.socket.breaks();
  expect(await second).toBe("connection_lost");
});
