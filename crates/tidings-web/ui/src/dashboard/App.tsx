import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { TidingsContext } from "../react/client.js";
import { ConnectionDot } from "../panel/ConnectionDot.js";
import { moment } from "../panel/format.js";
import { TaskDetailPanel } from "../panel/TaskDetailPanel.js";
import { useTask } from "../react/useTask.js";
import { IDLE, type Status } from "../status.js";
import { TidingsClient } from "../websocket.js";
import { Session } from "./api.js";
import { Connections } from "./Connections.js";
import { Overview } from "./Overview.js";
import { RawEvents } from "./RawEvents.js";
import { useKeyboard } from "./keyboard.js";
import { Link, taskOf, useLine, usePath } from "./routing.js";
import { SignIn } from "./SignIn.js";
import { forget, keep, recall } from "./storage.js";
import { Rates } from "./rates.js";
import { TasksStore } from "../store/tasks-store.js";
import { ThemeChoice } from "./Theme.js";

const KEY = "tidings-token";

/** Creates the page's only client. */
function connect() {
  const session = new Session();
  session.token = recall(() => sessionStorage, KEY);
  // This is long enough to move from one task to the next over the same socket.
  const client = new TidingsClient({ token: () => session.token ?? "", linger: 2_000 });
  const rates = new Rates();
  const store = new TasksStore(client, "*", { onEvent: ({ timestamp }) => rates.event(timestamp) });
  return { session, client, rates, store };
}

function useStatus(client: TidingsClient): Status {
  const [status, setStatus] = useState<Status>(IDLE);
  useEffect(() => {
    setStatus(client.status);
    return client.onStatus(setStatus);
  }, [client]);
  return status;
}

const lineHref = (offset: number) => `#event-${offset}`;

/** Shows the task and its progress in the title of the tab. */
function useTitle(client: TidingsClient, taskId: string | null, page: string | null): void {
  const { task } = useTask(taskId, { client, history: 0 });
  const progress = task?.status === "running" && task.progress !== null ? `${Math.round(task.progress)} % ` : "";
  const title = page ?? (taskId && `${progress}${taskId}`);
  useEffect(() => {
    document.title = title ? `${title} · Tidings` : "Tidings";
  }, [title]);
}

/** Moves the focus to the heading after a change of page, so that it is not lost. */
function useFocus(path: string): void {
  const last = useRef(path);
  useEffect(() => {
    if (last.current === path) return;
    last.current = path;
    const active = document.activeElement;
    if (active && active !== document.body) return;
    const heading = document.querySelector<HTMLElement>("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
  }, [path]);
}

/** Shows the time up to which the list is current, while there is no connection. */
function AsOf({ store }: { store: TasksStore }) {
  const { asOf } = useSyncExternalStore(store.subscribe, store.getSnapshot);
  return asOf === null ? null : <span className="td-as-of">as of {moment(asOf)}</span>;
}

function NotFound({ path }: { path: string }) {
  return (
    <main className="td-card db-sign-in">
      <h1>There is no page here</h1>
      <p className="td-muted">
        <code>{path}</code> is neither the list of tasks nor the page of a task. A task's id has 1 to 128 of <code>A–Z a–z 0–9 . _ : - ~</code>.
      </p>
      <Link to="/" className="db-back">
        All tasks
      </Link>
    </main>
  );
}

export function App() {
  const { session, client, rates, store } = useMemo(connect, []);
  const status = useStatus(client);
  const path = usePath();
  const taskId = taskOf(path);
  const connections = path === "/connections";
  const locked = status.state === "closed" && status.code === 4401;
  const found = path === "/" || path === "/index.html" || taskId !== null || connections;
  const line = useLine();
  useKeyboard();
  useTitle(client, taskId, connections ? "Connections" : found ? null : "Not found");
  useFocus(path);
  const signIn = (token: string) => {
    session.token = token;
    keep(() => sessionStorage, KEY, token);
    client.reconnect();
  };
  const signOut = () => {
    session.token = null;
    forget(() => sessionStorage, KEY);
    location.assign("/");
  };
  return (
    <TidingsContext value={client}>
      <div className="tidings db-page" data-view={taskId ? "task" : connections ? "connections" : "overview"}>
        <header className="db-top">
          <Link to="/" className="db-brand">
            <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
              <rect width="32" height="32" rx="9" />
              <path d="M7 19.5c3 0 3-7 6-7s3 7 6 7 3-7 6-7" />
            </svg>
            <span>Tidings</span>
          </Link>
          <span className="db-space" />
          {!taskId && !connections && (
            <Link to="/connections" className="db-nav">
              Connections
            </Link>
          )}
          {!taskId && <ConnectionDot status={status} onReconnect={() => client.reconnect()} />}
          {path === "/" && <AsOf store={store} />}
          {session.token !== null && (
            <button type="button" className="td-link" onClick={signOut}>
              Sign out
            </button>
          )}
          <ThemeChoice />
        </header>
        {locked ? (
          <SignIn refused={session.token !== null} onToken={signIn} />
        ) : taskId ? (
          <main>
            <TaskDetailPanel key={taskId} taskId={taskId} line={line} lineHref={lineHref} lead={<Link to="/" className="db-back">All tasks</Link>} />
            <RawEvents key={`raw ${taskId}`} taskId={taskId} session={session} />
          </main>
        ) : connections ? (
          <Connections session={session} />
        ) : !found ? (
          <NotFound path={path} />
        ) : (
          <Overview store={store} rates={rates} session={session} />
        )}
      </div>
    </TidingsContext>
  );
}
