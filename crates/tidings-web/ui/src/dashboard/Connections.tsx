import { useState } from "react";
import { count, duration, moment, useNow } from "../panel/format.js";
import type { Session } from "./api.js";
import { usePolled } from "./poll.js";
import { Link } from "./routing.js";

/** A connection, as returned by `/api/connections`. */
export interface ConnectionInfo {
  client_id: string;
  connected_at: string;
  remote_addr: string | null;
  user_agent: string | null;
  subject: string | null;
  transport: string;
  subscriptions: { task_id: string; offset: number; lag: number }[];
  patterns: string[];
  delivered: number;
  received: number;
  lag: number;
  blocked: boolean;
}

/** The most rows to draw. With more connections, a reader can search. */
const MOST = 200;

/** Returns the connections that match a text. Those that are furthest behind come first. */
export function chosen(all: readonly ConnectionInfo[], text: string): ConnectionInfo[] {
  const wanted = text.trim().toLowerCase();
  const says = ({ client_id, subject, remote_addr, subscriptions, patterns }: ConnectionInfo) =>
    [client_id, subject, remote_addr, ...patterns, ...subscriptions.map(({ task_id }) => task_id)];
  return all
    .filter((info) => !wanted || says(info).some((word) => word?.toLowerCase().includes(wanted)))
    .sort((a, b) => b.lag - a.lag || a.connected_at.localeCompare(b.connected_at));
}

/** Returns what a connection watches, in a few words. */
export function watches({ subscriptions, patterns }: ConnectionInfo): string {
  const names = [...patterns, ...subscriptions.map(({ task_id }) => task_id).filter((id) => !patterns.some((pattern) => id.startsWith(pattern.slice(0, -1))))];
  const rest = names.length - 3;
  return names.slice(0, 3).join(", ") + (rest > 0 ? ` and ${count(rest)} more` : "");
}

function Kick({ client, dead, onKick }: { client: string; dead: boolean; onKick: () => void }) {
  const [sure, setSure] = useState(false);
  return (
    <button
      type="button"
      className="td-button td-small"
      aria-label={`${sure ? "Really? " : ""}Kick ${client}`}
      aria-disabled={dead || undefined}
      onBlur={() => setSure(false)}
      onClick={() => {
        if (dead) return;
        if (sure) onKick();
        setSure(!sure);
      }}
    >
      {sure ? "Really?" : "Kick"}
    </button>
  );
}

/** Lists the connected clients and how far behind they are, and lets an operator disconnect them. */
export function Connections({ session }: { session: Session }) {
  const { value, refused, asOf, again } = usePolled<{ connections: ConnectionInfo[] }>(session, "/api/connections");
  const [text, setText] = useState("");
  const [failure, setFailure] = useState<string | null>(null);
  const ticking = useNow(asOf === null);
  const now = asOf ?? ticking;
  const all = value?.connections ?? [];
  const shown = chosen(all, text);
  const kick = async (client: string) => {
    const response = await session.send("DELETE", `/api/connections/${encodeURIComponent(client)}`).catch(() => null);
    // If the connection is already gone, the goal is reached.
    setFailure(response?.ok || response?.status === 404 ? null : `${client} could not be disconnected.`);
    again();
  };
  return (
    <main data-stale={asOf !== null || undefined}>
      <section className="td-card db-connections" aria-label="Connections">
        <header className="td-card-head">
          <h1>
            Connections <span className="td-count">{count(all.length)}</span>
          </h1>
          {asOf !== null && (
            <span className="td-as-of" role="status">
              the server does not answer, as of {moment(asOf)}
            </span>
          )}
          <input
            type="search"
            className="td-input"
            placeholder="Filter by client, subject, address or task"
            aria-label="Filter connections"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </header>
        {refused !== null && (
          <p className="td-callout td-bad" role="alert">
            {refused === 403 ? "Seeing connections needs a token with admin over all tasks." : `The server answers with ${refused}.`}
          </p>
        )}
        {failure && (
          <p className="td-callout td-bad" role="alert">
            {failure}
          </p>
        )}
        <div className="db-table" tabIndex={0} role="group" aria-label="List of connections">
          <table role="table">
            <thead role="rowgroup">
              <tr role="row">
                <th role="columnheader" scope="col">Client</th>
                <th role="columnheader" scope="col">Who and where</th>
                <th role="columnheader" scope="col">Watches</th>
                <th role="columnheader" scope="col">For</th>
                <th role="columnheader" scope="col">Delivered</th>
                <th role="columnheader" scope="col">Behind</th>
                <th role="columnheader" scope="col">
                  <span className="td-hidden">Action</span>
                </th>
              </tr>
            </thead>
            <tbody role="rowgroup">
              {shown.slice(0, MOST).map((info) => (
                <tr role="row" key={info.client_id}>
                  <td role="cell" data-label="Client">
                    <code>{info.client_id}</code> <span className="td-muted">{info.transport}</span>
                  </td>
                  <td role="cell" data-label="Who and where" title={info.user_agent ?? ""}>
                    {info.subject ?? "anybody"} <span className="td-muted">{info.remote_addr ?? ""}</span>
                  </td>
                  <td role="cell" data-label="Watches">{watches(info)}</td>
                  <td role="cell" data-label="For">{duration(now - Date.parse(info.connected_at))}</td>
                  <td role="cell" data-label="Delivered">{count(info.delivered)}</td>
                  <td role="cell" data-label="Behind">
                    {count(info.lag)} {info.blocked && <span className="td-bad">blocked</span>}
                  </td>
                  <td role="cell">
                    <Kick client={info.client_id} dead={asOf !== null} onKick={() => void kick(info.client_id)} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {value && shown.length === 0 && <p className="td-empty">{all.length > 0 ? "No connection matches." : "Nobody is connected."}</p>}
        {shown.length > MOST && <p className="td-muted">The {MOST} furthest behind of {count(shown.length)}; filter for others.</p>}
      </section>
      <p>
        <Link to="/" className="db-back">
          All tasks
        </Link>
      </p>
    </main>
  );
}
