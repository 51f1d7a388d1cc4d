/** @vitest-environment jsdom */

import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Session } from "../src/dashboard/api.js";
import { chosen, Connections, type ConnectionInfo, watches } from "../src/dashboard/Connections.js";
import { PERIOD } from "../src/dashboard/poll.js";

function info(client_id: string, more: Partial<ConnectionInfo> = {}): ConnectionInfo {
  return {
    client_id,
    connected_at: "2026-11-23T04:45:12.123Z",
    remote_addr: "127.0.0.1:1",
    user_agent: null,
    subject: null,
    transport: "websocket",
    subscriptions: [],
    patterns: [],
    delivered: 0,
    received: 0,
    lag: 0,
    blocked: false,
    ...more,
  };
}

let there: ConnectionInfo[];
let asked: string[];
let status: number;
let dead: boolean;
let root: Root;

class Scripted extends Session {
  override async send(method: string, path: string): Promise<Response> {
    asked.push(`${method} ${path}`);
    if (dead) throw new TypeError("Failed to fetch");
    if (method === "DELETE") there = there.filter(({ client_id }) => !path.endsWith(encodeURIComponent(client_id)));
    return new Response(method === "DELETE" ? null : JSON.stringify({ connections: there }), { status: method === "DELETE" ? 204 : status });
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
  document.body.innerHTML = "<div></div>";
  root = createRoot(document.body.firstElementChild!);
  dead = false;
  [there, asked, status] = [[info("laptop"), info("phone", { lag: 7, blocked: true, subject: "ada" })], [], 200];
});
afterEach(() => {
  act(() => root.unmount());
  vi.useRealTimers();
});

const show = async () => {
  await act(async () => root.render(<Connections session={new Scripted()} />));
  await act(() => vi.advanceTimersByTimeAsync(1));
};
const rows = () => [...document.querySelectorAll("tbody tr")].map((row) => row.textContent!);
const button = (name: string) => document.querySelector<HTMLButtonElement>(`button[aria-label="${name}"]`)!;

test("those furthest behind come first, and one can look for anything they say", () => {
  const all = [info("a"), info("b", { lag: 3, patterns: ["build-*"] }), info("c", { lag: 3, connected_at: "2026-11-22T00:00:00.000Z", subject: "Ada" })];
  const ids = (text: string) => chosen(all, text).map(({ client_id }) => client_id);
  expect(ids("")).toEqual(["c", "b", "a"]);
  expect(ids("ada")).toEqual(["c"]);
  expect(ids(" BUILD")).toEqual(["b"]);
});

test("what is watched by a pattern is not listed again", () => {
  const tasks = ["build-1", "x", "y", "z"].map((task_id) => ({ task_id, offset: 1, lag: 0 }));
  expect(watches(info("a", { patterns: ["build-*"], subscriptions: tasks }))).toBe("build-*, x, y and 1 more");
});

test("a second press disconnects, and the list is asked for again", async () => {
  await show();
  expect(rows()[0]).toContain("phone");
  expect(rows()[0]).toContain("7 blocked");
  await act(async () => button("Kick phone").click());
  expect(asked).toEqual(["GET /api/connections"]);
  await act(async () => button("Really? Kick phone").click());
  await act(() => vi.advanceTimersByTimeAsync(1));
  expect(asked).toEqual(["GET /api/connections", "DELETE /api/connections/phone", "GET /api/connections"]);
  expect(rows()).toHaveLength(1);
  await act(() => vi.advanceTimersByTimeAsync(PERIOD));
  expect(asked).toHaveLength(4);
});

test("who may not see them is told", async () => {
  status = 403;
  await show();
  expect(document.querySelector("[role=alert]")!.textContent).toContain("admin");
});

test("when the server does not answer, the list says how old it is, and nobody can be disconnected", async () => {
  await show();
  const cells = () => document.querySelector("tbody")!.textContent;
  dead = true;
  await act(() => vi.advanceTimersByTimeAsync(PERIOD));
  expect(document.querySelector("[role=status]")!.textContent).toMatch(/does not answer, as of \d\d:\d\d:\d\d/);
  expect(document.querySelector("main")!.dataset.stale).toBe("true");
  const before = cells();
  await act(() => vi.advanceTimersByTimeAsync(10 * PERIOD));
  expect(cells()).toBe(before);
  expect(button("Kick phone").getAttribute("aria-disabled")).toBe("true");
  await act(async () => button("Kick phone").click());
  expect(button("Really? Kick phone")).toBeNull();
  dead = false;
  await act(() => vi.advanceTimersByTimeAsync(PERIOD));
  expect(document.querySelector("[role=status]")).toBeNull();
  expect(button("Kick phone").getAttribute("aria-disabled")).toBeNull();
});
