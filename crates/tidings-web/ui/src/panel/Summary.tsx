import type { TaskSnapshot } from "../generated/protocol.js";
import type { UseTask } from "../react/useTask.js";
import { Commands } from "./Commands.js";
import { duration, errorText, moment, times } from "./format.js";
import { type Labels, useLabels } from "./labels.js";
import { plain } from "./log/Ansi.js";
import { loaded } from "./loaded.js";
import { Progress, StatusBadge } from "./Progress.js";

/** Loaded with the first value to show. */
const Value = loaded(() => import("./Value.js"));

export interface SummaryProps {
  live: UseTask;
  name: string;
  /** The current time for the clocks. */
  now: number;
  commands: boolean;
  labels?: Partial<Labels> | undefined;
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** The state of a task: status, progress, outcome, and the commands that can be sent. */
export function Summary({ live, name, now, commands, labels: own }: SummaryProps) {
  const labels = useLabels(own);
  const { task, progress } = live;
  const { elapsed, remaining } = task ? times(task, now) : { elapsed: null, remaining: null };
  return (
    <section className="td-card td-summary" aria-label={labels.progress} data-stale={live.asOf !== null || undefined}>
      <div className="td-summary-top">
        {task ? <StatusBadge status={task.status} stalled={task.stalled} labels={own} /> : <span className="td-badge">…</span>}
        <span className="td-message" dir="auto">
          {plain(task?.message ?? task?.stage ?? "")}
        </span>
        <span className="td-percent">{progress === null ? "" : `${Math.round(progress)} %`}</span>
      </div>
      <Progress value={progress} status={task?.status ?? "pending"} stalled={task?.stalled} run={task?.run} label={labels.progressOf(name)} />
      {task?.started_at && (
        <dl className="td-facts">
          <Fact name={labels.started} value={moment(task.started_at, now)} />
          <Fact name={labels.elapsed} value={elapsed === null ? "–" : duration(elapsed)} />
          {remaining !== null && <Fact name={labels.remaining} value={labels.about(duration(remaining))} />}
          {task.stage && <Fact name={labels.stage} value={plain(task.stage)} />}
        </dl>
      )}
      {task && <End task={task} labels={labels} />}
      {commands && <Commands {...live} labels={own} />}
    </section>
  );
}

function End({ task, labels }: { task: TaskSnapshot; labels: Labels }) {
  return (
    <>
      {task.error && task.status === "failed" && (
        <p className="td-callout td-bad" dir="auto">
          {errorText(task.error)}
        </p>
      )}
      {task.status === "completed" && task.result !== null && <Value name={labels.result} value={task.result} fallback={null} />}
      {task.truncated && <p className="td-muted">{labels.truncated}</p>}
    </>
  );
}
