// @vitest-environment jsdom
/** The hook and the panel, as React renders them. */

import { act, StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TaskDetailPanel } from "../src/panel/TaskDetailPanel.js";
import { useTask, type UseTask, type UseTaskOptions } from "../src/react/useTask.js";
import { scripted } from "./support/scripted.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let box: HTMLElement;
let complaints: unknown[];

beforeEach(() => {
  vi.useFakeTimers();
  complaints = [];
  vi.spyOn(console, "error").mockImplementation((...text) => void complaints.push(text));
  box = document.body.appendChild(document.createElement("div"));
  root = createRoot(box);
});
afterEach(() => {
  vi.useRealTimers();
  expect(complaints).toEqual([]);
  box.remove();
});

/** Lets React draw one frame. */
const frame = () => act(() => vi.advanceTimersByTimeAsync(20));

function probe(rig: ReturnType<typeof scripted>) {
  const seen = { renders: 0, live: null as UseTask | null };
  function Probe({ taskId = "t", ...options }: { taskId?: string } & UseTaskOptions) {
    seen.live = useTask(taskId, { client: rig.client, ...options });
    seen.renders++;
    return null;
  }
  return { seen, Probe };
}

async function joined(rig: ReturnType<typeof scripted>, offset = 0) {
  await act(async () => {
    rig.socket.welcome();
    rig.socket.subscribed(offset);
  });
  await frame();
}

test("a StrictMode double mount opens one socket and subscribes once", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  await act(async () => root.render(<StrictMode><Probe /></StrictMode>));
  await joined(rig);
  expect(rig.sockets).toHaveLength(1);
  expect(rig.socket.subscribes()).toHaveLength(1);
  expect(seen.live!.status.state).toBe("connected");
  await act(async () => root.unmount());
  await vi.advanceTimersByTimeAsync(1_000);
  expect(rig.socket.closed).toEqual({ code: 1000 });
  expect(rig.sockets).toHaveLength(1);
});

test("a thousand events in one tick are all there, after one render", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  const told: number[] = [];
  await act(async () => root.render(<Probe maxEvents={2_000} onEvent={({ offset }) => told.push(offset)} />));
  await joined(rig);
  const before = seen.renders;
  await act(async () => {
    for (let offset = 1; offset <= 1_000; offset++) rig.socket.event(offset, "progress_update", { progress: offset / 10, message: `at ${offset}` });
  });
  await frame();
  expect(seen.renders - before).toBe(1);
  expect(seen.live!.events.map(({ offset }) => offset)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1));
  expect(told).toHaveLength(1_000);
  expect(seen.live).toMatchObject({ progress: 100, message: "at 1000" });
});

test("the list of events is bounded, also while no frame is drawn", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  await act(async () => root.render(<Probe maxEvents={50} />));
  await joined(rig);
  for (let offset = 1; offset <= 10_000; offset++) rig.socket.event(offset);
  await frame();
  expect(seen.live!.timeline).toHaveLength(50);
  expect(seen.live!.events.at(-1)!.offset).toBe(10_000);
});

test("handlers are those of the last render", async () => {
  const rig = scripted();
  const { Probe } = probe(rig);
  const told: string[] = [];
  let again: (count: number) => void;
  function Parent() {
    const [count, setCount] = useState(1);
    again = setCount;
    return <Probe onEvent={({ offset }) => told.push(`render ${count}: ${offset}`)} />;
  }
  await act(async () => root.render(<Parent />));
  await joined(rig);
  await act(async () => rig.socket.event(1));
  await act(async () => again(2));
  await act(async () => rig.socket.event(2));
  expect(told).toEqual(["render 1: 1", "render 2: 2"]);
  // New functions do not cause a new subscription.
  expect(rig.socket.subscribes()).toHaveLength(1);
});

test("after unmount nothing is called and nothing is set", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  const told: number[] = [];
  await act(async () => root.render(<Probe onEvent={({ offset }) => told.push(offset)} />));
  await joined(rig);
  await act(async () => root.render(<></>));
  const before = seen.renders;
  rig.socket.event(1);
  rig.socket.breaks();
  await frame();
  expect(told).toEqual([]);
  expect(seen.renders).toBe(before);
});

