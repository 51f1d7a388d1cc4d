/* Made from docs/schema by `npm run types`: do not edit. */

/**
 * epoch
 */
export type Epoch = string;
export type Offset = number;
/**
 * Any JSON of at most 256 bytes; it comes back with the answer.
 */
export type Ref = unknown;
/**
 * an item's id
 */
export type ItemId = string;
/**
 * an agent's status
 */
export type AgentStatus = "idle" | "working" | "waiting" | "error" | "offline";
export type Timestamp = string;
export type Json = unknown;
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
/**
 * task_id
 */
export type TaskId = string;
/**
 * a task's status
 */
export type TaskStatus = "pending" | "running" | "completed" | "failed" | "cancelled";
/**
 * the state of a step or a tool call
 */
export type ItemState = "running" | "completed" | "failed" | "interrupted";
export type Fields = Record<string, unknown>;
/**
 * an error code
 */
export type ErrorCode =
  | "fenced"
  | "sequence_gap"
  | "wrong_run"
  | "already_answered"
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
 * event_type
 */
export type EventType = string;
/**
 * source
 */
export type Source = string;
/**
 * the reason of a gap
 */
export type GapReason = "expired" | "overrun" | "conflated";
/**
 * what to do after a close
 */
export type Reconnect = "never" | "now" | "after" | "backoff";
/**
 * pattern
 */
export type Pattern = string;
/**
 * the reason of a reset
 */
export type ResetReason = "epoch_changed" | "removed" | "ahead";
/**
 * the reason of an unsubscription
 */
export type UnsubscribeReason = "asked" | "forbidden" | "removed";
/**
 * A message from the server to a client: an event (it has an offset) or a control message.
 */
export type ServerMessage =
  | EventRecord
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
      data: Reset;
      event_type: "reset";
      task_id: TaskId;
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
      data: RequestError;
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
      ref?: Ref | null;
      type: "ping";
    }
  | {
      /**
       * What the event says; `{}` if left out.
       */
      data?: Fields;
      /**
       * Makes a retry harmless.
       */
      event_id?: EventId | null;
      event_type: EventType;
      /**
       * Fences off older runs of the same producer.
       */
      producer?: ProducerStamp | null;
      ref?: Ref | null;
      /**
       * The run that the event belongs to: refused if it is not the current one.
       */
      run?: number | null;
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
      ref?: Ref | null;
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
      ref?: Ref | null;
      /**
       * The task; or give a pattern.
       */
      task_id?: TaskId | null;
      type: "unsubscribe";
    }
  | {
      /**
       * The question.
       */
      input_id: ItemId;
      ref?: Ref | null;
      /**
       * The task; on `/ws/tasks/{id}` the path's if left out.
       */
      task_id?: TaskId | null;
      type: "answer";
      /**
       * The answer: any value but null, by the question's schema or choices.
       */
      value: Json;
    }
  | {
      /**
       * With what.
       */
      args?: Fields | null;
      /**
       * What to do: 1 to 64 characters.
       */
      command: string;
      ref?: Ref | null;
      /**
       * The task; on `/ws/tasks/{id}` the path's if left out.
       */
      task_id?: TaskId | null;
      type: "command";
    }
  | {
      ref?: Ref | null;
      token: string;
      type: "authenticate";
    };
/**
 * a log's stream
 */
export type LogStream = "stdout" | "stderr";
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
      data: InputExpired;
      event_type: "input_expired";
    }
  | {
      data: Fields;
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
  ref?: Ref | null;
  /**
   * The run that a `task_started` has opened.
   */
  run?: number | null;
}
/**
 * An agent and its last status.
 */
export interface AgentState {
  /**
   * The agent.
   */
  agent_id: ItemId;
  /**
   * More about that.
   */
  message: string | null;
  /**
   * What it does.
   */
  status: AgentStatus;
  /**
   * Since when.
   */
  updated_at: Timestamp;
}
/**
 * A thing that the task has made.
 */
