/* Made from docs/schema by `npm run types`: do not edit. */

/**
 * epoch
 */
export type Epoch = string;
export type Offset = number;
/**
 * an item's id
 */
export type ItemId = string;
/**
 * an agent's status
 */
export type AgentStatus = "idle" | "working" | "waiting" | "error" | "offline";
/**
 * client_id
 */
export type ClientId = string;
/**
 * Why it failed; plain text is read as the message.
 */
export type TaskError =
  | string
  | {
      code?: string | null;
      message: string;
    };
export type Timestamp = string;
/**
 * task_id
 */
export type TaskId = string;
/**
 * an error code
 */
export type ErrorCode =
  | "fenced"
  | "sequence_gap"
  | "invalid_message"
  | "invalid_task_id"
  | "invalid_event"
  | "invalid_transition"
  | "unknown_type"
  | "not_subscribed"
  | "unauthenticated"
  | "forbidden"
  | "rate_limited"
  | "too_many_subscriptions"
  | "too_large"
  | "task_not_found"
  | "position_unknown"
  | "unavailable";
/**
 * event_id
 */
export type EventId = string;
/**
 * source
 */
export type Source = string;
/**
 * event_type
 */
export type EventType = string;
/**
 * the reason of a gap
 */
export type GapReason = "expired" | "overrun" | "conflated" | "epoch_changed" | "ahead";
/**
 * what to do after a close
 */
export type Reconnect = "never" | "now" | "after" | "backoff";
export type Json = unknown;
/**
 * pattern
 */
export type Pattern = string;
/**
 * a task's status
 */
export type TaskStatus = "pending" | "running" | "completed" | "failed" | "cancelled";
/**
 * A message from the server to a client: an event (it has an offset) or a control message.
 */
export type ServerMessage =
  | Event
  | {
      data: ConnectionEstablished;
      event_type: "connection_established";
      task_id?: TaskId;
      timestamp: Timestamp;
    }
  | {
      data: Subscribed;
      event_type: "subscribed";
      task_id?: TaskId;
      timestamp: Timestamp;
    }
  | {
      data: Unsubscribed;
      event_type: "unsubscribed";
      task_id?: TaskId;
      timestamp: Timestamp;
    }
  | {
      data: Gap;
      event_type: "gap";
      task_id?: TaskId;
      timestamp: Timestamp;
    }
  | {
      data: Heartbeat;
      event_type: "heartbeat";
      timestamp: Timestamp;
    }
  | {
      data: Ack;
      event_type: "ack";
      task_id: TaskId;
      timestamp: Timestamp;
    }
  | {
      data: Error;
      event_type: "error";
      timestamp: Timestamp;
    }
  | {
      data: PersonalMessage;
      event_type: "personal_message";
      timestamp: Timestamp;
    }
  | {
      data: Pong;
      event_type: "pong";
      timestamp: Timestamp;
    }
  | {
      data: GoingAway;
      event_type: "going_away";
      timestamp: Timestamp;
    };
/**
 * producer.id
 */
export type ProducerId = string;
/**
 * since
 */
export type Since = string | 0;
/**
 * A message from a client to the server.
 */
export type ClientMessage =
  | {
      ref?: Reference | null;
      type: "ping";
    }
  | {
      data?: Data2;
      /**
       * Makes a retry harmless.
       */
      event_id?: EventId | null;
      event_type: EventType;
      /**
       * Fences off older runs of the same producer.
       */
      producer?: ProducerStamp | null;
      ref?: Reference | null;
      /**
       * Who made the event.
       */
      source?: Source | null;
      /**
       * The task; on `/ws/tasks/{id}` the path's if left out.
       */
      task_id?: TaskId | null;
      type: "publish";
    }
  | {
      /**
       * So many events from before as well.
       */
      history?: number | null;
      /**
       * A prefix of task ids and `*`.
       */
      pattern?: Pattern | null;
      ref?: Reference | null;
      /**
       * Where to go on: a position, or 0 for all that is retained.
       */
      since?: Since | null;
      /**
       * The task; or give a pattern.
       */
      task_id?: TaskId | null;
      type: "subscribe";
    }
  | {
      /**
       * A prefix of task ids and `*`.
       */
      pattern?: Pattern | null;
      ref?: Reference | null;
      /**
       * The task; or give a pattern.
       */
      task_id?: TaskId | null;
      type: "unsubscribe";
    }
  | {
      /**
       * With what.
       */
      args?: Data | null;
      /**
       * What to do: 1 to 64 characters.
       */
      command: string;
      ref?: Reference | null;
      /**
       * The task; on `/ws/tasks/{id}` the path's if left out.
       */
      task_id?: TaskId | null;
      type: "command";
    }
  | {
      ref?: Reference | null;
      token: string;
      type: "authenticate";
    };