test("another task: the old one is left, the new one watched, over the same socket", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  await act(async () => root.render(<Probe taskId="t" />));
  await joined(rig, 7);
  await act(async () => root.render(<Probe taskId="u" />));
  expect(seen.live!.task).toBeNull();
  await act(async () => rig.socket.subscribed(3, { task: "u" }));
  rig.socket.event(8);
  rig.socket.event(4, "log", { message: "u" }, "u");
  await frame();
  expect(seen.live!.task).toMatchObject({ task_id: "u", offset: 4 });
  expect(seen.live!.events).toMatchObject([{ task_id: "u" }]);
  expect(rig.sockets).toHaveLength(1);
  expect(rig.socket.sent).toContainEqual(expect.objectContaining({ type: "unsubscribe", task_id: "t" }));
});

test("two components share one subscription", async () => {
  const rig = scripted();
  const { Probe } = probe(rig);
  await act(async () => root.render(<><Probe history={0} /><Probe history={0} /></>));
  await joined(rig);
  expect(rig.socket.subscribes()).toHaveLength(1);
});

test("gaps stand in the list where they fell", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  await act(async () => root.render(<Probe history={0} />));
  await joined(rig);
  rig.socket.event(1);
  rig.socket.says("gap", { from: 2, to: 9, reason: "conflated" }, "t");
  rig.socket.event(10);
  await frame();
  expect(seen.live!.timeline.map((entry) => entry.event_type)).toEqual(["log", "gap", "log"]);
  expect(seen.live!.gaps).toMatchObject([{ from: 2, to: 9 }]);
});

test("tool calls and commands are followed from start to end", async () => {
  const rig = scripted();
  const { seen, Probe } = probe(rig);
  await act(async () => root.render(<Probe history={0} />));
  await joined(rig);
  rig.socket.event(1, "task_started", {});
  rig.socket.event(2, "tool_call_started", { tool_call_id: "c1", tool: "shell", input: { x: 1 } });
  rig.socket.event(3, "tool_call_started", { tool_call_id: "c2", tool: "search" });
  rig.socket.event(4, "tool_call_failed", { tool_call_id: "c1", error: "no" });
  rig.socket.event(5, "command_requested", { command_id: "k1", command: "cancel", by: "me" });
  rig.socket.event(6, "command_rejected", { command_id: "k1", reason: "busy" });
  await frame();
  expect(seen.live!.toolCalls).toMatchObject([
    { id: "c1", tool: "shell", state: "failed", error: "no", input: { x: 1 } },
    { id: "c2", tool: "search", state: "running" },
  ]);
  expect(seen.live!.commands).toMatchObject([{ command: "cancel", state: "rejected", reason: "busy", offset: 5 }]);
});

test("the panel says how it stands, in words and to those who do not see it", async () => {
  const rig = scripted();
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} />));
  await joined(rig);
  rig.socket.event(1, "task_started", { name: "Build" });
  rig.socket.event(2, "progress_update", { progress: 40, message: "linking" });
  await frame();
  const bar = box.querySelector("[role=progressbar]")!;
  expect(bar.getAttribute("aria-valuenow")).toBe("40");
  expect(bar.getAttribute("aria-label")).toBe("Progress of Build");
  expect(box.textContent).toContain("linking");
  expect(box.textContent).toContain("connected");
  await act(async () => rig.socket.goingAway("after", 3_000));
  await act(async () => rig.socket.breaks(1012));
  await frame();
  expect(box.textContent).toContain("reconnecting in 3 s");
});

test("a command shows that it was asked for, and what the agent says", async () => {
  const rig = scripted();
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} />));
  await joined(rig);
  rig.socket.event(1, "task_started", {});
  await frame();
  const button = box.querySelector<HTMLButtonElement>("[data-command=cancel]")!;
  await act(async () => button.click());
  expect(rig.socket.sent.at(-1)).not.toMatchObject({ command: "cancel" });
  await act(async () => button.click());
  const { ref } = rig.socket.sent.at(-1);
  await act(async () => rig.socket.says("ack", { ref, epoch: "e1", offset: 2, duplicate: false }, "t"));
  expect(box.textContent).toContain("Cancel: asked, no answer yet");
  rig.socket.event(2, "command_requested", { command_id: "k", command: "cancel", by: "me" });
  rig.socket.event(3, "command_accepted", { command_id: "k" });
  await frame();
  expect(box.textContent).toContain("Cancel: accepted");
  for (let click = 0; click < 2; click++) await act(async () => button.click());
  await act(async () => rig.socket.says("error", { ref: rig.socket.sent.at(-1).ref, code: "forbidden", message: "not yours" }));
  expect(box.textContent).toContain("Cancel: not asked: not yours");
});
