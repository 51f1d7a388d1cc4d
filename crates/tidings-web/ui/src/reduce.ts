import type { EndedInput, TaskError, TaskSnapshot } from "./generated/protocol.js";
import type { TidingsEvent } from "./types.js";

/** The most entries of one list in a snapshot. If there are more, the oldest are left out. */
const MAX_ENTRIES = 64;

/** The most ended steps, and ended tool calls, to keep. If there are more, those that began first are left out. */
const MAX_ENDED = 32;

/** The most characters of one output. If there are more, the end is kept, and `start` says where it begins. */
const MAX_OUTPUT = 32 * 1024;

/** Questions that ended and are kept. Of more, those that ended first are left out. */
const MAX_ENDED_INPUTS = 16;

/** Bytes of an answer that is kept. */
const MAX_VALUE = 2 * 1024;

const utf8 = new TextEncoder();

type Fields = Record<string, any>;

/** Replaces the entry with the same id in its place, or appends the entry. */
function put<T extends object>(list: T[], key: keyof T, entry: T): T[] {
  const at = list.findLastIndex((known) => known[key] === entry[key]);
  if (at >= 0) return list.with(at, entry);
  return [...list, entry].slice(-MAX_ENTRIES);
}

/** Returns the list without the entry with this id. Returns the same list if there is no such entry. */
function without<T extends object>(list: T[], key: keyof T, id: unknown): T[] {
  const rest = list.filter((entry) => entry[key] !== id);
  return rest.length === list.length ? list : rest;
}

function percent(data: Fields, known: number | null | undefined): number | null {
  if (data.progress != null) return data.progress;
  const total = data.total ?? known;
  if (!(total > 0) || data.current == null) return null;
  // Multiply first: 22 of 40 then gives 55, not 55.00000000000001.
  const percent = (data.current * 100) / total;
  return Math.min(100, Math.max(0, Number.isFinite(percent) ? percent : (data.current / total) * 100));
}

function asError(error: TaskError): TaskError {
  return typeof error === "string" ? { message: error } : error;
}

type Ended = { state: string; ended_at?: string | null };

/** Ends an open entry. */
function end<T extends Ended>(list: T[], key: keyof T, id: unknown, state: string, at: string): T[] {
  const found = list.findLastIndex((entry) => entry[key] === id && entry.state === "running");
  return found < 0 ? list : bounded(list.with(found, { ...list[found]!, state, ended_at: at }));
}

/** Appends an entry that begins. */
function begin<T extends Ended>(list: T[], key: keyof T, entry: T): T[] {
  return bounded([...without(list, key, entry[key]), entry]);
}

/** Ends every open entry. */
function interrupt<T extends Ended>(list: T[], at: string): T[] {
  return bounded(list.map((entry) => (entry.state === "running" ? { ...entry, state: "interrupted", ended_at: at } : entry)));
}

function bounded<T extends Ended>(list: T[]): T[] {
  let excess = list.filter((entry) => entry.state !== "running").length - MAX_ENDED;
  return list.filter((entry) => entry.state === "running" || excess-- <= 0).slice(-MAX_ENTRIES);
}

