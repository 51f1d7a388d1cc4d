import { useEffect, useRef, useState } from "react";
import type { Session } from "./api.js";

/** The time between two requests for visible data, in milliseconds. */
export const PERIOD = 2_000;

export interface Polled<T> {
  /** The last answer. */
  value: T | null;
  /** The status of the last answer, if it was an error. */
  refused: number | null;
  /** While the server does not answer: when it last did, in milliseconds since 1970. */
  asOf: number | null;
  /** Sends a new request now. */
  again: () => void;
}

/** Returns the content of a path of the server. It is requested periodically while the page is visible. */
export function usePolled<T>(session: Session, path: string, ask: (session: Session, path: string) => Promise<T | number> = answer): Polled<T> {
  const [state, setState] = useState<Omit<Polled<T>, "again">>({ value: null, refused: null, asOf: null });
  const answered = useRef(Date.now());
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      try {
        const got = document.hidden ? null : await ask(session, path);
        if (over) return;
        if (got !== null) answered.current = Date.now();
        if (typeof got === "number") setState({ value: null, refused: got, asOf: null });
        else if (got !== null) setState({ value: got, refused: null, asOf: null });
      } catch {
        // The server is unreachable. The last content stays, and says how old it is.
        if (!over) setState((state) => ({ ...state, asOf: answered.current }));
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
