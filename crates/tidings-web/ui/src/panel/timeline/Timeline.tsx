import type { AgentState, TaskSnapshot } from "../../generated/protocol.js";
import type { ToolCall } from "../../store/activity.js";
import { duration, errorText, moment } from "../format.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import Value from "../Value.js";

/** The number of tool calls to show. The log contains all of them. */
const MOST = 30;

interface Timed {
  labels: Labels;
  /** The current time, for entries that are not finished. */
  now: number;
}

/** Returns how bars are placed on a timeline, between its first and its last moment. */
function scale(spans: readonly { from: number; until: number }[]) {
  const start = Math.min(...spans.map(({ from }) => from));
  const whole = Math.max(1, Math.max(...spans.map(({ until }) => until)) - start);
  return ({ from, until }: { from: number; until: number }) => {
    const width = Math.max(1.5, ((until - from) / whole) * 100);
    return { left: `${Math.min(100 - width, ((from - start) / whole) * 100)}%`, width: `${width}%` };
  };
}

/** Tool calls on a timeline. Each can be opened to show its input and output. */
export function ToolCalls({ calls, now, labels }: Timed & { calls: readonly ToolCall[] }) {
  const recent = calls.slice(-MOST);
  const span = ({ startedAt, endedAt }: ToolCall) => {
    const until = endedAt ? Date.parse(endedAt) : now;
    return { from: Math.min(until, startedAt ? Date.parse(startedAt) : until), until };
  };
  const place = scale(recent.map(span));
  return (
    <section className="td-card" aria-label={labels.toolCalls}>
      <h2>
        {labels.toolCalls} <span className="td-count">{calls.length}</span>
      </h2>
      <ol className="td-calls">
        {recent.map((call) => (
          <li key={call.id} data-state={call.state}>
            <div className="td-call-head">
              <strong>{plain(call.tool)}</strong>
              <span className="td-muted">
                {call.state === "completed" ? "" : labels[call.state]} {call.durationMs !== null && duration(call.durationMs)}
              </span>
            </div>
            <div className="td-call-track" aria-hidden="true">
              <div className="td-call-bar" style={place(span(call))} />
            </div>
            {call.error && <p className="td-call-detail td-bad">{errorText(call.error)}</p>}
            <Value name={labels.input} value={call.input} />
            <Value name={labels.output} value={call.output} />
          </li>
        ))}
      </ol>
    </section>
  );
}

/** The steps that are running. */
export function Steps({ task, now, labels }: Timed & { task: TaskSnapshot }) {
  const steps = task.steps.filter(({ state }) => state === "running");
  if (steps.length === 0) return null;
  return (
    <section className="td-card" aria-label={labels.steps}>
      <h2>{labels.steps}</h2>
      <ul className="td-plain">
        {steps.map((step) => (
          <li key={step.step_id} className="td-call-head">
            <span>{plain(step.name ?? step.step_id)}</span>
            <span className="td-muted" title={moment(step.started_at, 0)}>
              {duration(now - Date.parse(step.started_at))}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The agents of the task, with their status. */
export function Agents({ agents, labels }: { agents: readonly AgentState[]; labels: Labels }) {
  return (
    <section className="td-card" aria-label={labels.agents}>
      <h2>{labels.agents}</h2>
      <ul className="td-agents">
        {agents.map((agent) => (
          <li key={agent.agent_id}>
            <span className="td-dot" data-agent={agent.status} aria-hidden="true" />
            <strong>{plain(agent.agent_id)}</strong>
            <span className="td-muted">{plain(agent.status)}</span>
            {agent.message && <span className="td-agent-message">{plain(agent.message)}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}
