/** The browser's reduction of events equals the server's. */

import { expect, test } from "vitest";
import type { TaskSnapshot } from "../src/generated/protocol.js";
import { reduce } from "../src/reduce.js";
import { snapshot } from "../test/support/scripted.js";
import { randomFrom } from "../test/support/simulation.js";
import { Server } from "./support/server.js";
import type { TidingsEvent } from "../src/types.js";

/** Returns a random event, with one of a few ids so that events concern the same thing. */
function anyEvent(random: () => number): [string, object] {
  const pick = <T>(...list: T[]): T => list[Math.floor(random() * list.length)]!;
  const maybe = <T>(value: T): T | undefined => (random() < 0.5 ? value : undefined);
  const id = pick("one", "two", "three");
  return pick<[string, object]>(
    ["task_started", { name: maybe(pick("A", "B")), total: maybe(50), parent_task_id: maybe("p") }],
    ["progress_update", { progress: Math.floor(random() * 101), message: maybe("m"), stage: maybe("s") }],
    ["progress_update", { current: Math.floor(random() * 80), total: maybe(pick(0, 40, 80)) }],
    ["step_started", { step_id: id, name: maybe("n"), parent_step_id: maybe("one") }],
    ["step_completed", { step_id: id }],
    ["step_failed", { step_id: id, error: pick<unknown>("text", { message: "m" }, { code: "c", message: "m" }) }],
    ["agent_status_change", { agent_id: id, status: pick("idle", "working", "error"), message: maybe("m") }],
    ["tool_call_started", { tool_call_id: id, tool: "t", input: maybe({ x: 1 }) }],
    ["tool_call_completed", { tool_call_id: id, output: maybe([1]) }],
    ["tool_call_failed", { tool_call_id: id, error: "e" }],
    ["output_delta", { output_id: id, text: pick("a", "bc", "ü") }],
    ["output_completed", { output_id: id, text: maybe("whole") }],
    ["artifact", { artifact_id: id, name: maybe("n"), url: maybe("u"), data: maybe({ y: null }) }],
    ["input_required", { input_id: id, prompt: "p", schema: maybe({ type: "string" }) }],
    ["input_provided", { input_id: id, value: pick<unknown>(1, null, "x"), by: "b" }],
    ["command_requested", { command_id: id, command: "c", by: "b", args: maybe({ z: 1 }) }],
    ["command_accepted", { command_id: id }],
    ["command_rejected", { command_id: id, reason: "r" }],
    ["command_completed", { command_id: id }],
    ["log", { message: "m" }],
    ["my.own", { x: 1 }],
    ["task_completed", { result: maybe({ ok: true }) }],
    ["task_failed", { error: pick<unknown>("text", { code: "c", message: "m" }) }],
    ["task_cancelled", { reason: maybe("r") }],
  );
}

test("over random events, with those that the server refuses left out", async () => {
  const server = await Server.start();
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomFrom(seed);
    const id = `seed-${seed}`;
    const lines = Array.from({ length: 150 }, () => anyEvent(random)).map(([event_type, data]) => JSON.stringify({ event_type, data }));
    await server.post(`/api/tasks/${id}/events`, lines.join("\n"), "application/x-ndjson");
    const { events } = await server.get<{ events: TidingsEvent[] }>(`/api/tasks/${id}/events?since=0&limit=1000`);
    const expected = await server.get<TaskSnapshot>(`/api/tasks/${id}`);
    const start: TaskSnapshot = { ...snapshot(id, 0, expected.epoch), status: "pending", run: 0 };
    const { total, ...state } = JSON.parse(JSON.stringify(events.reduce(reduce, start))) as TaskSnapshot;
    const { total: known, ...rest } = expected;
    expect(state, `seed ${seed}`).toEqual(rest);
    expect(total ?? null, `seed ${seed}: total`).toBe(known ?? null);
    expect(events.length).toBeGreaterThan(50);
  }
  await server.stop();
});
