import { type ReactNode, useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { type ClientChoice, useTidingsClient } from "../../react/client.js";
import { LogStore } from "../../store/log-store.js";
import type { TidingsEvent } from "../../types.js";
import { type Labels, useLabels } from "../labels.js";
import { loaded } from "../loaded.js";
import { VirtualLog } from "./VirtualLog.js";

/** Loaded with the first search. */
const Found = loaded(() => import("./Found.js"));

export interface LogProps extends ClientChoice {
  taskId: string;
  labels?: Partial<Labels> | undefined;
  /** Draws the text of an event instead of the panel. If it returns `null`, the panel draws it. */
  renderEvent?: ((event: TidingsEvent) => ReactNode) | undefined;
  /** Returns the URL of a line, to link to it. */
  lineHref?: ((offset: number) => string) | undefined;
  /** The line to show. */
  line?: number | null | undefined;
}

/** Groups of event types that a reader may want to see alone. */
const KINDS: Record<string, readonly string[]> = {
  log: ["log"],
  steps: ["step_started", "step_completed", "step_failed"],
  tools: ["tool_call_started", "tool_call_completed", "tool_call_failed"],
  progress: ["progress_update"],
  agents: ["agent_status_change", "input_required", "input_provided", "input_expired"],
};

const NONE: readonly string[] = [];

/** Reads the whole log. Loaded when a reader asks for that. */
const actions = () => import("./actions.js");

/** The whole log of a task, live. It can be searched, copied, downloaded and linked to. */
export function Log({ taskId, labels: own, renderEvent, lineHref, line, ...choice }: LogProps) {
  const client = useTidingsClient(choice);
  const labels = useLabels(own);
  const store = useMemo(() => new LogStore(client, taskId), [client, taskId]);
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
  const [text, setText] = useState("");
  const [kind, setKind] = useState("");
  const [wrap, setWrap] = useState(true);
  const [note, setNote] = useState("");
  const [target, setTarget] = useState<{ offset: number; turn: number } | null>(null);
  const show = useCallback((offset: number) => setTarget((last) => ({ offset, turn: (last?.turn ?? 0) + 1 })), []);
  const types = KINDS[kind] ?? NONE;

  useEffect(() => {
    if (line != null) show(line);
  }, [line, show]);

  const tell = (work: Promise<string | void>) =>
    void work.then(
      (said) => setNote(said ?? ""),
      (error: Error) => setNote(error.message),
    );
  const findFailure = async () => {
    const offset = await (await actions()).firstFailure(client, taskId);
    if (offset === null) return labels.noError;
    close();
    show(offset);
  };
  const close = () => {
    setText("");
    setKind("");
  };
  return (
    <section className="td-card td-log" aria-label={labels.log}>
      <header className="td-card-head">
        <h2>{labels.log}</h2>
        <input
          type="search"
          className="td-input"
          data-search
          placeholder={labels.search}
          aria-label={labels.searchLog}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && close()}
        />
        <select className="td-input td-kinds" aria-label={labels.types} value={kind} onChange={(event) => setKind(event.target.value)}>
          <option value="">{labels.allTypes}</option>
          {Object.keys(KINDS).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </header>
      {text.trim() || types.length > 0 ? (
        <Found
          client={client}
          taskId={taskId}
          text={text.trim()}
          types={types}
          head={view.head}
          labels={labels}
          onShow={(offset) => (close(), show(offset))}
          fallback={
            <p className="td-empty" role="status">
              {labels.loading}
            </p>
          }
        />
      ) : (
        <VirtualLog store={store} view={view} labels={labels} wrap={wrap} target={target} href={lineHref} render={renderEvent} />
      )}
      {view.failure !== null && (
        <p className="td-callout td-bad" role="alert">
          {labels.notLoaded(view.failure)}{" "}
          <button type="button" className="td-link" onClick={() => store.retry()}>
            {labels.again}
          </button>
        </p>
      )}
      {view.head === 0 && <p className="td-empty">{labels.nothingYet}</p>}
      <footer className="td-tools">
        <button type="button" className="td-link" aria-pressed={wrap} onClick={() => setWrap(!wrap)}>
          {labels.wrap}
        </button>
        <button type="button" className="td-link" onClick={() => tell(actions().then(({ copyLog }) => copyLog(client, taskId, view)).then(() => labels.copied))}>
          {labels.copy}
        </button>
        <button type="button" className="td-link" onClick={() => tell(actions().then(({ saveLog }) => saveLog(client, taskId)))}>
          {labels.download}
        </button>
        <button type="button" className="td-link" onClick={() => tell(findFailure())}>
          {labels.firstError}
        </button>
        <span className="td-muted" role="status">
          {note}
        </span>
      </footer>
    </section>
  );
}
