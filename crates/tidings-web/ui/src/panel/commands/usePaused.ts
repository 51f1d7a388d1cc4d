import { useEffect, useState } from "react";
import { wholeHistory } from "../../history.js";
import type { UseTask } from "../../react/useTask.js";
import type { TidingsEvent } from "../../types.js";
import type { TidingsClient } from "../../websocket.js";

/** The event types that say whether a task is paused. */
const TYPES = ["task_started", "command_requested", "command_completed"];

const changes = (command: string | undefined) => command === "pause" || command === "resume";

/** Follows which command the task completed last, pause or resume, since it was started. */
async function completedLast(client: TidingsClient, taskId: string, signal: AbortSignal): Promise<string | null> {
  const asked = new Map<string, string>();
  let last: string | null = null;
  const take = (event: TidingsEvent) => {
    const { command_id, command } = event.data as { command_id: string; command: string };
    if (event.event_type === "task_started") {
      asked.clear();
      last = null;
    } else if (event.event_type === "command_requested") {
      if (changes(command)) asked.set(command_id, command);
    } else {
      last = asked.get(command_id) ?? last;
      asked.delete(command_id);
    }
  };
  for await (const { events } of wholeHistory(client, taskId, { types: TYPES, signal })) events.forEach(take);
  return last;
}

/**
 * Returns whether the task has completed a command to pause, and none to resume since. A state does
 * not tell. If the page's events do not reach back to the start of the run, the log is asked once.
 */
export function usePaused({ client, task, commands, events, status }: Pick<UseTask, "client" | "task" | "commands" | "events" | "status">): boolean {
  const newest = commands.findLast(({ command, state, past }) => state === "completed" && !past && changes(command));
  const run = task?.run ?? 0;
  const id = task?.task_id;
  const wanted = task?.status === "running" && !newest && !events.some(({ event_type }) => event_type === "task_started");
  const [read, setRead] = useState<{ id: string; run: number; last: string | null } | null>(null);
  const known = read !== null && read.id === id && read.run === run;
  const ask = wanted && !known && status.state === "connected";
  useEffect(() => {
    if (!ask || id === undefined) return;
    const stop = new AbortController();
    // Without an answer, the button offers to pause, and the next connection asks again.
    completedLast(client, id, stop.signal).then(
      (last) => stop.signal.aborted || setRead({ id, run, last }),
      () => {},
    );
    return () => stop.abort();
  }, [client, id, run, ask]);
  return (newest?.command ?? (known ? read.last : null)) === "pause";
}
