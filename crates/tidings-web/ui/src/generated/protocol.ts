/* Made from docs/schema by `npm run types`: do not edit. */

/**
 * epoch
 */
export type Epoch = string;
export type Offset = number;
/**
 * Any JSON of at most 256 bytes. The server sends it back with the answer.
 */
export type Ref = unknown;
/**
 * an item's id
 */
export type ItemId = string;
/**
 * an agent status
 */
export type AgentStatus = "idle" | "working" | "waiting" | "error" | "offline";
export type Timestamp = string;
export type Json = unknown;
/**
 * client_id
 */
export type ClientId = string;
/**
 * command_id
 */
export type CommandId = string;
/**
 * Whether one task of a tree was asked.
 */
export type TaskCommanded =
  | {
      /**
       * The id of the command. The task's answers name it.
       */
      command_id: CommandId;
      /**
       * The epoch of `offset`.
       */
      epoch: Epoch;
      /**
       * The offset of the `command_requested` event.
       */
      offset: Offset;
      /**
       * The task.
       */
      task_id: TaskId;
    }
  | {
      /**
       * The kind of error, for programs.
       */
      code: ErrorCode;
      /**
       * A description for people.
       */
      message: string;
      /**
       * The task.
       */
      task_id: TaskId;
    };
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
  | "wrong_run"
  | "already_answered"
  | "input_not_open"
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
 * a permission
 */
export type Permission = "watch" | "publish" | "answer" | "command" | "admin";
/**
 * Why it failed. Plain text is read as the message.
 */
export type TaskError =
  | string
  | {
      code?: string | null;
      message: string;
    };
/**
 * a task's status
 */
export type TaskStatus = "pending" | "running" | "completed" | "failed" | "cancelled";
/**
 * a state of a step or tool call
 */
export type ItemState = "running" | "completed" | "failed" | "interrupted";
export type Fields = Record<string, unknown>;
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
 * a reason for a gap
 */
export type GapReason = "expired" | "overrun" | "conflated";
/**
 * a reconnect action
 */
export type Reconnect = "never" | "now" | "after" | "backoff";
/**
 * pattern
 */
export type Pattern = string;
/**
 * a reason for a reset
 */
export type ResetReason = "epoch_changed" | "removed" | "ahead";
/**
 * a reason for an unsubscription
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
      data: Commanded;
      event_type: "commanded";
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
       * The event's data; `{}` if left out.
       */
      data?: Fields;
      /**
       * An idempotency key, which makes retries safe.
       */
      event_id?: EventId | null;
      event_type: EventType;
      /**
       * The producer's stamp, which fences off older runs of the same producer.
       */
      producer?: ProducerStamp | null;
      ref?: Ref | null;
      /**
       * The run that the event belongs to. The server refuses the event if another run is current.
       */
      run?: number | null;
      /**
       * The name of the program or person that made the event.
       */
      source?: Source | null;
      /**
       * The task. If left out on `/ws/tasks/{id}`, it is the task in the path.
       */
      task_id?: TaskId | null;
      type: "publish";
    }
  | {
      /**
       * How many earlier events to receive as well.
       */
      history?: number | null;
      /**
       * A prefix of task ids, followed by `*`.
       */
      pattern?: Pattern | null;
      ref?: Ref | null;
      /**
       * Where to continue: a position, or 0 for all retained events.
       */
      since?: Since | null;
      /**
       * The task. Give only one of `task_id`, `pattern` and `tree`.
       */
      task_id?: TaskId | null;
      /**
       * A task, which stands for itself and all tasks below it.
       */
      tree?: TaskId | null;
      type: "subscribe";
    }
  | {
      /**
       * A prefix of task ids, followed by `*`.
       */
      pattern?: Pattern | null;
      ref?: Ref | null;
      /**
       * The task. Give only one of `task_id`, `pattern` and `tree`.
       */
      task_id?: TaskId | null;
      /**
       * A task, which stands for itself and all tasks below it.
       */
      tree?: TaskId | null;
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
       * The command's arguments.
       */
      args?: Fields | null;
      /**
       * The name of the command, 1 to 64 characters.
       */
      command: string;
      ref?: Ref | null;
      /**
       * The task. If left out on `/ws/tasks/{id}`, it is the task in the path.
       */
      task_id?: TaskId | null;
      /**
       * Whether all tasks below the task are asked as well, the deepest first. The server then answers with `commanded`.
       */
      tree?: boolean;
      type: "command";
    }
  | {
      ref?: Ref | null;
      token: string;
      type: "authenticate";
    };
