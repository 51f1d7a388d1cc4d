import type { TidingsEvent } from "../../types.js";
import { errorText } from "../format.js";

type Fields = Record<string, any>;

/** Describes an event in one line. */
export function sentence(event: TidingsEvent): string {
  const data = event.data as Fields;
  const id = data.step_id ?? data.tool_call_id ?? data.command_id ?? data.output_id ?? data.artifact_id ?? data.input_id;
  switch (event.event_type) {
    case "log":
      return String(data.message);
    case "task_started":
      return data.name ? `started: ${data.name}` : "started";
    case "progress_update": {
      const amount = data.progress != null ? `${Math.round(data.progress)} %` : data.current != null ? `${data.current}${data.total ? ` of ${data.total}` : ""}` : "";
      return [amount, data.stage, data.message].filter(Boolean).join(" · ");
    }
    case "task_completed":
      return "completed";
    case "task_cancelled":
      return data.reason ? `cancelled: ${data.reason}` : "cancelled";
    case "task_stalled":
      return "nothing was heard within the lease";
    case "agent_status_change":
      return `${data.agent_id} is ${data.status}${data.message ? `: ${data.message}` : ""}`;
    case "tool_call_started":
      return `${data.tool} called (${id})`;
    case "step_started":
      return `step ${data.name ?? id} started`;
    case "output_completed":
      return `output ${id} is complete`;
    case "command_requested":
      return `${data.by} asks to ${data.command}`;
    case "command_rejected":
      return `rejected: ${data.reason}`;
    case "input_required":
      return `needs an answer: ${data.prompt}`;
    case "input_provided":
      return `${data.by} answered ${id}: ${typeof data.value === "string" ? data.value : JSON.stringify(data.value)}`;
    case "input_expired":
      return `nobody answered ${id} in time`;
    case "children_update":
      return `${data.running} running, ${data.completed} completed, ${data.failed} failed`;
    case "artifact":
      return `made ${data.name ?? id}`;
  }
  if (data.error) return `${id ? `${id}: ` : ""}${errorText(data.error)}`;
  return id ? String(id) : JSON.stringify(data);
}

/** Returns the tone in which an event is coloured. */
export function tone(event: TidingsEvent): "failed" | "completed" | "stalled" | undefined {
  const data = event.data as Fields;
  if (isFailure(event)) return "failed";
  if (event.event_type === "task_completed") return "completed";
  if (data.level === "warn" || data.level === "warning" || event.event_type === "task_stalled") return "stalled";
  return undefined;
}

/** The event types among which failures are searched. */
export const FAILURES = ["log", "step_failed", "tool_call_failed", "task_failed"];

/** Returns whether an event reports an error. */
export function isFailure(event: TidingsEvent): boolean {
  const { level } = event.data as Fields;
  return /failed|rejected/.test(event.event_type) || level === "error" || level === "fatal" || level === "critical";
}
