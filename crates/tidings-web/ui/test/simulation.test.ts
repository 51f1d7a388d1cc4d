/** The invariant, for every kind of watcher, over networks that break in every way. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TidingsClient, type TaskWatch } from "../src/websocket.js";
import { Watched } from "./support/checker.js";
import { randomFrom, SimulatedConnection, SimulatedServer } from "./support/simulation.js";

const SEEDS = 500;
const STEPS = 250;
const TASKS = ["a", "b", "c"];

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function run(seed: number): Promise<{ delivered: number; gaps: number }> {
  const random = randomFrom(seed);
  const server = new SimulatedServer(random);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  class Socket extends SimulatedConnection {
    constructor() {
      super(server);
    }
  }
  const client = new TidingsClient({ url: "http://server.test", WebSocket: Socket, random, fallback: false });
  const watched: { taskId: string; watched: Watched; watch: TaskWatch }[] = [];
  const matched = new Map<string, Watched>();
  const of = (id: string) => matched.get(id) ?? matched.set(id, new Watched()).get(id)!;
  const join = () => {
    const taskId = pick(TASKS);
    const kind = pick(["live", "history", "all"] as const);
    const each = new Watched(kind);
    const how = kind === "history" ? { history: 5 } : kind === "all" ? { since: "0" } : {};
    watched.push({ taskId, watched: each, watch: client.watchTask(taskId, { ...each.handlers, ...how }) });
  };
  if (seed % 2) {
    client.watchPattern("*", {
      onSnapshot: (task) => of(task.task_id).handlers.onSnapshot!(task),
      onEvent: (event, counted) => of(event.task_id).handlers.onEvent!(event, counted),
      onGap: (gap, taskId) => of(taskId).handlers.onGap!(gap, taskId),
      onReset: (reset, taskId) => of(taskId).handlers.onReset!(reset, taskId),
    });
  }
  join();
  const connection = () => [...server.connections].at(-1);
  for (let step = 0; step < STEPS; step++) {
    const dice = random();
    if (dice < 0.45) server.publish(pick(TASKS));
    else if (dice < 0.85) connection()?.deliver(Math.ceil(random() * 8));
    else if (dice < 0.9) await vi.advanceTimersByTimeAsync(random() * 4_000);
    else if (dice < 0.94) connection()?.cut();
    else if (dice < 0.97) join();
    else if (dice < 0.975) server.forget();
    else if (dice < 0.985 && watched.length > 1) watched.splice(Math.floor(random() * watched.length), 1)[0]!.watch.close();
    else client.reconnect();
  }
  // The network works again, and every watcher catches up.
  for (let round = 0; round < 40; round++) {
    await vi.advanceTimersByTimeAsync(2_000);
    for (const taskId of TASKS) connection()?.advance(taskId);
    connection()?.deliver(Infinity);
  }
  const all = [...watched.map((each) => each.watched), ...matched.values()];
  expect(all.flatMap(({ violations }) => violations), `seed ${seed}`).toEqual([]);
  for (const [taskId, each] of matched) {
    // Forgotten, and not begun again: nothing is said of it.
    const log = server.logs.get(taskId);
    if (log) expect(each.state, `seed ${seed}: ${taskId} under its pattern, folded`).toEqual(log.state);
  }
  for (const { taskId, watched: each, watch } of watched) {
    expect(each.expected, `seed ${seed}: ${taskId} is at its head`).toBe(server.log(taskId).head + 1);
    expect(watch.task, `seed ${seed}: the state of ${taskId}`).toEqual(server.log(taskId).state);
    expect(each.state, `seed ${seed}: what the watcher of ${taskId} was told, folded`).toEqual(server.log(taskId).state);
  }
  client.close();
  expect(vi.getTimerCount()).toBe(0);
  const sum = (count: (each: Watched) => number) => all.reduce((total, each) => total + count(each), 0);
  return { delivered: sum(({ offsets }) => offsets.length), gaps: sum(({ gaps, resets }) => gaps.length + resets.length) };
}

test(`every offset is delivered or named, over ${SEEDS} seeds`, async () => {
  let [delivered, gaps] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const ran = await run(seed);
    delivered += ran.delivered;
    gaps += ran.gaps;
  }
  // The simulation did deliver events and gaps.
  expect(delivered).toBeGreaterThan(SEEDS * 50);
  expect(gaps).toBeGreaterThan(SEEDS);
}, 180_000);