/**
 * a log stream
 */
export type LogStream = "stdout" | "stderr";
/**
 * The data of each standard event type. Additional fields are allowed and kept.
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
      data: ChildrenUpdate;
      event_type: "children_update";
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
   * The run that a `task_started` event has opened.
   */
  run?: number | null;
}
/**
 * An agent and its last status.
 */
export interface AgentState {
  /**
   * The agent's id.
   */
  agent_id: ItemId;
  /**
   * A message for people about the status.
   */
  message: string | null;
  /**
   * The agent's status.
   */
  status: AgentStatus;
  /**
   * When the status was reported.
   */
  updated_at: Timestamp;
}
/**
 * An artifact that the task has made.
 */
export interface ArtifactState {
  /**
   * The artifact's id.
   */
  artifact_id: ItemId;
  /**
   * The artifact itself, if it is small.
   */
  data: Json | null;
  /**
   * The media type, such as `image/png`.
   */
  media_type: string | null;
  /**
   * The artifact's name.
   */
  name: string | null;
  /**
   * Where to download the artifact.
   */
  url: string | null;
}
/**
 * The state of all children of a task. A child is a task that names it as its `parent_task_id`. Children that the reader may not watch count, too.
 */
export interface ChildrenState {
  /**
   * How many children were cancelled.
   */
  cancelled: number;
  /**
   * How many children have completed.
   */
  completed: number;
  /**
   * How many children have failed.
   */
  failed: number;
  /**
   * How many children are pending.
   */
  pending: number;
  /**
   * The progress of all children in per cent, each with its `weight`. Null if none has a weight.
   */
  progress: number | null;
  /**
   * How many children are running.
   */
  running: number;
  /**
   * When this was said last.
   */
  updated_at: Timestamp;
}
/**
 * Data of `commanded`: the answers to a command for a task and all tasks below it.
 */
export interface Commanded {
  ref?: Ref | null;
  /**
   * The answer for each task that was asked, the deepest first.
   */
  tasks: TaskCommanded[];
}
/**
 * Data of `connection_established`. The last five fields occur only if the path names a task.
 */
export interface ConnectionEstablished {
  client_id: ClientId;
  epoch?: Epoch | null;
  heartbeat_interval_ms: number;
  /**
   * The largest message that the server accepts, in bytes. A larger one closes the connection with 1009.
   */
  max_message_bytes?: number | null;
  offset?: Offset | null;
  /**
   * The client's permissions for the task. Absent if nothing is forbidden.
   */
  permissions?: Permission[] | null;
  protocol: string;
  recovered?: boolean | null;
  resume_token: string;
  snapshot?: TaskSnapshot | null;
}
/**
 * A task's state: the result of applying its events up to `offset`.
 */
export interface TaskSnapshot {
  /**
   * The task's agents, each with its last status.
   */
  agents: AgentState[];
  /**
   * The task's artifacts.
   */
  artifacts: ArtifactState[];
  /**
   * The state of the task's children. Left out if no task names this one as its parent.
   */
  children?: ChildrenState | null;
  /**
   * The latest questions that were answered or have expired; left out if there are none.
   */
  ended_inputs?: EndedInput[];
  /**
   * The epoch of `offset`.
   */
  epoch: Epoch;
  /**
   * Why the task failed.
   */
  error: TaskError | null;
  /**
   * When the run ended.
   */
  finished_at: Timestamp | null;
  /**
   * A text about the task's current work. After a cancellation, the reason for it.
   */
  message: string | null;
  /**
   * The task's name.
   */
  name: string | null;
  /**
   * The last event that the snapshot contains.
   */
  offset: Offset;
  /**
   * The task's outputs.
   */
  outputs: OutputState[];
  /**
   * The task that contains this one.
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
   * The progress in per cent: as the task reports it, or of its children if it reports none.
   */
  progress: number | null;
  /**
   * When the last `progress_update` was accepted.
   */
  progress_at: Timestamp | null;
  /**
   * The result of the task.
   */
  result: Json | null;
  /**
   * How many times the task was started; 0 before the first time.
   */
  run: number;
  /**
   * The stage of the work.
   */
  stage: string | null;
  /**
   * Whether the producer has been silent for longer than the lease.
   */
  stalled: boolean;
  /**
   * When the run began.
   */
  started_at: Timestamp | null;
  /**
   * The task's status.
   */
  status: TaskStatus;
  /**
   * The open steps, and the steps that ended last.
   */
  steps: StepState[];
  /**
   * The task's id.
   */
  task_id: TaskId;
  /**
   * The open tool calls, and the tool calls that ended last.
   */
  tool_calls: ToolCallState[];
  /**
   * The whole amount of work, from `task_started` or the last update. Left out while unknown.
   */
  total?: number | null;
  /**
   * Whether something did not fit and was left out.
   */
  truncated: boolean;
  /**
   * When the last event was accepted.
   */
  updated_at: Timestamp | null;
  /**
   * How much the task weighs in its parent's progress; 1 if left out.
   */
  weight?: number | null;
}
/**
 * A question that has an answer, or has expired.
 */
