import type { Json, TaskError, TaskSnapshot } from "../generated/protocol.js";
import type { TidingsEvent } from "../types.js";

/** The most tool calls and commands to keep. */
const MAX_ITEMS = 200;

/** A tool call, from its start to its end. */
export interface ToolCall {
  readonly id: string;
  readonly tool: string;
  /** `interrupted`: the task ended while the call was running. */
  readonly state: "running" | "completed" | "failed" | "interrupted";
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly durationMs: number | null;
  readonly input: Json;
  readonly output: Json;
  readonly error: TaskError | null;
}

/** A command to a task, and the task's answers. */
export interface CommandState {
  readonly id: string;
  readonly command: string;
  readonly by: string;
  readonly state: "requested" | "accepted" | "rejected" | "completed";
  /** Why the command was rejected. */
  readonly reason: string | null;
  /** The offset of the command in the log. */
  readonly offset: number | null;
  /** Whether the task was started anew after the command. */
  readonly past: boolean;
}

type Fields = Record<string, any>;

/** The tool calls and commands that events have reported. A snapshot contains them only while they are open. */
export class Activity {
  readonly #toolCalls = new Map<string, ToolCall>();
  readonly #commands = new Map<string, CommandState>();

  toolCalls(): ToolCall[] {
    return [...this.#toolCalls.values()];
  }

  commands(): CommandState[] {
    return [...this.#commands.values()];
  }

  clear(): void {
    this.#toolCalls.clear();
    this.#commands.clear();
  }

  /** Adds the open entries, and closes entries whose end was missed. */
  snapshot(task: TaskSnapshot): void {
    const open = new Set(task.tool_calls.filter(({ state }) => state === "running").map((call) => call.tool_call_id));
    for (const call of this.#toolCalls.values()) {
      if (call.state === "running" && !open.has(call.id)) this.#call(call.id, { state: "completed" });
    }
    for (const { tool_call_id, tool, started_at, ended_at, state } of task.tool_calls) {
      this.#call(tool_call_id, { tool, startedAt: started_at, state, ...(ended_at && this.#end(started_at, ended_at)) });
    }
    for (const command of task.pending_commands) {
      const state = command.accepted ? "accepted" : "requested";
      this.#command(command.command_id, { command: command.command, by: command.by, state });
    }
  }

  event(event: TidingsEvent): void {
    const data = event.data as Fields;
    const at = event.timestamp;
    switch (event.event_type) {
      case "task_started":
        this.#toolCalls.clear();
        for (const id of this.#commands.keys()) this.#command(id, { past: true });
        break;
      // A task that ends interrupts what it was doing.
      case "task_completed":
      case "task_failed":
      case "task_cancelled":
        for (const { id, state, startedAt } of this.#toolCalls.values()) {
          if (state === "running") this.#call(id, { state: "interrupted", ...this.#end(startedAt, at) });
        }
        break;
      case "tool_call_started":
        this.#toolCalls.delete(data.tool_call_id);
        this.#call(data.tool_call_id, { tool: data.tool, input: data.input ?? null, startedAt: at });
        break;
      case "tool_call_completed":
        this.#ended(data, at, { state: "completed", output: data.output ?? null });
        break;
      case "tool_call_failed":
        this.#ended(data, at, { state: "failed", error: data.error });
        break;
      case "command_requested":
        this.#command(data.command_id, { command: data.command, by: data.by, offset: event.offset, past: false });
        break;
      case "command_accepted":
        this.#command(data.command_id, { state: "accepted" });
        break;
      case "command_rejected":
        this.#command(data.command_id, { state: "rejected", reason: data.reason });
        break;
      case "command_completed":
        this.#command(data.command_id, { state: "completed" });
    }
  }

  #ended(data: Fields, at: string, change: Partial<ToolCall>): void {
    const { endedAt, durationMs } = this.#end(this.#toolCalls.get(data.tool_call_id)?.startedAt, at);
    this.#call(data.tool_call_id, { ...change, endedAt, durationMs: data.duration_ms ?? durationMs });
  }

  #end(startedAt: string | null | undefined, endedAt: string): Pick<ToolCall, "endedAt" | "durationMs"> {
    return { endedAt, durationMs: startedAt ? Date.parse(endedAt) - Date.parse(startedAt) : null };
  }

  #call(id: string, change: Partial<ToolCall>): void {
    const known = this.#toolCalls.get(id);
    const fresh: ToolCall = {
      id,
      tool: "unknown tool",
      state: "running",
      startedAt: null,
      endedAt: null,
      durationMs: null,
      input: null,
      output: null,
      error: null,
    };
    this.#toolCalls.set(id, { ...(known ?? fresh), ...change });
    trim(this.#toolCalls);
  }

  #command(id: string, change: Partial<CommandState>): void {
    const known = this.#commands.get(id);
    const fresh: CommandState = { id, command: "", by: "", state: "requested", reason: null, offset: null, past: false };
    this.#commands.set(id, { ...(known ?? fresh), ...change });
    trim(this.#commands);
  }
}

function trim(map: Map<string, unknown>): void {
  while (map.size > MAX_ITEMS) map.delete(map.keys().next().value!);
}
