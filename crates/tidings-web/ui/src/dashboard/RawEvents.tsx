import { useState } from "react";
import type { TaskSnapshot } from "../generated/protocol.js";
import type { Session } from "./api.js";
import { usePolled } from "./poll.js";
import type { TidingsEvent } from "../types.js";

/** The number of events to show. */
const NEWEST = 50;

interface Page {
  events: TidingsEvent[];
}

/** Returns the newest events of a task. It reads the task's offset first, because a page of history needs a start. */
async function newest(session: Session, path: string): Promise<Page | number> {
  const about = await session.send("GET", path);
  if (!about.ok) return about.status;
  const { epoch, offset } = (await about.json()) as TaskSnapshot;
  const since = encodeURIComponent(`${epoch}:${Math.max(0, offset - NEWEST)}`);
  const page = await session.send("GET", `${path}/events?since=${since}&limit=${NEWEST}`);
  return page.ok ? ((await page.json()) as Page) : page.status;
}

function Events({ taskId, session }: { taskId: string; session: Session }) {
  const { value, refused } = usePolled<Page>(session, `/api/tasks/${encodeURIComponent(taskId)}`, newest);
  if (refused !== null) return <p className="td-empty">{refused === 404 ? "There are no events." : `The server answers with ${refused}.`}</p>;
  return (
    <ol className="db-raw" tabIndex={0} aria-label="Raw events, the newest first">
      {value?.events.toReversed().map((event) => (
        <li key={event.offset}>
          <code>{JSON.stringify(event)}</code>
        </li>
      ))}
    </ol>
  );
}

/** Shows the events of a task in their wire form. They are requested only while the section is open. */
export function RawEvents({ taskId, session }: { taskId: string; session: Session }) {
  const [open, setOpen] = useState(false);
  return (
    <details className="td-card db-raw-events" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>Raw events</summary>
      {open && <Events taskId={taskId} session={session} />}
    </details>
  );
}
