import { useEffect, useRef, useState } from "react";
import { history } from "../../history.js";
import type { TidingsEvent } from "../../types.js";
import type { TidingsClient } from "../../websocket.js";

/** The number of matches to search for at a time. */
const ENOUGH = 200;

/** The most matches to keep. */
const MOST = 2_000;

export interface Search {
  /** The matches so far, in order, or null if there is nothing to search for. */
  readonly found: readonly TidingsEvent[] | null;
  readonly state: "searching" | "paused" | "done" | "failed";
  readonly failure: string | null;
  /** Searches for more matches. */
  more(): void;
}

/** The pause before new events are searched, in milliseconds. */
const PAUSE = 1_000;

/** Searches a task's whole log on the server, page after page. When it has been searched, and the log grows to a new `head`, the search goes on. */
export function useSearch(client: TidingsClient, taskId: string, text: string, types: readonly string[], head: number): Search {
  const [state, setState] = useState<Omit<Search, "more">>({ found: null, state: "done", failure: null });
  const [round, setRound] = useState(0);
  /** Where the search has come to, and the newest offset of the log when its last round began. */
  const place = useRef({ since: "0", found: [] as TidingsEvent[], head: 0 });
  const latest = useRef(head);
  latest.current = head;
  const wanted = `${text}\n${types.join()}`;
  const [searched, setSearched] = useState(wanted);
  if (searched !== wanted) {
    setSearched(wanted);
    setRound(0);
  }
  useEffect(() => {
    if (!text && types.length === 0) return setState({ found: null, state: "done", failure: null });
    const stop = new AbortController();
    if (round === 0) place.current = { since: "0", found: [], head: 0 };
    const { found } = place.current;
    const enough = found.length + ENOUGH;
    const told = (state: Search["state"], failure: string | null = null) => setState({ found: [...found], state, failure });
    const look = async () => {
      place.current.head = latest.current;
      // A round for new events tells only of new matches.
      const quiet = round > 0 && state.state === "done";
      if (!quiet) told("searching");
      for (;;) {
        const page = await history(client, taskId, { since: place.current.since, limit: ENOUGH, text, types, signal: stop.signal });
        if (stop.signal.aborted) return;
        found.push(...page.events);
        if (page.next === place.current.since) return told("done");
        place.current.since = page.next;
        if (found.length >= Math.min(enough, MOST)) return told("paused");
        if (!quiet || page.events.length > 0) told("searching");
      }
    };
    // Wait for a short pause in typing before searching.
    const timer = setTimeout(() => void look().catch((error: Error) => stop.signal.aborted || told("failed", error.message)), 200);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `wanted` is `text` and `types` as one value.
  }, [client, taskId, wanted, round]);
  const grown = (state.state === "done" || state.state === "failed") && state.found !== null && head > place.current.head;
  useEffect(() => {
    if (!grown) return;
    const timer = setTimeout(() => setRound((round) => round + 1), PAUSE);
    return () => clearTimeout(timer);
  }, [grown]);
  return { ...state, more: () => setRound(round + 1) };
}