/**
 * a log's stream
 */
export type LogStream = "stdout" | "stderr";
/**
 * Data of `progress_update`: `progress` or `current`, or both.
 */
export type ProgressUpdate = ProgressUpdate1 & {
  /**
   * How much is done, in the unit of `total`.
   */
  current?: number | null;
  /**
   * What is being done, for people.
   */
  message?: string | null;
  /**
   * Per cent, 0–100.
   */
  progress?: number | null;
  /**
   * The part of the work that it is in.
   */
  stage?: string | null;
  /**
   * How much there is to do; else as `task_started` said.
   */
  total?: number | null;
};
export type ProgressUpdate1 = {
  [k: string]: unknown | undefined;
};
/**
 * What the standard event types promise of their data. Further fields are allowed and kept.
 */
export type EventData =
  | {
      data: TaskStarted;
      event_type: "task_started";
    }
  | {
      data: ProgressUpdate;
      event_type: "progress_update";
    }
  | {
      data: StepStarted;
      event_type: "step_started";
    }
  | {
      data: StepCompleted;
      event_type: "step_completed";
    }
  | {
      data: StepFailed;
      event_type: "step_failed";
    }
  | {
      data: TaskCompleted;
      event_type: "task_completed";
    }
  | {
      data: TaskFailed;
      event_type: "task_failed";
    }
  | {
      data: TaskCancelled;
      event_type: "task_cancelled";
    }
  | {
      data: AgentStatusChange;
      event_type: "agent_status_change";
    }
  | {
      data: ToolCallStarted;
      event_type: "tool_call_started";
    }
  | {
      data: ToolCallCompleted;
      event_type: "tool_call_completed";
    }
  | {
      data: ToolCallFailed;
      event_type: "tool_call_failed";
    }
  | {
      data: OutputDelta;
      event_type: "output_delta";
    }
  | {
      data: OutputCompleted;
      event_type: "output_completed";
    }
  | {
      data: Artifact;
      event_type: "artifact";
    }
  | {
      data: InputRequired;
      event_type: "input_required";
    }
  | {
      data: InputProvided;
      event_type: "input_provided";
    }
  | {
      data: Data;
      event_type: "task_stalled";
    }
  | {
      data: Log;
      event_type: "log";
    }
  | {
      data: CommandRequested;
      event_type: "command_requested";
    }
  | {
      data: CommandAccepted;
      event_type: "command_accepted";
    }
  | {
      data: CommandRejected;
      event_type: "command_rejected";
    }
  | {
      data: CommandCompleted;
      event_type: "command_completed";
    };

/**
 * Data of `ack`.
 */
export interface Ack {
  duplicate: boolean;
  epoch: Epoch;
  offset: Offset;
  ref?: Reference | null;
}
/**
 * Any JSON of at most 256 bytes; it comes back with the answer.
 */
export interface Reference {
  [k: string]: unknown | undefined;
}
/**
 * A step that has begun and not ended.
 */
export interface ActiveStep {
  /**
   * What it is called.
   */
  name: string | null;
  /**
   * The step that it is a part of.
   */
  parent_step_id: ItemId | null;
  /**
   * When it began.
   */
  started_at: string;
  /**
   * an item's id
   */
  step_id: string;
}
/**
 * A tool call that has begun and not ended.
 */
export interface ActiveToolCall {
  /**
   * When it began.
   */
  started_at: string;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * an item's id
   */
  tool_call_id: string;
}
/**
 * An agent and its last status.
 */
