/** Tool calls and commands, as events and snapshots report them. */

import { expect, test } from "vitest";
import { Activity } from "../src/store/activity.js";
import type { TidingsEvent } from "../src/types.js";
import { snapshot } from "./support/scripted.js";

let offset = 0;
const event = (event_type: string, data: object, timestamp = "2026-11-23T09:00:05.000Z") => ({ event_type, data, timestamp, offset: ++offset }) as unknown as TidingsEvent;

const STARTED = event("tool_call_started", { tool_call_id: "c", tool: "grep" }, "2026-11-23T09:00:00.000Z");

test.each([
  ["task_completed", {}],
  ["task_failed", { error: "no" }],
  ["task_cancelled", {}],
])("%s interrupts the calls that are running, and no other", (end, data) => {
  const activity = new Activity();
  activity.event(STARTED);
  activity.event(event("tool_call_started", { tool_call_id: "d", tool: "cat" }));
  activity.event(event("tool_call_completed", { tool_call_id: "d" }));
  activity.event(event(end, data));
  expect(activity.toolCalls()).toMatchObject([
    { id: "c", state: "interrupted", endedAt: "2026-11-23T09:00:05.000Z", durationMs: 5_000 },
    { id: "d", state: "completed" },
  ]);
});

test("a call that a snapshot calls interrupted is that, and has its end", () => {
  const activity = new Activity();
  const call = { tool_call_id: "c", tool: "grep", started_at: "2026-11-23T09:00:00.000Z", ended_at: "2026-11-23T09:00:02.000Z", state: "interrupted" as const };
  activity.snapshot({ ...snapshot("t", 9), status: "failed", tool_calls: [call] });
  expect(activity.toolCalls()).toMatchObject([{ state: "interrupted", endedAt: call.ended_at, durationMs: 2_000 }]);
});

test("a new run makes the commands before it past, also those that are still open", () => {
  const activity = new Activity();
  activity.event(event("command_requested", { command_id: "p", command: "pause", by: "ada" }));
  activity.event(event("command_completed", { command_id: "p" }));
  activity.event(event("command_requested", { command_id: "r", command: "retry", by: "ada" }));
  activity.event(event("task_started", {}));
  activity.event(event("command_completed", { command_id: "r" }));
  activity.event(event("command_requested", { command_id: "q", command: "pause", by: "ada" }));
  expect(activity.commands()).toMatchObject([
    { id: "p", state: "completed", past: true },
    { id: "r", command: "retry", state: "completed", past: true },
    { id: "q", state: "requested", past: false },
  ]);
});