export interface EndedInput {
  /**
   * The person or program that answered; left out if the question expired.
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
   * The answer. Left out if the question expired, or if the answer has more than 2 KiB. The log has an answer of any size.
   */
  value?: Json | null;
}
/**
 * An output of the task: text that it streams.
 */
export interface OutputState {
  /**
   * Whether the output is complete.
   */
  complete: boolean;
  /**
   * The length of the whole output, in UTF-8 bytes.
   */
  length: number;
  /**
   * The output's id.
   */
  output_id: ItemId;
  /**
   * Where `text` begins in the whole output, in UTF-8 bytes. It is 0 unless the start was cut off; then `/api/tasks/{id}/outputs/{output_id}` returns the earlier text.
   */
  start: number;
  /**
   * The output from `start` to its end.
   */
  text: string;
}
/**
 * A command that is neither rejected nor completed.
 */
export interface PendingCommand {
  /**
   * Whether the task has accepted the command.
   */
  accepted: boolean;
  /**
   * The command's arguments.
   */
  args: Json | null;
  /**
   * The sender of the command.
   */
  by: string;
  /**
   * The name of the command.
   */
  command: string;
  /**
   * The id of the command.
   */
  command_id: ItemId;
  /**
   * When the command was sent.
   */
  requested_at: Timestamp;
}
/**
 * A question that has no answer yet.
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
   * The id of the question.
   */
  input_id: ItemId;
  /**
   * The question itself.
   */
  prompt: string;
  /**
   * Since when it waits.
   */
  requested_at: Timestamp;
  /**
   * The form of the answer, as JSON Schema.
   */
  schema: Json | null;
}
/**
 * A step and its state.
 */
export interface StepState {
  /**
   * When the step ended.
   */
  ended_at: Timestamp | null;
  /**
   * The step's name.
   */
  name: string | null;
  /**
   * The step that contains this one.
   */
  parent_step_id: ItemId | null;
  /**
   * When the step began.
   */
  started_at: Timestamp;
  /**
   * Whether the step is running, or how it ended.
   */
  state: ItemState;
  /**
   * The step's id.
   */
  step_id: ItemId;
}
/**
 * A tool call and its state.
 */
