import { type FocusEvent, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { TidingsContext } from "../react/client.js";
import { ConnectionDot } from "../panel/ConnectionDot.js";
import { moment } from "../panel/format.js";
import type { TaskLink } from "../panel/Tree.js";
import { TaskDetailPanel } from "../panel/TaskDetailPanel.js";
import { useTask } from "../react/useTask.js";
import { IDLE, type Status } from "../status.js";
import { TidingsClient } from "../websocket.js";
import { Session } from "./api.js";
import { Connections } from "./Connections.js";
import { Overview } from "./Overview.js";
import { RawEvents } from "./RawEvents.js";
import { useKeyboard } from "./keyboard.js";
import { MOUNT } from "./mount.js";
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
  const client = new TidingsClient({ url: MOUNT || "/", token: () => session.token ?? "", linger: 2_000 });
  return { session, client, rates: new Rates() };
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

const taskLink: TaskLink = (taskId, children) => <Link to={`/tasks/${encodeURIComponent(taskId)}`}>{children}</Link>;

/** Sets the title of the tab. The page of a task sets its own (`undefined`). */
function useTitle(title: string | null | undefined): void {
  useEffect(() => {
    if (title === undefined) return;
    document.title = title ? `${title} · Tidings` : "Tidings";
  }, [title]);
}

interface TaskPageProps {
  taskId: string;
  session: Session;
  client: TidingsClient;
  line: number | null;
  /** Whether the page waits for a token. */
  locked: boolean;
  /** Called when the token does not allow the task that is shown. */
  onForbidden: () => void;
}

/** The page of a task. The title of the tab has its progress while that is current. */
function TaskPage({ taskId, session, client, line, locked, onForbidden }: TaskPageProps) {
  const { task, asOf, error } = useTask(taskId, { client, history: 0 });
  const progress = asOf === null && task?.status === "running" && task.progress !== null ? `${Math.round(task.progress)} % ` : "";
  useTitle(`${progress}${taskId}`);
  const forbidden = error?.code === "forbidden" && task !== null;
  const told = useRef(onForbidden);
  useEffect(() => {
    told.current = onForbidden;
  });
  useEffect(() => {
    if (forbidden) told.current();
  }, [forbidden]);
  return (
    <>
      <TaskDetailPanel taskId={taskId} line={line} lineHref={lineHref} taskLink={taskLink} lead={<Link to="/" className="db-back">All tasks</Link>} />
      {!locked && <RawEvents taskId={taskId} session={session} />}
    </>
  );
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

/** Puts the focus back, after the sign-in, to where it was. */
function useReturn(locked: boolean): (event: FocusEvent) => void {
  const last = useRef<HTMLElement | null>(null);
  useEffect(() => {
    if (!locked && last.current?.isConnected && document.activeElement === document.body) last.current.focus();
  }, [locked]);
  return ({ target }) => void (last.current = target as HTMLElement);
}

export function App({ make = connect }: { make?: typeof connect }) {
  const { session, client, rates } = useMemo(make, [make]);
  const create = () => new TasksStore(client, "*", { onEvent: ({ timestamp }) => rates.event(timestamp) });
  const [store, setStore] = useState(create);
  const [refusals, setRefusals] = useState(0);
  const status = useStatus(client);
  const path = usePath();
  const taskId = taskOf(path);
  const connections = path === "/connections";
  const overview = path === "/" || path === "/index.html";
  const locked = status.state === "closed" && status.code === 4401;
  const line = useLine();
  useKeyboard();
  useTitle(taskId ? undefined : connections ? "Connections" : overview ? null : "Not found");
  useFocus(path);
  const focused = useReturn(locked);
  const signIn = (token: string) => {
    session.token = token;
    keep(() => sessionStorage, KEY, token);
    // What one token has shown is not for the next one.
    setStore(create());
    client.reconnect();
  };
  const signOut = () => {
    session.token = null;
    forget(() => sessionStorage, KEY);
    location.assign(`${MOUNT}/`);
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
          {overview && <ConnectionDot status={status} onReconnect={() => client.reconnect()} />}
          {overview && !locked && <AsOf store={store} />}
          {session.token !== null && (
            <button type="button" className="td-link" onClick={signOut}>
              Sign out
            </button>
          )}
          <ThemeChoice />
        </header>
        {locked && (
          <main>
            <SignIn refused={session.token !== null} onToken={signIn} />
          </main>
        )}
        {taskId ? (
          // The panel keeps a half-written answer until the sign-in.
          <main hidden={locked} onFocus={focused}>
            <TaskPage key={`${taskId} ${refusals}`} taskId={taskId} session={session} client={client} line={line} locked={locked} onForbidden={() => setRefusals(refusals + 1)} />
          </main>
        ) : locked ? null : connections ? (
          <Connections session={session} />
        ) : overview ? (
          <Overview store={store} rates={rates} session={session} />
        ) : (
          <NotFound path={path} />
        )}
      </div>
    </TidingsContext>
  );
}