export interface AgentState {
  /**
   * an item's id
   */
  agent_id: string;
  /**
   * More about that.
   */
  message: string | null;
  /**
   * What it does.
   */
  status: "idle" | "working" | "waiting" | "error" | "offline";
  /**
   * Since when.
   */
  updated_at: string;
}
/**
 * A thing that the task has made.
 */
export interface ArtifactState {
  /**
   * an item's id
   */
  artifact_id: string;
  data: unknown;
  /**
   * What it is, such as `image/png`.
   */
  media_type: string | null;
  /**
   * What it is called.
   */
  name: string | null;
  /**
   * Where it is to be had.
   */
  url: string | null;
}
/**
 * Data of `connection_established`; the last four with a task in the path.
 */
export interface ConnectionEstablished {
  client_id: ClientId;
  epoch?: Epoch | null;
  heartbeat_interval_ms: number;
  offset?: Offset | null;
  protocol: string;
  recovered?: boolean | null;
  resume_token: string;
  snapshot?: TaskSnapshot | null;
}
/**
 * A task's state: the reduction of its events up to `offset`.
 */
export interface TaskSnapshot {
  /**
   * Steps begun and not ended.
   */
  active_steps: ActiveStep[];
  /**
   * Tool calls begun and not ended.
   */
  active_tool_calls: ActiveToolCall[];
  /**
   * Its agents, each with its last status.
   */
  agents: AgentState[];
  /**
   * Things that it has made.
   */
  artifacts: ArtifactState[];
  /**
   * epoch
   */
  epoch: string;
  /**
   * Why it failed.
   */
  error: TaskError | null;
  /**
   * When the run ended.
   */
  finished_at: Timestamp | null;
  /**
   * What it is doing; after a cancellation, the reason.
   */
  message: string | null;
  /**
   * What it is called.
   */
  name: string | null;
  /**
   * The last event that is counted in.
   */
  offset: number;
  /**
   * Texts that it has put out.
   */
  outputs: OutputState[];
  /**
   * The task that it is a part of.
   */
  parent_task_id: TaskId | null;
  /**
   * Requests neither rejected nor completed.
   */
  pending_commands: PendingCommand[];
  /**
   * Questions without an answer.
   */
  pending_inputs: PendingInput[];
  /**
   * How far it is, in per cent.
   */
  progress: number | null;
  result: unknown;
  /**
   * How often it was started: 0 before the first time.
   */
  run: number;
  /**
   * The part of the work that it is in.
   */
  stage: string | null;
  /**
   * Nothing was heard from its producer within the lease.
   */
  stalled: boolean;
  /**
   * When the run began.
   */
  started_at: Timestamp | null;
  /**
   * Where it is in its life.
   */
  status: "pending" | "running" | "completed" | "failed" | "cancelled";
  /**
   * task_id
   */
  task_id: string;
  /**
   * How much there is to do, as `task_started` or the last update said; left out while unknown.
   */
  total?: number | null;
  /**
   * Something did not fit and was left out.
   */
  truncated: boolean;
  /**
   * When the last event came.
   */
  updated_at: Timestamp | null;
}
/**
 * A text that the task has put out.
 */
export interface OutputState {
  /**
   * No more will come.
   */
  complete: boolean;
  /**
   * an item's id
   */
  output_id: string;
  /**
   * Its text so far; if it grew too long, the end of it.
   */
  text: string;
}
/**
 * A request neither rejected nor completed.
 */
export interface PendingCommand {
  /**
   * The task has said that it will.
   */
  accepted: boolean;
  args: unknown;
  /**
   * Who asks.
   */
  by: string;
  /**
   * What to do.
   */
  command: string;
  /**
   * an item's id
   */
  command_id: string;
  /**
   * Since when it waits.
   */
  requested_at: string;
}
/**
 * A question without an answer.
 */
export interface PendingInput {
  /**
   * an item's id
   */
  input_id: string;
  /**
   * What to ask.
   */
  prompt: string;
  /**
   * Since when it waits.
   */
  requested_at: string;
  schema: unknown;
}
export interface Data {
  [k: string]: unknown | undefined;
}
/**
 * Data of `error`.
 */
