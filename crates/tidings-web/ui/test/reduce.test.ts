import { expect, test } from "vitest";
import { reduce } from "../src/reduce.js";
import { snapshot } from "./support/scripted.js";
import type { TidingsEvent } from "../src/types.js";

function after(...events: [type: string, data?: object][]) {
  let task = { ...snapshot("t", 0), status: "pending" as const, run: 0 } as ReturnType<typeof snapshot>;
  events.forEach(([event_type, data = {}], index) => {
    const event = { event_type: event_type as never, data: data as TidingsEvent["data"], task_id: "t", offset: index + 1, timestamp: `at ${index + 1}` } as TidingsEvent;
    const before = structuredClone(task);
    const next = reduce(task, event);
    expect(task).toEqual(before);
    task = next;
  });
  return task;
}

test("a task's life", () => {
  const events: [string, object?][] = [
    ["task_started", { name: "Build", total: 50 }],
    ["progress_update", { current: 20, message: "linking" }],
    ["step_started", { step_id: "s", name: "Link" }],
  ];
  expect(after(...events)).toMatchObject({ status: "running", run: 1, name: "Build", progress: 40, message: "linking", steps: [{ step_id: "s", state: "running" }], offset: 3, started_at: "at 1" });
  events.push(["task_failed", { error: "no space" }]);
  expect(after(...events)).toMatchObject({ status: "failed", error: { message: "no space" }, steps: [{ step_id: "s", state: "interrupted", ended_at: "at 4" }], finished_at: "at 4" });
  events.push(["task_started"]);
  expect(after(...events)).toMatchObject({ status: "running", run: 2, name: "Build", progress: null, message: null, error: null, finished_at: null });
});

test("agents, tool calls, commands, inputs and outputs", () => {
  expect(
    after(
      ["agent_status_change", { agent_id: "a", status: "idle" }],
      ["agent_status_change", { agent_id: "b", status: "working" }],
      ["agent_status_change", { agent_id: "a", status: "error", message: "x" }],
      ["tool_call_started", { tool_call_id: "c1", tool: "shell" }],
      ["tool_call_started", { tool_call_id: "c2", tool: "shell" }],
      ["tool_call_failed", { tool_call_id: "c1", error: "x" }],
      ["command_requested", { command_id: "k", command: "cancel", by: "me" }],
      ["command_accepted", { command_id: "k" }],
      ["input_required", { input_id: "i", prompt: "sure?" }],
      ["output_delta", { output_id: "o", text: "one " }],
      ["output_delta", { output_id: "o", text: "two" }],
      ["output_completed", { output_id: "o" }],
    ),
  ).toMatchObject({
    agents: [{ agent_id: "a", status: "error", message: "x" }, { agent_id: "b" }],
    tool_calls: [
      { tool_call_id: "c1", state: "failed" },
      { tool_call_id: "c2", state: "running" },
    ],
    pending_commands: [{ command_id: "k", accepted: true }],
    pending_inputs: [{ input_id: "i" }],
    outputs: [{ start: 0, length: 7, text: "one two", complete: true }],
  });
});

test("a stall is over with the producer's next word, not with a watcher's", () => {
  expect(after(["task_started"], ["task_stalled"], ["command_requested", { command_id: "k", command: "x", by: "y" }]).stalled).toBe(true);
  expect(after(["task_started"], ["task_stalled"], ["log", { message: "back" }]).stalled).toBe(false);
});

test("a merged delta adds only what is not there", () => {
  const words: [string, object][] = [["output_delta", { output_id: "o", text: "wört" }]];
  const task = after(...words);
  const merged = { event_type: "output_delta", task_id: "t", from: 1, offset: 3, at: 0, timestamp: "at 3", data: { output_id: "o", text: "wörter und mehr" } } as unknown as TidingsEvent;
  expect(reduce(task, merged).outputs[0]).toMatchObject({ start: 0, length: 16, text: "wörter und mehr" });
  const later = { ...merged, from: undefined, offset: 9, at: 30, data: { output_id: "o", text: "end" } } as unknown as TidingsEvent;
  expect(reduce(task, later).outputs[0]).toMatchObject({ start: 30, length: 33, text: "end" });
});

test("types that are not known change nothing but the place", () => {
  expect(after(["task_started"], ["constructor"], ["toString"], ["my.own", { x: 1 }])).toMatchObject({ status: "running", offset: 4 });
});

test("what grows is bounded", () => {
  const words = Array.from({ length: 100 }, (): [string, object] => ["output_delta", { output_id: "o", text: "x".repeat(1_000) }]);
  const output = after(...words).outputs[0]!;
  expect(output.text).toHaveLength(32 * 1024);
  expect(output).toMatchObject({ start: 100_000 - 32 * 1024, length: 100_000 });
  const agents = Array.from({ length: 100 }, (_, n): [string, object] => ["agent_status_change", { agent_id: `a${n}`, status: "idle" }]);
  expect(after(...agents).agents).toHaveLength(64);
});
