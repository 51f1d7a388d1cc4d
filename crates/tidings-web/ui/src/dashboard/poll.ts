import { useEffect, useState } from "react";
import type { Session } from "./api.js";

/** How often what is looked at is asked for again, in milliseconds. */
export const PERIOD = 2_000;

export interface Polled<T> {
  /** The last answer. */
  value: T | null;
  /** The status of the last answer, if it was none to show. */
  refused: number | null;
  /** Asks again now. */
  again: () => void;
}

/** What is at a path of the server, anew every now and then while the page is looked at. */
export function usePolled<T>(session: Session, path: string, ask: (session: Session, path: string) => Promise<T | number> = answer): Polled<T> {
  const [state, setState] = useState<{ value: T | null; refused: number | null }>({ value: null, refused: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      try {
        const got = document.hidden ? null : await ask(session, path);
        if (over) return;
        if (typeof got === "number") setState({ value: null, refused: got });
        else if (got !== null) setState({ value: got, refused: null });
      } catch {
        // Without a server the connection's dot says so; what was there stays.
      }
      if (!over) timer = setTimeout(() => void look(), PERIOD);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [session, path, ask, turn]);
  return { ...state, again: () => setTurn((turn) => turn + 1) };
}

async function answer<T>(session: Session, path: string): Promise<T | number> {
  const response = await session.send("GET", path);
  return response.ok ? ((await response.json()) as T) : response.status;
}
