import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import type { OutputState, TaskSnapshot } from "../generated/protocol.js";
import { useTask, type UseTaskOptions } from "../react/useTask.js";
import { Ask } from "./Ask.js";
import { Artifacts } from "./Artifacts.js";
import { ConnectionDot } from "./ConnectionDot.js";
import { moment, useNow } from "./format.js";
import { type Labels, LabelsContext, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";
import { plain } from "./log/Ansi.js";
import { Log, type LogProps } from "./log/Log.js";
import { Output } from "./Output.js";
import { Summary } from "./Summary.js";
import { Agents, Steps, ToolCalls } from "./Timeline.js";
import { type TaskLink, Tree } from "./Tree.js";

/** Loaded for a task that has a parent. */
const Ancestors = loaded(() => import("./tree/Ancestors.js"));

export interface TaskDetailPanelProps extends UseTaskOptions, Pick<LogProps, "renderEvent" | "lineHref" | "line"> {
  taskId: string;
  /** Shown before the name, for example a link back. */
  lead?: ReactNode;
  /** Whether to offer commands. Default true. */
  commands?: boolean | undefined;
  /** Draws an output instead of the panel. If it returns `null`, the panel draws it. */
  renderOutput?: ((output: OutputState) => ReactNode) | undefined;
  /** Draws a link to the page of another task, such as a parent or a child. */
  taskLink?: TaskLink | undefined;
  /** Texts that replace the English ones. */
  labels?: Partial<Labels> | undefined;
  /** `inherit` (the default) follows the `color-scheme` of the page; `system` follows the reader's system. */
  theme?: "inherit" | "system" | "light" | "dark" | undefined;
}

/** A live panel with everything about one task. */
export function TaskDetailPanel({ taskId, lead, commands = true, renderEvent, renderOutput, taskLink, lineHref, line, labels: own, theme = "inherit", ...options }: TaskDetailPanelProps) {
  const live = useTask(taskId, options);
  const around = useLabels();
  const labels = useMemo(() => ({ ...around, ...own }), [around, own]);
  const { task, status, asOf } = live;
  const ticking = useNow(task?.status === "running" && asOf === null);
  const now = asOf ?? ticking;
  const name = plain(task?.name ?? taskId);
  const unknown = task !== null && task.offset === 0;
  return (
    <LabelsContext.Provider value={labels}>
      <article className="tidings td-panel" data-theme={theme === "inherit" ? undefined : theme} aria-label={labels.task(name)} data-stale={asOf !== null || undefined}>
        <div className="td-body">
          <header className="td-head">
            {lead}
            <div className="td-title">
              {task?.parent_task_id && <Ancestors key={task.parent_task_id} client={live.client} parentId={task.parent_task_id} taskLink={taskLink} labels={labels} fallback={<p className="td-path">{task.parent_task_id}</p>} />}
              <h1 dir="auto">{name}</h1>
              <p className="td-muted">
                <code>{taskId}</code>
                {task && task.run > 1 && <> · {labels.run(task.run)}</>}
              </p>
            </div>
            <ConnectionDot status={status} onReconnect={live.reconnect} />
            {asOf !== null && <span className="td-as-of">{labels.asOf(moment(asOf))}</span>}
          </header>
          {live.error && <p className="td-callout td-bad" role="alert">{live.error.message}</p>}
          {unknown ? (
            <p className="td-callout" role="status">
              {live.gaps.length > 0 ? labels.goneTask : labels.unknownTask}
            </p>
          ) : (
            <Summary live={live} name={name} now={now} commands={commands} />
          )}
          <Ask client={live.client} task={task} events={live.events} status={status} permissions={live.permissions} />
          <div className="td-columns">
            <div className="td-main">
              {task?.outputs.map((output) => <Output key={output.output_id} output={output} render={renderOutput} />)}
              {!unknown && (task || !live.error) && <Log taskId={taskId} client={live.client} renderEvent={renderEvent} lineHref={lineHref} line={line} />}
            </div>
            <div className="td-side">
              <Tree client={live.client} task={task} status={status} taskLink={taskLink} />
              {task && <Steps task={task} now={now} />}
              <Agents agents={live.agents} />
              <ToolCalls calls={live.toolCalls} now={now} />
              {task && <Artifacts artifacts={task.artifacts} />}
            </div>
          </div>
        </div>
        <Announcer task={task} labels={labels} />
      </article>
    </LabelsContext.Provider>
  );
}

/** Tells screen readers about each change of status, each quarter of the progress and each question, but not about each event. */
function Announcer({ task, labels }: { task: TaskSnapshot | null; labels: Labels }) {
  const [text, setText] = useState("");
  const said = useRef("");
  const quarter = Math.floor((task?.progress ?? 0) / 25) * 25;
  const status = task && labels.status[task.stalled ? "stalled" : task.status];
  const question = task?.pending_inputs.at(-1)?.prompt;
  const next = status ? `${status}${task.status === "running" && quarter > 0 ? `, ${quarter} %` : ""}${question === undefined ? "" : `. ${labels.waiting}: ${question}`}` : "";
  useEffect(() => {
    // The state at the time of the page's first display is not news.
    if (said.current && next !== said.current) setText(next);
    said.current = next;
  }, [next]);
  return (
    <p className="td-hidden" role="status" aria-live="polite">
      {text}
    </p>
  );
}
