import type { TaskError, TaskSnapshot } from "./generated/protocol.js";
import type { TidingsEvent } from "./types.js";

/** Entries of one list in a snapshot. Of more, the oldest are left out. */
const MAX_ENTRIES = 64;

/** Characters of one output. Of more, the end stays. */
const MAX_OUTPUT = 32 * 1024;

type Fields = Record<string, any>;

/** Replaces the entry with the same id where it stands, or adds one at the end. */
function put<T extends object>(list: T[], key: keyof T, entry: T): T[] {
  const at = list.findLastIndex((known) => known[key] === entry[key]);
  if (at >= 0) return list.with(at, entry);
  return [...list, entry].slice(-MAX_ENTRIES);
}

/** Without the entry with this id; the same list if there is none. */
function without<T extends object>(list: T[], key: keyof T, id: unknown): T[] {
  const rest = list.filter((entry) => entry[key] !== id);
  return rest.length === list.length ? list : rest;
}

function percent(data: Fields, known: number | null | undefined): number | null {
  if (data.progress != null) return data.progress;
  const total = data.total ?? known;
  if (!(total > 0) || data.current == null) return null;
  return Math.min(100, Math.max(0, (data.current / total) * 100));
}

function asError(error: TaskError): TaskError {
  return typeof error === "string" ? { message: error } : error;
}

/** What an event of each type makes of a snapshot: the fields that change. */
const rules: Record<string, (task: TaskSnapshot, data: Fields, at: string) => Partial<TaskSnapshot>> = {
  task_started(task, data, at) {
    const over = task.status !== "pending" && task.status !== "running";
    return {
      // A new run: nothing of the old one is left but how many there were.
      ...(over ? cleared : {}),
      run: task.run + 1,
      status: "running",
      started_at: at,
      name: data.name ?? task.name,
      parent_task_id: data.parent_task_id ?? task.parent_task_id,
      total: data.total ?? (over ? undefined : task.total),
    };
  },
  progress_update: (task, data) => ({
    progress: percent(data, task.total) ?? task.progress,
    ...(data.total == null ? {} : { total: data.total }),
    message: data.message ?? task.message,
    stage: data.stage ?? task.stage,
  }),
  task_completed: (_, data, at) => ({ ...ended("completed", at), progress: 100, result: data.result ?? null }),
  task_failed: (_, data, at) => ({ ...ended("failed", at), error: asError(data.error) }),
  task_cancelled: (task, data, at) => ({ ...ended("cancelled", at), message: data.reason ?? task.message }),
  task_stalled: () => ({ stalled: true }),
  step_started: (task, data, at) => ({
    active_steps: put(task.active_steps, "step_id", {
      step_id: data.step_id,
      name: data.name ?? null,
      parent_step_id: data.parent_step_id ?? null,
      started_at: at,
    }),
  }),
  step_completed: (task, data) => ({ active_steps: without(task.active_steps, "step_id", data.step_id) }),
  step_failed: (task, data) => ({ active_steps: without(task.active_steps, "step_id", data.step_id) }),
  agent_status_change: (task, data, at) => ({
    agents: put(task.agents, "agent_id", {
      agent_id: data.agent_id,
      status: data.status,
      message: data.message ?? null,
      updated_at: at,
    }),
  }),
  tool_call_started: (task, data, at) => ({
    active_tool_calls: put(task.active_tool_calls, "tool_call_id", {
      tool_call_id: data.tool_call_id,
      tool: data.tool,
      started_at: at,
    }),
  }),
  tool_call_completed: endOfToolCall,
  tool_call_failed: endOfToolCall,
  output_delta(task, data) {
    const known = task.outputs.findLast((output) => output.output_id === data.output_id);
    const text = ((known?.text ?? "") + data.text).slice(-MAX_OUTPUT);
    return { outputs: put(task.outputs, "output_id", { output_id: data.output_id, text, complete: false }) };
  },
  output_completed(task, data) {
    const known = task.outputs.findLast((output) => output.output_id === data.output_id);
    const text = (data.text ?? known?.text ?? "").slice(-MAX_OUTPUT);
    return { outputs: put(task.outputs, "output_id", { output_id: data.output_id, text, complete: true }) };
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
      requested_at: at,
    }),
  }),
  input_provided: (task, data) => ({ pending_inputs: without(task.pending_inputs, "input_id", data.input_id) }),
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

/** What a new run begins without. */
const cleared = {
  progress: null,
  message: null,
  stage: null,
  finished_at: null,
  stalled: false,
  agents: [],
  active_steps: [],
  active_tool_calls: [],
  pending_inputs: [],
  pending_commands: [],
  outputs: [],
  artifacts: [],
  result: null,
  error: null,
  truncated: false,
} satisfies Partial<TaskSnapshot>;

function ended(status: TaskSnapshot["status"], at: string): Partial<TaskSnapshot> {
  return { status, finished_at: at, active_steps: [], active_tool_calls: [], pending_inputs: [] };
}

function endOfToolCall(task: TaskSnapshot, data: Fields): Partial<TaskSnapshot> {
  return { active_tool_calls: without(task.active_tool_calls, "tool_call_id", data.tool_call_id) };
}

function endOfCommand(task: TaskSnapshot, data: Fields): Partial<TaskSnapshot> {
  return { pending_commands: without(task.pending_commands, "command_id", data.command_id) };
}

/**
 * A task's state after one more event; the given one is not changed.
 *
 * The same as the server's own reduction, but for what does not fit: the server
 * bounds the whole, this each list and each output.
 */
export function reduce(task: TaskSnapshot, event: TidingsEvent): TaskSnapshot {
  const rule = Object.hasOwn(rules, event.event_type) ? rules[event.event_type] : undefined;
  // Requests and answers come from those who watch: no sign that the producer lives.
  const fromWatchers = event.event_type === "command_requested" || event.event_type === "input_provided";
  return {
    ...task,
    stalled: fromWatchers ? task.stalled : false,
    ...rule?.(task, event.data as Fields, event.timestamp),
    offset: event.offset,
    updated_at: event.timestamp,
  };
}
