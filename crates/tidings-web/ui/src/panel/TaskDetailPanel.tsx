import { type ReactNode, useEffect, useRef, useState } from "react";
import type { TaskSnapshot } from "../generated/protocol.js";
import { Commands } from "./Commands.js";
import { ConnectionDot } from "./ConnectionDot.js";
import { Agents, ToolCalls, Work } from "./Details.js";
import { duration, errorText, times, useNow } from "./format.js";
import { Log } from "./Log.js";
import { Progress, StatusBadge } from "./Progress.js";
import { useTask, type UseTaskOptions } from "../react/useTask.js";

export interface TaskDetailPanelProps extends UseTaskOptions {
  taskId: string;
  /** Shown in the head, before the name: a link back, for example. */
  lead?: ReactNode;
  /** Whether to offer pause, resume and cancel. Default true. */
  commands?: boolean;
}

/** All about one task, live. */
export function TaskDetailPanel({ taskId, lead, commands = true, ...options }: TaskDetailPanelProps) {
  const live = useTask(taskId, options);
  const { task, progress, status } = live;
  const running = task?.status === "running";
  const now = useNow(running);
  const { elapsed, remaining } = task ? times(task, now) : { elapsed: null, remaining: null };
  const name = task?.name ?? taskId;
  return (
    <article className="tidings td-panel" aria-label={`Task ${name}`}>
      <header className="td-head">
        {lead}
        <div className="td-title">
          <h1>{name}</h1>
          <p className="td-muted">
            <code>{taskId}</code>
            {task && task.run > 1 && <> · run {task.run}</>}
            {task?.parent_task_id && <> · part of {task.parent_task_id}</>}
          </p>
        </div>
        <ConnectionDot status={status} onReconnect={live.reconnect} />
      </header>

      {live.error && <p className="td-callout td-bad" role="alert">{live.error.message}</p>}

      <section className="td-card td-summary" aria-label="Progress">
        <div className="td-summary-top">
          {task ? <StatusBadge status={task.status} stalled={task.stalled} /> : <span className="td-badge">…</span>}
          <span className="td-message">{task?.message ?? task?.stage ?? ""}</span>
          <span className="td-percent">{progress === null ? "" : `${Math.round(progress)} %`}</span>
        </div>
        <Progress value={progress} status={task?.status ?? "pending"} stalled={task?.stalled ?? false} label={`Progress of ${name}`} />
        <dl className="td-facts">
          <div>
            <dt>Elapsed</dt>
            <dd>{elapsed === null ? "–" : duration(elapsed)}</dd>
          </div>
          <div>
            <dt>Remaining</dt>
            <dd>{remaining === null ? "–" : `about ${duration(remaining)}`}</dd>
          </div>
          <div>
            <dt>Stage</dt>
            <dd>{task?.stage ?? "–"}</dd>
          </div>
          <div>
            <dt>Event</dt>
            <dd>{task ? task.offset.toLocaleString("en") : "–"}</dd>
          </div>
        </dl>
        {task?.error && task.status === "failed" && <p className="td-callout td-bad">{errorText(task.error)}</p>}
        {task && task.status === "completed" && task.result !== null && (
          <p className="td-callout td-good">
            Result <code>{JSON.stringify(task.result)}</code>
          </p>
        )}
        {task?.truncated && <p className="td-muted">This task's state is too large to show in full; the oldest is left out.</p>}
        {commands && <Commands task={task} command={live.command} commands={live.commands} status={status} />}
      </section>

      <div className="td-columns">
        <Log timeline={live.timeline} />
        <div className="td-side">
          {task && <Work task={task} />}
          <Agents agents={live.agents} />
          <ToolCalls calls={live.toolCalls} now={now} />
        </div>
      </div>
      <Announcer task={task} />
    </article>
  );
}

/** Tells screen readers of a status that changes and of every quarter of the way, not of each event. */
function Announcer({ task }: { task: TaskSnapshot | null }) {
  const [text, setText] = useState("");
  const said = useRef("");
  const quarter = Math.floor((task?.progress ?? 0) / 25) * 25;
  const next = task ? `${task.stalled ? "stalled" : task.status}${task.status === "running" && quarter > 0 ? `, ${quarter} per cent` : ""}` : "";
  useEffect(() => {
    // What is there when the page comes is not news.
    if (said.current && next !== said.current) setText(`Task ${next}`);
    said.current = next;
  }, [next]);
  return (
    <p className="td-hidden" role="status" aria-live="polite">
      {text}
    </p>
  );
}