/** How an event of each type changes a snapshot: the fields that change. */
const rules: Record<string, (task: TaskSnapshot, data: Fields, at: string, place?: number) => Partial<TaskSnapshot>> = {
  task_started(task, data, at) {
    const over = task.status !== "pending" && task.status !== "running";
    return {
      // A new run keeps nothing of the old one but the number of runs.
      ...(over ? cleared : {}),
      run: task.run + 1,
      status: "running",
      started_at: at,
      name: data.name ?? task.name,
      parent_task_id: data.parent_task_id ?? task.parent_task_id,
      total: data.total ?? (over ? undefined : task.total),
    };
  },
  progress_update: (task, data, at) => ({
    progress_at: at,
    progress: percent(data, task.total) ?? task.progress,
    ...(data.total == null ? {} : { total: data.total }),
    message: data.message ?? task.message,
    stage: data.stage ?? task.stage,
  }),
  task_completed: (task, data, at) => ({ ...ended(task, "completed", at), progress: 100, result: data.result ?? null }),
  task_failed: (task, data, at) => ({ ...ended(task, "failed", at), error: asError(data.error) }),
  task_cancelled: (task, data, at) => ({ ...ended(task, "cancelled", at), message: data.reason ?? task.message }),
  task_stalled: () => ({ stalled: true }),
  step_started: (task, data, at) => ({
    steps: begin(task.steps, "step_id", {
      step_id: data.step_id,
      name: data.name ?? null,
      parent_step_id: data.parent_step_id ?? null,
      state: "running",
      started_at: at,
      ended_at: null,
    }),
  }),
  step_completed: (task, data, at) => ({ steps: end(task.steps, "step_id", data.step_id, "completed", at) }),
  step_failed: (task, data, at) => ({ steps: end(task.steps, "step_id", data.step_id, "failed", at) }),
  agent_status_change: (task, data, at) => ({
    agents: put(task.agents, "agent_id", {
      agent_id: data.agent_id,
      status: data.status,
      message: data.message ?? null,
      updated_at: at,
    }),
  }),
  tool_call_started: (task, data, at) => ({
    tool_calls: begin(task.tool_calls, "tool_call_id", {
      tool_call_id: data.tool_call_id,
      tool: data.tool,
      state: "running",
      started_at: at,
      ended_at: null,
    }),
  }),
  tool_call_completed: (task, data, at) => ({
    tool_calls: end(task.tool_calls, "tool_call_id", data.tool_call_id, "completed", at),
  }),
  tool_call_failed: (task, data, at) => ({
    tool_calls: end(task.tool_calls, "tool_call_id", data.tool_call_id, "failed", at),
  }),
  output_delta(task, data, _, place) {
    const { output_id, text } = data;
    const known = task.outputs.findLast((output) => output.output_id === output_id);
    const at = place ?? known?.length ?? 0;
    // Text that is missing before this one stays unknown. Text that is already there is not added
    // again.
    const base = known && at <= known.length ? known : { start: at, length: at, text: "" };
    const fresh = after(text, base.length - at);
    const length = base.length + utf8.encode(fresh).length;
    const output = tail({ output_id, start: base.start, length, text: base.text + fresh, complete: false });
    return { outputs: put(task.outputs, "output_id", output) };
  },
  output_completed(task, data) {
    const { output_id } = data;
    const known = task.outputs.findLast((output) => output.output_id === output_id);
    const base =
      data.text != null
        ? { start: 0, length: utf8.encode(data.text).length, text: data.text as string }
        : (known ?? { start: 0, length: 0, text: "" });
    const { start, length, text } = base;
    return { outputs: put(task.outputs, "output_id", tail({ output_id, start, length, text, complete: true })) };
  },
  artifact: (task, data) => ({
    artifacts: put(task.artifacts, "artifact_id", {
      artifact_id: data.artifact_id,
      name: data.name ?? null,
      media_type: data.media_type ?? null,
      url: data.url ?? null,
      data: data.data ?? null,
    }),
  }),
  input_required: (task, data, at) => ({
    pending_inputs: put(task.pending_inputs, "input_id", {
      input_id: data.input_id,
      prompt: data.prompt,
      schema: data.schema ?? null,
      ...(data.choices && { choices: data.choices }),
      requested_at: at,
      ...(data.expires_in_ms && { expires_at: later(at, data.expires_in_ms) }),
    }),
    ended_inputs: some(without(task.ended_inputs ?? [], "input_id", data.input_id)),
  }),
  input_provided: endOfInput,
  input_expired: endOfInput,
  command_requested: (task, data, at) => ({
    pending_commands: put(task.pending_commands, "command_id", {
      command_id: data.command_id,
      command: data.command,
      args: data.args ?? null,
      by: data.by,
      accepted: false,
      requested_at: at,
    }),
  }),
  command_accepted: (task, data) => ({
    pending_commands: task.pending_commands.map((command) =>
      command.command_id === data.command_id ? { ...command, accepted: true } : command,
    ),
  }),
  command_rejected: endOfCommand,
  command_completed: endOfCommand,
};