export interface Error {
  code: ErrorCode;
  message: string;
  ref?: Reference | null;
}
/**
 * An event in its task's log: what subscribers get.
 */
export interface Event {
  data: Data1;
  /**
   * The producer's idempotency key.
   */
  event_id?: EventId | null;
  /**
   * What kind of event it is.
   */
  event_type: string;
  /**
   * Its place in the task's log.
   */
  offset: number;
  /**
   * Who made it.
   */
  source?: Source | null;
  /**
   * task_id
   */
  task_id: string;
  /**
   * When the server took it.
   */
  timestamp: string;
}
/**
 * What it says.
 */
export interface Data1 {
  [k: string]: unknown | undefined;
}
/**
 * Data of `gap`: offsets that are not delivered, both ends included.
 */
export interface Gap {
  from: Offset;
  /**
   * The offsets are those of the client's inbox.
   */
  inbox?: boolean;
  reason: GapReason;
  snapshot?: TaskSnapshot | null;
  to: Offset;
}
/**
 * Data of `going_away`, sent before every close by the server.
 */
export interface GoingAway {
  reason: string;
  reconnect: Reconnect;
  reconnect_after_ms?: number | null;
}
/**
 * Data of `heartbeat`: newest offsets by task.
 */
export interface Heartbeat {
  heads: {
    [k: string]: Offset | undefined;
  };
}
/**
 * Data of `personal_message`; the offset is the inbox's.
 */
export interface PersonalMessage {
  data: Data;
  event_type: EventType;
  offset: Offset;
}
/**
 * Data of `pong`.
 */
export interface Pong {
  ref?: Reference | null;
}
/**
 * Data of `subscribed`.
 */
export interface Subscribed {
  epoch?: Epoch | null;
  offset?: Offset | null;
  pattern?: Pattern | null;
  recovered?: boolean | null;
  ref?: Reference | null;
  snapshot?: TaskSnapshot | null;
  task_id?: TaskId | null;
}
/**
 * Data of `unsubscribed`.
 */
export interface Unsubscribed {
  pattern?: Pattern | null;
  ref?: Reference | null;
  task_id?: TaskId | null;
}
/**
 * Which producer publishes, in which run of it, and the number of the event in that run.
 */
export interface ProducerStamp {
  /**
   * Its run: each restart takes a higher one.
   */
  epoch: number;
  /**
   * The producer, the same after it was restarted.
   */
  id: string;
  /**
   * Counts its events within the run, one by one, from wherever it likes.
   */
  seq: number;
}
/**
 * What the event says; `{}` if left out.
 */
export interface Data2 {
  [k: string]: unknown | undefined;
}
/**
 * Data of `agent_status_change`.
 */
export interface AgentStatusChange {
  /**
   * an item's id
   */
  agent_id: string;
  /**
   * More about that, for people.
   */
  message?: string | null;
  /**
   * What it does now.
   */
  status: "idle" | "working" | "waiting" | "error" | "offline";
}
/**
 * Data of `artifact`.
 */
export interface Artifact {
  /**
   * an item's id
   */
  artifact_id: string;
  data?: unknown;
  /**
   * What it is, such as `image/png`.
   */
  media_type?: string | null;
  /**
   * What to call it.
   */
  name?: string | null;
  /**
   * Where it is to be had.
   */
  url?: string | null;
}
/**
 * Data of `command_accepted`.
 */
export interface CommandAccepted {
  /**
   * an item's id
   */
  command_id: string;
}
/**
 * Data of `command_completed`.
 */
export interface CommandCompleted {
  /**
   * an item's id
   */
  command_id: string;
  result?: unknown;
}
/**
 * Data of `command_rejected`.
 */
export interface CommandRejected {
  /**
   * an item's id
   */
  command_id: string;
  /**
   * Why not.
   */
  reason: string;
}
/**
 * Data of `command_requested`.
 */
export interface CommandRequested {
  args?: unknown;
  /**
   * Who asks.
   */
  by: string;
  /**
   * What to do: `cancel`, `pause`, `resume`, or anything the task's agent understands.
   */
  command: string;
  /**
   * an item's id
   */
  command_id: string;
}
/**
 * Data of `input_provided`.
 */
