import type { ChildrenState, EndedInput, TaskError, TaskSnapshot } from "./generated/protocol.js";
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

/** The bytes of a text. */
const size = (text: string) => utf8.encode(text).length;

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

/** Returns whether a task has completed, failed or been cancelled. */
function isOver({ status }: TaskSnapshot): boolean {
  return /ed$/.test(status);
}

function percent(data: Fields, known: number | null | undefined): number | null {
  if (data.progress != null) return data.progress;
  const total = data.total ?? known;
  if (!(total > 0) || data.current == null) return null;
  // Nine decimals leave out what division adds: 22 of 40 gives 55, not 55.00000000000001.
  return Math.round(Math.min(100, Math.max(0, (data.current / total) * 100)) * 1e9) / 1e9;
}

function asError(error: TaskError): TaskError {
  return typeof error === "string" ? { message: error } : error;
}

type Ended = { state: string; ended_at?: string | null };

/** How an event changes a snapshot: the fields that change. */
type Rule = (task: TaskSnapshot, data: Fields, at: string, place?: number) => Partial<TaskSnapshot>;

/** The rule for an entry that replaces the one with the same id. */
function puts(name: "agents" | "artifacts" | "pending_commands", key: string, rest: (data: Fields, at: string) => object): Rule {
  return (task, data, at) => ({ [name]: put(task[name] as Fields[], key, { [key]: data[key], ...rest(data, at) }) });
}

/** The lists of what begins and ends. */
type Work = "steps" | "tool_calls";

/** The rule for the begin of an entry. */
function begins(name: Work, key: string, rest: (data: Fields) => object): Rule {
  return (task, data, at) => ({
    [name]: bounded([
      ...without(task[name] as Fields[], key, data[key]),
      { [key]: data[key], ...rest(data), state: "running", started_at: at, ended_at: null },
    ]),
  });
}

/** The rule for the end of an open entry. */
function ends(name: Work, key: string, state: string): Rule {
  return (task, data, at) => {
    const list = task[name] as Fields[];
    const found = list.findLastIndex((entry) => entry[key] === data[key] && entry.state === "running");
    return found < 0 ? {} : { [name]: bounded(list.with(found, { ...list[found], state, ended_at: at })) };
  };
}

/** Ends every open entry. */
function interrupt<T extends Ended>(list: T[], at: string): T[] {
  return bounded(list.map((entry) => (entry.state === "running" ? { ...entry, state: "interrupted", ended_at: at } : entry)));
}

function bounded<T extends Fields>(list: T[]): T[] {
  let excess = list.filter((entry) => entry.state !== "running").length - MAX_ENDED;
  return list.filter((entry) => entry.state === "running" || excess-- <= 0).slice(-MAX_ENTRIES);
}

/** The rules of all event types that change more than the offset and the time. */
const rules: Record<string, Rule> = {
  // Types such as `constructor` have no rule.
  __proto__: null as never,
  task_started(task, data, at) {
    const over = isOver(task);
    return {
      // A new run keeps nothing of the old one but the number of runs. Children are other
      // tasks: they do not start over with their parent.
      ...(over ? { ...cleared, progress: task.children?.progress ?? null } : {}),
      run: task.run + 1,
      status: "running",
      started_at: at,
      name: data.name ?? task.name,
      parent_task_id: data.parent_task_id ?? task.parent_task_id,
      weight: data.weight ?? task.weight,
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
  children_update: (task, { progress = null, ...counts }, updated_at) => ({
    children: (Object.values(counts).some(Boolean) ? { ...counts, progress, updated_at } : undefined) as ChildrenState,
    // A task's own word wins over its children's, and a completed task is at 100 per cent.
    progress: task.progress_at || task.status === "completed" ? task.progress : progress,
  }),
  step_started: begins("steps", "step_id", ({ name = null, parent_step_id = null }) => ({ name, parent_step_id })),
  step_completed: ends("steps", "step_id", "completed"),
  step_failed: ends("steps", "step_id", "failed"),
  agent_status_change: puts("agents", "agent_id", ({ status, message = null }, updated_at) => ({ status, message, updated_at })),
  tool_call_started: begins("tool_calls", "tool_call_id", ({ tool }) => ({ tool })),
  tool_call_completed: ends("tool_calls", "tool_call_id", "completed"),
  tool_call_failed: ends("tool_calls", "tool_call_id", "failed"),
  output_delta(task, data, _, place) {
    const { output_id, text } = data;
    const known = task.outputs.findLast((output) => output.output_id === output_id);
    const at = place ?? known?.length ?? 0;
    // Text that is missing before this one stays unknown. Text that is already there is not added
    // again.
    const base = known && at <= known.length ? known : { start: at, length: at, text: "" };
    const fresh = after(text, base.length - at);
    const length = base.length + size(fresh);
    const output = tail({ output_id, start: base.start, length, text: base.text + fresh, complete: false });
    return { outputs: put(task.outputs, "output_id", output) };
  },
  output_completed(task, { output_id, text }) {
    const nothing = { start: 0, length: 0, text: "" };
    const known = text == null ? task.outputs.findLast((output) => output.output_id === output_id) : { start: 0, length: size(text), text };
    return { outputs: put(task.outputs, "output_id", tail({ ...(known ?? nothing), output_id, complete: true })) };
  },
  artifact: puts("artifacts", "artifact_id", ({ name = null, media_type = null, url = null, data = null }) => ({ name, media_type, url, data })),
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
  command_requested: puts("pending_commands", "command_id", ({ command, args = null, by }, requested_at) => ({
    command,
    args,
    by,
    accepted: false,
    requested_at,
  })),
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
  const start = output.start + size(output.text.slice(0, cut));
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
  const fits = by !== undefined && value !== null && size(JSON.stringify(value)) <= MAX_VALUE;
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
  const rule = rules[event.event_type];
  // These come from watchers or from other tasks, so they do not show that the producer is alive.
  const fromOthers = /^(command_requested|children_update|input_(provided|expired))$/.test(event.event_type);
  return {
    ...task,
    stalled: fromOthers ? task.stalled : false,
    ...rule?.(task, event.data as Fields, event.timestamp, event.at ?? undefined),
    offset: event.offset,
    updated_at: event.timestamp,
  };
}