export interface ToolCallState {
  /**
   * When the call ended.
   */
  ended_at: Timestamp | null;
  /**
   * When the call began.
   */
  started_at: Timestamp;
  /**
   * Whether the call is running, or how it ended.
   */
  state: ItemState;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * The id of the tool call.
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
 * An event in its task's log, as subscribers receive it.
 */
export interface EventRecord {
  /**
   * For an `output_delta`: the length of the output before this text, in UTF-8 bytes. It shows whether text is missing or repeated.
   */
  at?: number | null;
  /**
   * The event's data.
   */
  data: Fields;
  /**
   * The producer's idempotency key.
   */
  event_id?: EventId | null;
  /**
   * The type of the event.
   */
  event_type: EventType;
  /**
   * The first offset that a merged event stands for. `offset` is the last one.
   */
  from?: Offset | null;
  /**
   * The event's place in the task's log.
   */
  offset: Offset;
  /**
   * The name of the program or person that made the event.
   */
  source?: Source | null;
  /**
   * The task that the event belongs to.
   */
  task_id: TaskId;
  /**
   * When the server accepted the event.
   */
  timestamp: Timestamp;
}
/**
 * Data of `gap`: offsets that are not delivered. Both ends are included.
 */
export interface Gap {
  from: Offset;
  /**
   * Whether the offsets belong to the client's inbox.
   */
  inbox?: boolean;
  reason: GapReason;
  snapshot?: TaskSnapshot | null;
  to: Offset;
}
/**
 * Data of `going_away`, which the server sends before it closes a connection.
 */
export interface GoingAway {
  reason: string;
  reconnect: Reconnect;
  reconnect_after_ms?: number | null;
}
/**
 * Data of `heartbeat`: the newest offsets by task.
 */
export interface Heartbeat {
  heads: {
    [k: string]: Offset | undefined;
  };
}
/**
 * Data of `personal_message`. The offset belongs to the client's inbox.
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
 * Data of `reset`: the client's position is not valid any more.
 */
export interface Reset {
  epoch: Epoch;
  /**
   * The following events come after this offset.
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
  /**
   * The client's permissions for the task. Absent if nothing is forbidden.
   */
  permissions?: Permission[] | null;
  recovered?: boolean | null;
  ref?: Ref | null;
  snapshot?: TaskSnapshot | null;
  task_id?: TaskId | null;
  tree?: TaskId | null;
}
/**
 * Data of `unsubscribed`.
 */
export interface Unsubscribed {
  pattern?: Pattern | null;
  reason: UnsubscribeReason;
  ref?: Ref | null;
  task_id?: TaskId | null;
  tree?: TaskId | null;
}
/**
 * The stamp of an event: its producer, the run of the producer, and the event's number in that run.
 */
export interface ProducerStamp {
  /**
   * The number of the producer's run. Each restart uses a higher one.
   */
  epoch: number;
  /**
   * The producer's id, which stays the same after a restart.
   */
  id: ProducerId;
  /**
   * The number of the event in its run. The first may be any number, then each is one higher.
   */
  seq: number;
}
/**
 * Data of `agent_status_change`.
 */
export interface AgentStatusChange {
  /**
   * The agent's id.
   */
  agent_id: ItemId;
  /**
   * A message for people about the status.
   */
  message?: string | null;
  /**
   * The agent's new status.
   */
  status: AgentStatus;
}
/**
 * Data of `artifact`.
 */
export interface Artifact {
  /**
   * The artifact's id. A later event with the same id replaces the artifact.
   */
  artifact_id: ItemId;
  /**
   * The artifact itself, if it is small.
   */
  data?: Json | null;
  /**
   * The media type, such as `image/png`.
   */
  media_type?: string | null;
  /**
   * A name for people.
   */
  name?: string | null;
  /**
   * Where to download the artifact.
   */
  url?: string | null;
}
/**
 * Data of `children_update`, which the bus makes: what the children of the task are doing. All of its fields replace those of the last one.
 */
export interface ChildrenUpdate {
  /**
   * How many children were cancelled.
   */
  cancelled: number;
  /**
   * How many children have completed.
   */
  completed: number;
  /**
   * How many children have failed.
   */
  failed: number;
  /**
   * How many children are pending.
   */
  pending: number;
  /**
   * The progress of all children in per cent, each with its `weight`. Null if there are none, or if none has a weight.
   */
  progress?: number | null;
  /**
   * How many children are running.
   */
  running: number;
}
/**
 * Data of `command_accepted`.
 */
export interface CommandAccepted {
  /**
   * The id of the command.
   */
  command_id: ItemId;
}
/**
 * Data of `command_completed`.
 */
export interface CommandCompleted {
  /**
   * The id of the command.
   */
  command_id: ItemId;
  /**
   * The result of the command.
   */
  result?: Json | null;
}
/**
 * Data of `command_rejected`.
 */
export interface CommandRejected {
  /**
   * The id of the command.
   */
  command_id: ItemId;
  /**
   * Why the task will not do it.
   */
  reason: string;
}
/**
 * Data of `command_requested`.
 */
export interface CommandRequested {
  /**
   * The command's arguments.
   */
  args?: Json | null;
  /**
   * The sender of the command.
   */
  by: string;
  /**
   * The name of the command: `cancel`, `pause`, `resume`, or any other that the task's agent understands.
   */
  command: string;
  /**
   * The id of the command.
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
   * The person or program that answered. A server that checks tokens writes the token's subject here.
   */
  by: string;
  /**
   * The id of the question.
   */
  input_id: ItemId;
  /**
   * The answer: any value but null, which fits the question.
   */
  value: Json;
}
/**
 * Data of `input_required`.
 */
export interface InputRequired {
  /**
   * The answers to choose from: 1 to 64 values, none of them null, 16 KiB together.
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
   * The id of the question.
   */
  input_id: ItemId;
  /**
   * The question itself.
   */
  prompt: string;
  /**
   * A JSON Schema that the answer must fit; at most 16 KiB.
   */
  schema?: Json | null;
}
/**
 * Data of `log`.
 */
export interface Log {
  /**
   * The severity, in the application's own words.
   */
  level?: string | null;
  /**
   * One log line, or several.
   */
  message: string;
  /**
   * The stream on which the line was written.
   */
  stream?: LogStream | null;
}
/**
 * Data of `output_completed`.
 */
export interface OutputCompleted {
  /**
   * The output's id.
   */
  output_id: ItemId;
  /**
   * The whole text of the output. If left out, the text is that of the deltas.
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
   * The text to append to the output.
   */
  text: string;
}
/**
 * Data of `progress_update`. It has `progress`, `current`, or both.
 */
export interface ProgressUpdate {
  /**
   * The amount of work done, in the unit of `total`.
   */
  current?: number | null;
  /**
   * A text for people about the task's current work.
   */
  message?: string | null;
  /**
   * The progress in per cent, 0–100.
   */
  progress?: number | null;
  /**
   * The stage of the work.
   */
  stage?: string | null;
  /**
   * The whole amount of work. If left out, the amount from `task_started` holds.
   */
  total?: number | null;
}
/**
 * Data of `step_completed`.
 */
export interface StepCompleted {
  /**
   * The result of the step.
   */
  result?: Json | null;
  /**
   * The step's id.
   */
  step_id: ItemId;
}
/**
 * Data of `step_failed`.
 */
export interface StepFailed {
  /**
   * Why the step failed.
   */
  error: TaskError;
  /**
   * The step's id.
   */
  step_id: ItemId;
}
/**
 * Data of `step_started`.
 */
export interface StepStarted {
  /**
   * A name for people.
   */
  name?: string | null;
  /**
   * The step that contains this one.
   */
  parent_step_id?: ItemId | null;
  /**
   * The step's id.
   */
  step_id: ItemId;
}
/**
 * Data of `task_cancelled`.
 */
export interface TaskCancelled {
  /**
   * Why the task was cancelled.
   */
  reason?: string | null;
}
/**
 * Data of `task_completed`.
 */
export interface TaskCompleted {
  /**
   * The result of the task.
   */
  result?: Json | null;
}
/**
 * Data of `task_failed`.
 */
export interface TaskFailed {
  /**
   * Why the task failed.
   */
  error: TaskError;
}
/**
 * Data of `task_started`.
 */
export interface TaskStarted {
  /**
   * The lease in milliseconds. After one lease of silence the task stalls; after a second one it fails.
   */
  lease_ms?: number | null;
  /**
   * A name for people.
   */
  name?: string | null;
  /**
   * The task that contains this one.
   */
  parent_task_id?: TaskId | null;
  /**
   * The whole amount of work, in any unit. `current` in later updates uses the same unit.
   */
  total?: number | null;
  /**
   * How much the task weighs in its parent's progress; 1 if left out. Allowed are 0, and 0.001 to 1,000,000. Weights are rounded to thousandths.
   */
  weight?: number | null;
}
/**
 * Data of `tool_call_completed`.
 */
export interface ToolCallCompleted {
  /**
   * The duration of the call in milliseconds.
   */
  duration_ms?: number | null;
  /**
   * The tool's output.
   */
  output?: Json | null;
  /**
   * The id of the tool call.
   */
  tool_call_id: ItemId;
}
/**
 * Data of `tool_call_failed`.
 */
export interface ToolCallFailed {
  /**
   * Why the call failed.
   */
  error: TaskError;
  /**
   * The id of the tool call.
   */
  tool_call_id: ItemId;
}
/**
 * Data of `tool_call_started`.
 */
export interface ToolCallStarted {
  /**
   * The tool's input.
   */
  input?: Json | null;
  /**
   * The tool's name.
   */
  tool: string;
  /**
   * The id of the tool call.
   */
  tool_call_id: ItemId;
}
/**
 * An event as a producer publishes it, before it has an offset in a log.
 */
export interface NewEvent {
  /**
   * The event's data; `{}` if left out.
   */
  data?: Fields;
  /**
   * An idempotency key, which makes retries safe: the server accepts each id only once.
   */
  event_id?: EventId | null;
  /**
   * The type of the event.
   */
  event_type: EventType;
  /**
   * The producer's stamp, which stops an older run of the producer from interfering.
   */
  producer?: ProducerStamp | null;
  /**
   * The run of the task that the event belongs to. The server refuses the event if another run is the current one.
   */
  run?: number | null;
  /**
   * The name of the program or person that made the event.
   */
  source?: Source | null;
}
