import type { AgentState, TaskSnapshot } from "../generated/protocol.js";
import type { ToolCall } from "../store/activity.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";

interface Labelled {
  labels?: Partial<Labels> | undefined;
}

interface Timed extends Labelled {
  /** The current time, for entries that are not finished. */
  now: number;
}

/** Loaded for a task that has any of them. */
const parts = () => import("./timeline/Timeline.js");
const Calls = loaded(async () => ({ default: (await parts()).ToolCalls }));
const Running = loaded(async () => ({ default: (await parts()).Steps }));
const List = loaded(async () => ({ default: (await parts()).Agents }));

/** Tool calls on a timeline. Each can be opened to show its input and output. */
export function ToolCalls({ calls, now, labels: own }: Timed & { calls: readonly ToolCall[] }) {
  const labels = useLabels(own);
  return calls.length === 0 ? null : <Calls calls={calls} now={now} labels={labels} fallback={null} />;
}

/** The steps that are running. */
export function Steps({ task, now, labels: own }: Timed & { task: TaskSnapshot }) {
  const labels = useLabels(own);
  return task.steps.length === 0 ? null : <Running task={task} now={now} labels={labels} fallback={null} />;
}

/** The agents of the task, with their status. */
export function Agents({ agents, labels: own }: Labelled & { agents: readonly AgentState[] }) {
  const labels = useLabels(own);
  return agents.length === 0 ? null : <List agents={agents} labels={labels} fallback={null} />;
}
