// @vitest-environment jsdom
/** Trees of tasks, as the panel shows them. */

import { act } from "react";
import { expect, test, vi } from "vitest";
import type { TaskSnapshot } from "../src/generated/protocol.js";
import { TaskDetailPanel } from "../src/panel/TaskDetailPanel.js";
import { ChildrenStore } from "../src/store/children-store.js";
import { box, root } from "./support/drawn.js";
import { scripted, snapshot } from "./support/scripted.js";

async function frame() {
  await act(() => vi.dynamicImportSettled());
  await act(() => vi.advanceTimersByTimeAsync(40));
}

/** A server with these tasks, and the paths that it was asked for. */
function server(tasks: TaskSnapshot[]) {
  const asked: string[] = [];
  const fetch = async (url: URL | RequestInfo) => {
    const { pathname, searchParams, search } = new URL(String(url));
    asked.push(pathname + search);
    const one = /^\/api\/tasks\/([^/]+)$/.exec(pathname)?.[1];
    if (one) {
      const task = tasks.find(({ task_id }) => task_id === one);
      return task ? Response.json(task) : new Response("{}", { status: 404 });
    }
    if (pathname !== "/api/tasks") return Response.json({ events: [], inputs: [], next: null });
    const found = tasks.filter(({ parent_task_id }) => parent_task_id === searchParams.get("parent"));
    const limit = Number(searchParams.get("limit"));
    return Response.json({ tasks: found.slice(0, limit), next: found.length > limit ? found[limit - 1]!.task_id : null });
  };
  return { rig: scripted({ fetch: fetch as typeof globalThis.fetch }), asked };
}

const child = (id: string, parent: string | null, change: Partial<TaskSnapshot> = {}): TaskSnapshot => ({ ...snapshot(id, 1), parent_task_id: parent, ...change });

test("children are listed by pages, each is live, and new ones are found", async () => {
  const tasks = Array.from({ length: 60 }, (_, index) => child(`c-${String(index).padStart(2, "0")}`, "t"));
  const { rig, asked } = server([...tasks, child("other", "u")]);
  const store = new ChildrenStore(rig.client, "t");
  const stop = store.subscribe(() => {});
  await frame();
  rig.socket.welcome();
  expect(asked).toEqual(["/api/tasks?parent=t&limit=50"]);
  expect(store.getSnapshot()).toMatchObject({ more: true, loaded: true, failure: null });
  expect(store.getSnapshot().children).toHaveLength(50);
  rig.socket.subscribed(1, { task: "c-07" });
  rig.socket.event(2, "progress_update", { progress: 40 }, "c-07");
  await frame();
  expect(store.getSnapshot().children[7]).toMatchObject({ task_id: "c-07", progress: 40 });
  store.more();
  await frame();
  expect(store.getSnapshot()).toMatchObject({ more: false });
  expect(store.getSnapshot().children).toHaveLength(60);
  // The live state stays after a page was read again.
  expect(store.getSnapshot().children[7]).toMatchObject({ progress: 40 });
  const before = rig.socket.subscribes("c-07").length;
  store.refresh();
  await frame();
  expect(rig.socket.subscribes("c-07")).toHaveLength(before);
  stop();
  expect(rig.socket.sent.filter(({ type }) => type === "unsubscribe")).toHaveLength(60);
});

test("a list that cannot be read is a failure, and the children known before stay", async () => {
  const tasks = [child("c", "t")];
  const { rig } = server(tasks);
  const store = new ChildrenStore(rig.client, "t");
  store.subscribe(() => {});
  await frame();
  vi.spyOn(rig.client, "fetch").mockResolvedValueOnce(new Response("{}", { status: 503 }));
  store.refresh();
  await frame();
  expect(store.getSnapshot()).toMatchObject({ failure: "HTTP status 503", children: [{ task_id: "c" }] });
  store.refresh();
  await frame();
  expect(store.getSnapshot().failure).toBeNull();
});

test("the panel shows the children with their states, and the path to the top", async () => {
  const { rig } = server([
    child("top", null, { name: "Release" }),
    child("t", "top", { name: "Builds" }),
    child("t-1", "t", { name: "Linux", progress: 30 }),
    child("t-2", "t", { status: "failed", progress: 80 }),
  ]);
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} taskLink={(id, text) => <a href={`/x/${id}`}>{text}</a>} />));
  await act(async () => {
    rig.socket.welcome();
    rig.socket.subscribed(0);
    rig.socket.event(1, "task_started", { name: "Builds", parent_task_id: "top" });
    rig.socket.event(2, "children_update", { pending: 0, running: 1, completed: 0, failed: 1, cancelled: 0, progress: 55 });
  });
  for (let turn = 0; turn < 4; turn++) await frame();
  expect([...box.querySelectorAll(".td-path a")].map((link) => [link.getAttribute("href"), link.textContent])).toEqual([["/x/top", "Release"]]);
  const tree = box.querySelector(".td-tree")!;
  expect(tree.querySelector(".td-tree-counts")!.textContent).toBe("1 failed · 1 running");
  // The parent reports no progress of its own, so its children's is shown.
  expect(box.querySelector(".td-percent")!.textContent).toBe("55 %");
  expect([...tree.querySelectorAll("a")].map((link) => [link.getAttribute("href"), link.textContent])).toEqual([["/x/t-1", "Linux"], ["/x/t-2", "t-2"]]);
  expect([...tree.querySelectorAll(".td-badge")].map(({ textContent }) => textContent)).toEqual(["Running", "Failed"]);
  expect([...tree.querySelectorAll("[role=progressbar]")].map((bar) => bar.getAttribute("aria-valuenow"))).toEqual(["30", "80"]);
});
