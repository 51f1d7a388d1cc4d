import { useEffect, useMemo, useRef, useState } from "react";
import type { TaskSnapshot } from "../generated/protocol.js";
import type { Session } from "./api.js";
import { PERIOD } from "./poll.js";

/** The most pages of the inbox to read. More tasks than they hold are not marked. */
const MOST_PAGES = 20;

interface Page {
  inputs: { task_id: string }[];
  next: string | null;
}

/** Returns the tasks with open questions that the reader may answer, or null if the server refuses to say. */
async function inbox(session: Session): Promise<Set<string> | null> {
  const ids = new Set<string>();
  let after = "";
  for (let page = 0; page < MOST_PAGES; page++) {
    const response = await session.send("GET", `/api/inputs?limit=1000${after}`);
    if (response.status >= 500) throw new Error(`HTTP status ${response.status}`);
    if (!response.ok) return null;
    const answer = (await response.json()) as Page;
    for (const { task_id } of answer.inputs) ids.add(task_id);
    if (!answer.next) break;
    after = `&after=${encodeURIComponent(answer.next)}`;
  }
  return ids;
}

const NOBODY: ReadonlySet<string> = new Set();

/**
 * Returns the tasks that wait for an answer of the reader. Which tasks wait is known from the list
 * itself. Which of them the reader may answer is asked again when other tasks wait, at most once
 * in two seconds.
 */
export function useNeedsYou(session: Session, tasks: readonly TaskSnapshot[]): ReadonlySet<string> {
  const [allowed, setAllowed] = useState<ReadonlySet<string>>(NOBODY);
  const asking = useMemo(() => tasks.filter((task) => task.pending_inputs.length > 0).map(({ task_id }) => task_id), [tasks]);
  const key = asking.join(" ");
  const latest = useRef(key);
  const wake = useRef(() => {});
  useEffect(() => {
    latest.current = key;
    wake.current();
  }, [key]);
  useEffect(() => {
    let over = false;
    let resting = false;
    let answered = "";
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      const about = latest.current;
      // A change while a request is on its way, or in the pause after it, waits and does not
      // lengthen the pause.
      if (resting || !about || about === answered) return;
      resting = true;
      try {
        const ids = await inbox(session);
        if (over) return;
        answered = about;
        setAllowed(ids ?? NOBODY);
      } catch {
        // The next request may succeed.
      }
      if (over) return;
      timer = setTimeout(() => {
        resting = false;
        void look();
      }, PERIOD);
    };
    wake.current = () => void look();
    wake.current();
    return () => {
      over = true;
      wake.current = () => {};
      clearTimeout(timer);
    };
  }, [session]);
  return useMemo(() => new Set(key.split(" ").filter((id) => allowed.has(id))), [key, allowed]);
}
