/** Times in words, and the targets of links. */

import { expect, test } from "vitest";
import { webAddress } from "../src/panel/address.js";
import { day, moment, times } from "../src/panel/format.js";
import { plain } from "../src/panel/log/Ansi.js";
import { select } from "../src/dashboard/sorting.js";
import { snapshot } from "./support/scripted.js";

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 29, 12, 0, seconds)).toISOString();
const task = (change: object) => ({ ...snapshot("t", 5), started_at: at(0), progress: 50, ...change });
const now = Date.parse(at(40));

test("what remains follows from the last progress, and other events do not move it", () => {
  expect(times(task({ updated_at: at(30), progress_at: at(30) }), now)).toEqual({ elapsed: 40_000, remaining: 20_000 });
  // A log line arrives, which is no progress.
  expect(times(task({ updated_at: at(39), progress_at: at(30) }), now)).toEqual({ elapsed: 40_000, remaining: 20_000 });
});

test.each([
  ["late beyond its pace", task({ progress_at: at(10) })],
  ["of unknown progress", task({ progress: null, progress_at: at(30) })],
  ["stalled", task({ stalled: true, progress_at: at(30) })],
  ["at its very start", task({ progress: 1, progress_at: at(30) })],
  ["never heard of its progress", task({ progress_at: null })],
  ["ended", task({ status: "failed", finished_at: at(30), progress_at: at(30) })],
])("nothing is promised of a task that is %s", (_, task) => {
  expect(times(task, now).remaining).toBeNull();
});

test("a moment of another day has its date", () => {
  expect(moment(now, now)).not.toContain("-");
  expect(moment(now - 3 * 86_400_000, now)).toContain(day(now - 3 * 86_400_000));
  expect(moment("no time", now)).toContain("–");
});

test.each([
  ["//evil.example/x", "https://evil.example/x", "evil.example"],
  ["https://example.org/a", "https://example.org/a", "example.org"],
  ["/files/a", "http://localhost/files/a", null],
  ["/\\evil.example", "http://evil.example/", "evil.example"],
])("%s leads to %s", (text, href, host) => {
  const found = webAddress(text)!;
  expect(found.href.replace("http://evil.example/x", "https://evil.example/x")).toBe(href);
  expect(found.host).toBe(host);
});

test.each(["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "java\nscript:alert(1)", "files/a", "", "https://", null])("%j leads nowhere", (text) => {
  expect(webAddress(text)).toBeNull();
});

test("escapes and control characters are no part of a text", () => {
  expect(plain("\u001b[31mred\u001b[0m\u001b]8;;http://x\u0007link\u001b]8;;\u0007\u001b[2K\u0000 end\r\n")).toBe("redlink end\n");
  expect(plain("cut \u001b[3")).not.toContain("\u001b");
});

test("the list searches names, messages and errors, and orders as asked", () => {
  const tasks = [
    { ...snapshot("a", 1), name: "Alpha", started_at: at(1), message: "linking" },
    { ...snapshot("b", 1), name: "Beta", started_at: at(9), status: "failed" as const, error: { message: "disk full" } },
    { ...snapshot("c", 1), started_at: at(5), finished_at: at(6), status: "completed" as const },
  ];
  const ids = (text: string, order = "") => select(tasks, { text, status: null, only: null, order, closed: new Set() }).tasks.map(({ task_id }) => task_id);
  expect(ids("LINK")).toEqual(["a"]);
  expect(ids("disk full")).toEqual(["b"]);
  expect(ids("", "newest")).toEqual(["b", "c", "a"]);
  expect(ids("", "failed")[0]).toBe("b");
  expect(ids("", "longest")[0]).toBe("a");
  expect(select(tasks, { text: "", status: "completed", only: null, order: "", closed: new Set() }).tasks.map(({ task_id }) => task_id)).toEqual(["c"]);
  expect(select(tasks, { text: "", status: null, only: new Set(["b"]), order: "", closed: new Set() }).tasks.map(({ task_id }) => task_id)).toEqual(["b"]);
});

test("grouped by parent, children follow their parents, and no task is lost", () => {
  const child = (id: string, parent: string | null) => ({ ...snapshot(id, 1), parent_task_id: parent });
  const tasks = [child("a", null), child("a-1", "z"), child("b", "elsewhere"), child("c-1", "c-2"), child("c-2", "c-1"), child("y", "z"), child("y-1", "y"), child("z", null)];
  const grouped = (text: string, ...closed: string[]) => select(tasks, { text, status: null, only: null, order: "tree", closed: new Set(closed) });
  const { tasks: sorted, depths, children } = grouped("");
  expect(sorted.map(({ task_id }) => task_id)).toEqual(["a", "b", "z", "a-1", "y", "y-1", "c-1", "c-2"]);
  expect(sorted.map(({ task_id }) => depths!.get(task_id))).toEqual([0, 0, 0, 1, 1, 2, undefined, undefined]);
  expect(Object.fromEntries(children)).toMatchObject({ z: 2, y: 1 });
  expect(children.has("a")).toBe(false);
  // Below a closed parent nothing is shown, unless it is searched for.
  const shown = (text: string, ...closed: string[]) => grouped(text, ...closed).tasks.map(({ task_id }) => task_id);
  expect(shown("", "z")).toEqual(["a", "b", "z", "c-1", "c-2"]);
  expect(shown("", "y", "a")).toEqual(["a", "b", "z", "a-1", "y", "c-1", "c-2"]);
  expect(grouped("", "z").children.get("z")).toBe(2);
  expect(shown("y", "z", "y")).toEqual(["y", "y-1"]);
});