export interface InputProvided {
  /**
   * Who gave it.
   */
  by: string;
  /**
   * an item's id
   */
  input_id: string;
  /**
   * The answer.
   */
  value: {
    [k: string]: unknown | undefined;
  };
}
/**
 * Data of `input_required`.
 */
export interface InputRequired {
  /**
   * an item's id
   */
  input_id: string;
  /**
   * What to ask.
   */
  prompt: string;
  schema?: unknown;
}
/**
 * Data of `log`.
 */
export interface Log {
  /**
   * How grave it is, in the application's words.
   */
  level?: string | null;
  /**
   * The line, or lines.
   */
  message: string;
  /**
   * Where it was written.
   */
  stream?: LogStream | null;
}
/**
 * Data of `output_completed`.
 */
export interface OutputCompleted {
  /**
   * an item's id
   */
  output_id: string;
  /**
   * Its whole text; else it is what the deltas made.
   */
  text?: string | null;
}
/**
 * Data of `output_delta`.
 */
export interface OutputDelta {
  /**
   * an item's id
   */
  output_id: string;
  /**
   * What comes after the text so far.
   */
  text: string;
}
/**
 * Data of `step_completed`.
 */
export interface StepCompleted {
  result?: unknown;
  /**
   * an item's id
   */
  step_id: string;
}
/**
 * Data of `step_failed`.
 */
export interface StepFailed {
  /**
   * Why it failed; plain text is read as the message.
   */
  error:
    | string
    | {
        code?: string | null;
        message: string;
      };
  /**
   * an item's id
   */
  step_id: string;
}
/**
 * Data of `step_started`.
 */
export interface StepStarted {
  /**
   * What to call it.
   */
  name?: string | null;
  /**
   * The step that this one is a part of.
   */
  parent_step_id?: ItemId | null;
  /**
   * an item's id
   */
  step_id: string;
}
/**
 * Data of `task_cancelled`.
 */
export interface TaskCancelled {
  /**
   * Why.
   */
  reason?: string | null;
}
/**
 * Data of `task_completed`.
 */
export interface TaskCompleted {
  result?: unknown;
}
/**
 * Data of `task_failed`.
 */
export interface TaskFailed {
  /**
   * Why it failed; plain text is read as the message.
   */
  error:
    | string
    | {
        code?: string | null;
        message: string;
      };
}
/**
 * Data of `task_started`.
 */
export interface TaskStarted {
  /**
   * Silence for so many milliseconds makes the task stall; for as long again, fail.
   */
  lease_ms?: number | null;
  /**
   * What to call the task.
   */
  name?: string | null;
  /**
   * The task that this one is a part of.
   */
  parent_task_id?: TaskId | null;
  /**
   * How much there is to do, in any unit; `current` in later updates counts in it.
   */
  total?: number | null;
}
/**
 * Data of `tool_call_completed`.
 */
export interface ToolCallCompleted {
  /**
   * How long it took, in milliseconds.
   */
  duration_ms?: number | null;
  output?: unknown;
  /**
   * an item's id
   */
  tool_call_id: string;
}
/**
 * Data of `tool_call_failed`.
 */
export interface ToolCallFailed {
  /**
   * Why it failed; plain text is read as the message.
   */
  error:
    | string
    | {
        code?: string | null;
        message: string;
      };
  /**
   * an item's id
   */
  tool_call_id: string;
}
/**
 * Data of `tool_call_started`.
 */
export interface ToolCallStarted {
  input?: unknown;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * an item's id
   */
  tool_call_id: string;
}
/**
 * An event before it has a place in a log: what a producer publishes.
 */
export interface NewEvent {
  data?: Data3;
  /**
   * Makes a retry harmless: a second event with the same id is not taken again.
   */
  event_id?: EventId | null;
  /**
   * event_type
   */
  event_type: string;
  /**
   * Keeps an older run of the same producer from interfering.
   */
  producer?: ProducerStamp | null;
  /**
   * Who made it.
   */
  source?: Source | null;
}
/**
 * What it says; `{}` if left out.
 */
export interface Data3 {
  [k: string]: unknown | undefined;
}