/** The fields that a new run resets. */
const cleared = {
  progress: null,
  progress_at: null,
  message: null,
  stage: null,
  finished_at: null,
  stalled: false,
  agents: [],
  steps: [],
  tool_calls: [],
  pending_inputs: [],
  ended_inputs: some<EndedInput>([]),
  pending_commands: [],
  outputs: [],
  artifacts: [],
  result: null,
  error: null,
  truncated: false,
} satisfies Partial<TaskSnapshot>;

function ended(task: TaskSnapshot, status: TaskSnapshot["status"], at: string): Partial<TaskSnapshot> {
  const steps = interrupt(task.steps, at);
  const tool_calls = interrupt(task.tool_calls, at);
  return { status, finished_at: at, steps, tool_calls, pending_inputs: [] };
}

/** Returns the text without its first bytes, which the watcher already has. */
function after(text: string, bytes: number): string {
  return bytes > 0 ? new TextDecoder().decode(utf8.encode(text).subarray(bytes)) : text;
}

/** Cuts the start of an output that is too long, and updates where its text begins. */
function tail<T extends { start: number; text: string }>(output: T): T {
  let cut = output.text.length - MAX_OUTPUT;
  if (cut <= 0) return output;
  // Do not cut within a surrogate pair, which is one character.
  if (/[\udc00-\udfff]/.test(output.text[cut]!)) cut++;
  const start = output.start + utf8.encode(output.text.slice(0, cut)).length;
  return { ...output, start, text: output.text.slice(cut) };
}

/** A list that is left out where it is empty. */
function some<T>(list: T[]): T[] {
  return (list.length > 0 ? list : undefined) as T[];
}

/** The time so many milliseconds later, as the server writes it. */
function later(at: string, ms: number): string {
  return new Date(Date.parse(at) + ms).toISOString();
}

function endOfInput(task: TaskSnapshot, { input_id, by, value }: Fields, ended_at: string): Partial<TaskSnapshot> {
  const rest = without(task.ended_inputs ?? [], "input_id", input_id);
  const fits = by !== undefined && value !== null && utf8.encode(JSON.stringify(value)).length <= MAX_VALUE;
  const ended = { input_id, ...(by !== undefined && { by }), ...(fits && { value }), ended_at };
  return {
    pending_inputs: without(task.pending_inputs, "input_id", input_id),
    ended_inputs: [...rest, ended].slice(-MAX_ENDED_INPUTS),
  };
}

function endOfCommand(task: TaskSnapshot, data: Fields): Partial<TaskSnapshot> {
  return { pending_commands: without(task.pending_commands, "command_id", data.command_id) };
}

/**
 * Returns a task's state after one more event. The given state is not changed.
 *
 * The result equals the server's own state, except for content that does not fit. The server limits
 * the whole snapshot; this function limits each list and each output.
 */
export function reduce(task: TaskSnapshot, event: TidingsEvent): TaskSnapshot {
  const rule = Object.hasOwn(rules, event.event_type) ? rules[event.event_type] : undefined;
  // Watchers send commands and answers, so these do not show that the producer is alive.
  const fromWatchers = /^(command_requested|input_(provided|expired))$/.test(event.event_type);
  return {
    ...task,
    stalled: fromWatchers ? task.stalled : false,
    ...rule?.(task, event.data as Fields, event.timestamp, event.at ?? undefined),
    offset: event.offset,
    updated_at: event.timestamp,
  };
}
