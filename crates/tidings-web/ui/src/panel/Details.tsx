import type { AgentState, TaskSnapshot } from "../generated/protocol.js";
import type { ToolCall } from "../store/activity.js";
import { clock, duration, errorText } from "./format.js";

/** The agents that work on the task, with what they do. */
export function Agents({ agents }: { agents: readonly AgentState[] }) {
  if (agents.length === 0) return null;
  return (
    <section className="td-card" aria-label="Agents">
      <h2>Agents</h2>
      <ul className="td-agents">
        {agents.map((agent) => (
          <li key={agent.agent_id}>
            <span className="td-dot" data-agent={agent.status} aria-hidden="true" />
            <strong>{agent.agent_id}</strong>
            <span className="td-muted">{agent.status}</span>
            {agent.message && <span className="td-agent-message">{agent.message}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function brief(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

/** Tool calls as a time line, each with a bar from its start to its end. */
export function ToolCalls({ calls, now }: { calls: readonly ToolCall[]; now: number }) {
  if (calls.length === 0) return null;
  const recent = calls.slice(-12);
  const start = Math.min(...recent.map((call) => (call.startedAt ? Date.parse(call.startedAt) : Infinity)));
  const end = Math.max(...recent.map((call) => (call.endedAt ? Date.parse(call.endedAt) : now)));
  const span = Math.max(1, end - start);
  return (
    <section className="td-card" aria-label="Tool calls">
      <h2>
        Tool calls <span className="td-count">{calls.length}</span>
      </h2>
      <ol className="td-calls">
        {recent.map((call) => {
          const from = call.startedAt ? Date.parse(call.startedAt) - start : 0;
          const until = (call.endedAt ? Date.parse(call.endedAt) : now) - start;
          const width = Math.max(1.5, ((until - from) / span) * 100);
          const left = Math.min(100 - width, (from / span) * 100);
          return (
            <li key={call.id} data-state={call.state}>
              <div className="td-call-head">
                <strong>{call.tool}</strong>
                <span className="td-muted">
                  {call.state === "running" ? "running" : call.state === "failed" ? "failed" : ""}{" "}
                  {call.durationMs !== null && duration(call.durationMs)}
                </span>
              </div>
              <div className="td-call-track" aria-hidden="true">
                <div className="td-call-bar" style={{ left: `${left}%`, width: `${width}%` }} />
              </div>
              {call.error ? (
                <p className="td-call-detail td-bad">{errorText(call.error)}</p>
              ) : (
                brief(call.input) && <p className="td-call-detail">{brief(call.input)}</p>
              )}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

/** Steps that go on, what the task waits for, and what it has made. */
export function Work({ task }: { task: TaskSnapshot }) {
  const steps = task.steps.filter(({ state }) => state === "running");
  return (
    <>
      {task.pending_inputs.length > 0 && (
        <section className="td-card td-attention" aria-label="Waiting for an answer">
          <h2>Waiting for an answer</h2>
          <ul>
            {task.pending_inputs.map((input) => (
              <li key={input.input_id}>{input.prompt}</li>
            ))}
          </ul>
        </section>
      )}
      {steps.length > 0 && (
        <section className="td-card" aria-label="Steps under way">
          <h2>Steps under way</h2>
          <ul className="td-plain">
            {steps.map((step) => (
              <li key={step.step_id}>
                {step.name ?? step.step_id} <span className="td-muted">since {clock(step.started_at)}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      {task.outputs.map((output) => (
        <section className="td-card" key={output.output_id} aria-label={`Output ${output.output_id}`}>
          <h2>
            {output.output_id} {!output.complete && <span className="td-count">writing</span>}
          </h2>
          <p className="td-output" tabIndex={0}>
            {output.text}
          </p>
        </section>
      ))}
      {task.artifacts.length > 0 && (
        <section className="td-card" aria-label="Artifacts">
          <h2>Artifacts</h2>
          <ul className="td-plain">
            {task.artifacts.map((artifact) => (
              <li key={artifact.artifact_id}>
                <Artifact {...artifact} />
                {artifact.media_type && <span className="td-muted"> {artifact.media_type}</span>}
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Artifact({ artifact_id, name, url }: TaskSnapshot["artifacts"][number]) {
  const text = name ?? artifact_id;
  // Whatever a producer says is a link must not become a script.
  if (!url || !/^(https?:|\/)/i.test(url)) return <>{text}</>;
  return (
    <a href={url} rel="noreferrer noopener" target="_blank">
      {text}
    </a>
  );
}
