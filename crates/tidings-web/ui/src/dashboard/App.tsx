import { useEffect, useMemo, useState } from "react";
import { TidingsContext } from "../react/client.js";
import { ConnectionDot } from "../panel/ConnectionDot.js";
import { TaskDetailPanel } from "../panel/TaskDetailPanel.js";
import { IDLE, type Status } from "../status.js";
import { TidingsClient } from "../websocket.js";
import { Session } from "./api.js";
import { Connections } from "./Connections.js";
import { Overview } from "./Overview.js";
import { RawEvents } from "./RawEvents.js";
import { Link, taskOf, usePath } from "./routing.js";
import { SignIn } from "./SignIn.js";
import { keep, recall } from "./storage.js";
import { Rates } from "./rates.js";
import { TasksStore } from "../store/tasks-store.js";
import { ThemeChoice } from "./Theme.js";

const KEY = "tidings-token";

/** One client for the page, whatever is shown. */
function connect() {
  const session = new Session();
  session.token = recall(() => sessionStorage, KEY);
  // Long enough to go from one task to the next over the same socket.
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

export function App() {
  const { session, client, rates, store } = useMemo(connect, []);
  const status = useStatus(client);
  const path = usePath();
  const taskId = taskOf(path);
  const connections = path === "/connections";
  const locked = status.state === "closed" && status.code === 4401;
  useEffect(() => {
    const page = taskId ?? (connections ? "Connections" : null);
    document.title = page ? `${page} · Tidings` : "Tidings";
  }, [taskId, connections]);
  const signIn = (token: string) => {
    session.token = token;
    keep(() => sessionStorage, KEY, token);
    client.reconnect();
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
            Tidings
          </Link>
          <span className="db-space" />
          {!taskId && !connections && (
            <Link to="/connections" className="db-nav">
              Connections
            </Link>
          )}
          {!taskId && <ConnectionDot status={status} onReconnect={() => client.reconnect()} />}
          <ThemeChoice />
        </header>
        {locked ? (
          <SignIn refused={session.token !== null} onToken={signIn} />
        ) : taskId ? (
          <main>
            <TaskDetailPanel key={taskId} taskId={taskId} lead={<Link to="/" className="db-back">All tasks</Link>} />
            <RawEvents key={`raw ${taskId}`} taskId={taskId} session={session} />
          </main>
        ) : connections ? (
          <Connections session={session} />
        ) : (
          <Overview store={store} rates={rates} session={session} />
        )}
      </div>
    </TidingsContext>
  );
}