export interface ArtifactState {
  /**
   * The artifact.
   */
  artifact_id: ItemId;
  /**
   * The thing itself, if small.
   */
  data: Json | null;
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
  /**
   * Bytes of a message that the server accepts. A larger one closes the connection
   * with 1009.
   */
  max_message_bytes?: number | null;
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
   * Its agents, each with its last status.
   */
  agents: AgentState[];
  /**
   * Things that it has made.
   */
  artifacts: ArtifactState[];
  /**
   * The latest questions that were answered or have expired; left out if there are none.
   */
  ended_inputs?: EndedInput[];
  /**
   * The numbering of `offset`.
   */
  epoch: Epoch;
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
  offset: Offset;
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
  /**
   * When the last `progress_update` came.
   */
  progress_at: Timestamp | null;
  /**
   * What came of it.
   */
  result: Json | null;
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
  status: TaskStatus;
  /**
   * Steps that are open, and the latest that ended.
   */
  steps: StepState[];
  /**
   * The task.
   */
  task_id: TaskId;
  /**
   * Tool calls that are open, and the latest that ended.
   */
  tool_calls: ToolCallState[];
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
 * A question that has an answer, or has expired.
 */
export interface EndedInput {
  /**
   * Who has answered it; left out if it expired.
   */
  by?: string | null;
  /**
   * Since when.
   */
  ended_at: Timestamp;
  /**
   * The question.
   */
  input_id: ItemId;
  /**
   * The answer; left out if it expired, and if the answer has more than 2 KiB: then the log has it.
   */
  value?: Json | null;
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
   * The length of the whole output, in UTF-8 bytes.
   */
  length: number;
  /**
   * The output.
   */
  output_id: ItemId;
  /**
   * Where `text` begins in the whole output, in UTF-8 bytes: 0 while all of it is here. What comes before can be read at `/api/tasks/{id}/outputs/{output_id}`.
   */
  start: number;
  /**
   * The output from `start` to its end.
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
  /**
   * With what.
   */
  args: Json | null;
  /**
   * Who asks.
   */
  by: string;
  /**
   * What to do.
   */
  command: string;
  /**
   * The request.
   */
  command_id: ItemId;
  /**
   * Since when it waits.
   */
  requested_at: Timestamp;
}
/**
 * A question without an answer.
 */
export interface PendingInput {
  /**
   * The answers to choose from.
   */
  choices?: Json[] | null;
  /**
   * When it expires; left out if it does not.
   */
  expires_at?: Timestamp | null;
  /**
   * The question.
   */
  input_id: ItemId;
  /**
   * What to ask.
   */
  prompt: string;
  /**
   * Since when it waits.
   */
  requested_at: Timestamp;
  /**
   * What the answer is to look like, as JSON Schema.
   */
  schema: Json | null;
}
/**
 * A step and its state.
 */
export interface StepState {
  /**
   * When it ended.
   */
  ended_at: Timestamp | null;
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
  started_at: Timestamp;
  /**
   * Whether it is open, or how it ended.
   */
  state: ItemState;
  /**
   * The step.
   */
  step_id: ItemId;
}
/**
 * A tool call and its state.
 */
export interface ToolCallState {
  /**
   * When it ended.
   */
  ended_at: Timestamp | null;
  /**
   * When it began.
   */
  started_at: Timestamp;
  /**
   * Whether it is open, or how it ended.
   */
  state: ItemState;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * The call.
   */
  tool_call_id: ItemId;
}
/**
 * Data of `error`.
 */
export interface RequestError {
  code: ErrorCode;
  message: string;
  ref?: Ref | null;
}
/**
 * An event in its task's log: what subscribers get.
 */
export interface EventRecord {
  /**
   * Of an `output_delta`: the length of its output in UTF-8 bytes before this text. It shows whether text is missing or comes twice.
   */
  at?: number | null;
  /**
   * What it says.
   */
  data: Fields;
  /**
   * The producer's idempotency key.
   */
  event_id?: EventId | null;
  /**
   * What kind of event it is.
   */
  event_type: EventType;
  /**
   * The first offset that a merged event stands for; `offset` is the last.
   */
  from?: Offset | null;
  /**
   * Its place in the task's log.
   */
  offset: Offset;
  /**
   * Who made it.
   */
  source?: Source | null;
  /**
   * The task it belongs to.
   */
  task_id: TaskId;
  /**
   * When the server took it.
   */
  timestamp: Timestamp;
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
  data: Fields;
  event_type: EventType;
  offset: Offset;
}
/**
 * Data of `pong`.
 */
export interface Pong {
  ref?: Ref | null;
}
/**
 * Data of `reset`: the client's position is void.
 */
export interface Reset {
  epoch: Epoch;
  /**
   * What comes next comes after this offset.
   */
  offset: Offset;
  reason: ResetReason;
  snapshot: TaskSnapshot;
}
/**
 * Data of `subscribed`.
 */
export interface Subscribed {
  epoch?: Epoch | null;
  offset?: Offset | null;
  pattern?: Pattern | null;
  recovered?: boolean | null;
  ref?: Ref | null;
  snapshot?: TaskSnapshot | null;
  task_id?: TaskId | null;
}
/**
 * Data of `unsubscribed`.
 */
export interface Unsubscribed {
  pattern?: Pattern | null;
  reason: UnsubscribeReason;
  ref?: Ref | null;
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
  id: ProducerId;
  /**
   * Counts its events within the run, one by one, from wherever it likes.
   */
  seq: number;
}
/**
 * Data of `agent_status_change`.
 */
export interface AgentStatusChange {
  /**
   * The agent.
   */
  agent_id: ItemId;
  /**
   * More about that, for people.
   */
  message?: string | null;
  /**
   * What it does now.
   */
  status: AgentStatus;
}
/**
 * Data of `artifact`.
 */
export interface Artifact {
  /**
   * The artifact; a later event with the same id replaces it.
   */
  artifact_id: ItemId;
  /**
   * The thing itself, if small.
   */
  data?: Json | null;
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
   * The request.
   */
  command_id: ItemId;
}
/**
 * Data of `command_completed`.
 */
export interface CommandCompleted {
  /**
   * The request.
   */
  command_id: ItemId;
  /**
   * What came of it.
   */
  result?: Json | null;
}
/**
 * Data of `command_rejected`.
 */
export interface CommandRejected {
  /**
   * The request.
   */
  command_id: ItemId;
  /**
   * Why not.
   */
  reason: string;
}
/**
 * Data of `command_requested`.
 */
export interface CommandRequested {
  /**
   * With what.
   */
  args?: Json | null;
  /**
   * Who asks.
   */
  by: string;
  /**
   * What to do: `cancel`, `pause`, `resume`, or anything the task's agent understands.
   */
  command: string;
  /**
   * The request.
   */
  command_id: ItemId;
}
/**
 * Data of `input_expired`, which the bus makes: the question's time is up, and nobody has answered it.
 */
export interface InputExpired {
  /**
   * The question.
   */
  input_id: ItemId;
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
   * The question.
   */
  input_id: ItemId;
  /**
   * The answer.
   */
  value: Json;
}
/**
 * Data of `input_required`.
 */
export interface InputRequired {
  /**
   * The answers to choose from: 1 to 64 values, 16 KiB together.
   *
   * @minItems 1
   * @maxItems 64
   */
  choices?: [Json, ...Json[]] | null;
  /**
   * Without an answer for so many milliseconds the question expires.
   */
  expires_in_ms?: number | null;
  /**
   * The question.
   */
  input_id: ItemId;
  /**
   * What to ask.
   */
  prompt: string;
  /**
   * What the answer is to look like, as JSON Schema; at most 16 KiB.
   */
  schema?: Json | null;
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
   * The output.
   */
  output_id: ItemId;
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
   * The output that the text belongs to.
   */
  output_id: ItemId;
  /**
   * What comes after the text so far.
   */
  text: string;
}
/**
 * Data of `progress_update`: `progress` or `current`, or both.
 */
export interface ProgressUpdate {
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
}
/**
 * Data of `step_completed`.
 */
export interface StepCompleted {
  /**
   * What came of it.
   */
  result?: Json | null;
  /**
   * The step.
   */
  step_id: ItemId;
}
/**
 * Data of `step_failed`.
 */
export interface StepFailed {
  /**
   * Why.
   */
  error: TaskError;
  /**
   * The step.
   */
  step_id: ItemId;
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
   * The step.
   */
  step_id: ItemId;
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
  /**
   * What came of it.
   */
  result?: Json | null;
}
/**
 * Data of `task_failed`.
 */
export interface TaskFailed {
  /**
   * Why.
   */
  error: TaskError;
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
  /**
   * What the tool answered.
   */
  output?: Json | null;
  /**
   * The call.
   */
  tool_call_id: ItemId;
}
/**
 * Data of `tool_call_failed`.
 */
export interface ToolCallFailed {
  /**
   * Why.
   */
  error: TaskError;
  /**
   * The call.
   */
  tool_call_id: ItemId;
}
/**
 * Data of `tool_call_started`.
 */
export interface ToolCallStarted {
  /**
   * What it was given.
   */
  input?: Json | null;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * The call.
   */
  tool_call_id: ItemId;
}
/**
 * An event before it has a place in a log: what a producer publishes.
 */
export interface NewEvent {
  /**
   * What it says; `{}` if left out.
   */
  data?: Fields;
  /**
   * Makes a retry harmless: a second event with the same id is not taken again.
   */
  event_id?: EventId | null;
  /**
   * What kind of event it is.
   */
  event_type: EventType;
  /**
   * Keeps an older run of the same producer from interfering.
   */
  producer?: ProducerStamp | null;
  /**
   * The run of the task that the event belongs to: refused if it is not the current one.
   */
  run?: number | null;
  /**
   * Who made it.
   */
  source?: Source | null;
}
