// @vitest-environment jsdom
/** Tokens: a new one for every connection, and one request for them at a time. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scripted, settle } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a token goes into the subprotocol, never into the address", async () => {
  const rig = scripted({ token: "abc.DEF-1_2" });
  rig.client.watchTask("t");
  await settle();
  expect(rig.socket.protocols).toEqual(["tidings.v1", "bearer.abc.DEF-1_2"]);
  expect(rig.socket.url.search).toBe("");
});

test("one that a subprotocol cannot hold goes into the query", async () => {
  const rig = scripted({ token: "a b/ü" });
  rig.client.watchTask("t");
  await settle();
  expect(rig.socket.protocols).toEqual(["tidings.v1"]);
  expect(rig.socket.url.searchParams.get("token")).toBe("a b/ü");
});

test("without one, none is sent", async () => {
  const rig = scripted({ token: () => "" });
  rig.client.watchTask("t");
  await settle();
  expect(rig.socket.protocols).toEqual(["tidings.v1"]);
});

test("a token that expires while it waits is renewed once, whoever asks meanwhile", async () => {
  let calls = 0;
  let give: (token: string) => void = () => {};
  const rig = scripted({ token: () => (calls++, new Promise<string>((resolve) => (give = resolve))) });
  rig.client.watchTask("t");
  await settle();
  give("first");
  await settle();
  rig.socket.welcome();
  rig.socket.breaks();
  // The pause ends, and a new token is requested, which takes some time.
  await vi.advanceTimersByTimeAsync(1_000);
  expect(calls).toBe(2);
  window.dispatchEvent(new Event("online"));
  rig.client.reconnect();
  document.dispatchEvent(new Event("visibilitychange"));
  void rig.client.authenticate();
  await settle();
  expect(calls).toBe(2);
  give("second");
  await settle();
  expect(rig.sockets).toHaveLength(2);
  expect(rig.socket.protocols).toContain("bearer.second");
});

test("one that takes long does not pile up, and when it comes it is used", async () => {
  let calls = 0;
  let give: (token: string) => void = () => {};
  const rig = scripted({ token: () => (calls++, new Promise<string>((resolve) => (give = resolve))) });
  rig.client.watchTask("t");
  await vi.advanceTimersByTimeAsync(40_000);
  expect(calls).toBe(1);
  expect(rig.sockets).toHaveLength(0);
  give("late");
  await rig.next();
  expect(rig.sockets).toHaveLength(1);
  expect(rig.socket.protocols).toContain("bearer.late");
});

test("a refused token is renewed at once, a second one after a while, a third is the end", async () => {
  const reasons: string[] = [];
  const rig = scripted({ token: (why) => (reasons.push(why), `token${reasons.length}`) });
  rig.client.watchTask("t");
  await settle();
  const refuse = () => {
    // A proxy may remove the close code, so the error before it must be sufficient.
    rig.socket.says("error", { code: "unauthenticated", message: "expired" });
    rig.socket.goingAway("never");
    rig.socket.breaks(1006);
  };
  refuse();
  expect(rig.client.status.retryAt! - Date.now()).toBe(100);
  await rig.next();
  expect(rig.socket.protocols).toContain("bearer.token2");
  refuse();
  expect(rig.client.status.retryAt! - Date.now()).toBe(1000);
  await rig.next();
  refuse();
  expect(rig.client.status.state).toBe("closed");
  expect(reasons).toEqual(["connect", "refused", "refused"]);
});

test("a token that was accepted forgives the ones before", async () => {
  const rig = scripted({ token: () => "x" });
  rig.client.watchTask("t");
  for (let round = 0; round < 5; round++) {
    await settle();
    rig.socket.breaks(4401);
    await rig.next();
    rig.socket.welcome();
    rig.socket.breaks();
    await rig.next();
  }
  expect(rig.client.status.state).toBe("connecting");
});

test("a fixed token that is refused is not tried again", async () => {
  const rig = scripted({ token: "fixed" });
  rig.client.watchTask("t");
  await settle();
  rig.socket.breaks(4401);
  expect(rig.client.status).toMatchObject({ state: "closed", code: 4401 });
});

test("no token at all is tried again", async () => {
  let calls = 0;
  const rig = scripted({
    token: async () => {
      if (++calls === 1) throw new Error("the identity server is down");
      return "good";
    },
  });
  rig.client.watchTask("t");
  await settle();
  expect(rig.client.status).toMatchObject({ state: "reconnecting" });
  expect(rig.client.status.reason).toContain("the identity server is down");
  await rig.next();
  expect(rig.socket.protocols).toContain("bearer.good");
});

test("a newer token goes to the server on the same connection", async () => {
  const rig = scripted({ token: () => "renewed" });
  rig.client.watchTask("t");
  await settle();
  rig.socket.welcome();
  rig.socket.answer = ({ type, ref, token }) => {
    if (type === "authenticate" && token === "bad") rig.socket.says("error", { ref, code: "unauthenticated", message: "expired" });
    if (type === "ping") rig.socket.says("pong", { ref });
  };
  await rig.client.authenticate();
  await rig.client.authenticate("given");
  expect(rig.socket.sent.filter(({ type }) => type === "authenticate")).toMatchObject([{ token: "renewed" }, { token: "given" }]);
  await expect(rig.client.authenticate("bad")).rejects.toMatchObject({ code: "unauthenticated" });
  // The old token stays valid: this is a break, not a refusal.
  rig.socket.breaks();
  expect(rig.client.status).toMatchObject({ state: "reconnecting", code: 1006 });
  await rig.client.authenticate("for the next");
  expect(rig.client.status.state).toBe("reconnecting");
});

test("a task that a newer token does not allow any more ends with a word", async () => {
  const rig = scripted({ token: "x" });
  const told: unknown[] = [];
  rig.client.watchTask("t", { onError: ({ code }) => told.push(code), onEvent: ({ offset }) => told.push(offset) });
  await settle();
  rig.socket.welcome();
  rig.socket.subscribed(0);
  rig.socket.says("unsubscribed", { task_id: "t", reason: "forbidden" }, "t");
  rig.socket.event(1);
  expect(told).toEqual(["forbidden"]);
});
