import { useEffect, useState, useSyncExternalStore } from "react";
import { MOUNT } from "./mount.js";
import { PERIOD } from "./poll.js";
import type { TasksStore } from "../store/tasks-store.js";


/** The part of `/api/stats` that is displayed. */
export interface Stats {
  version: string;
  uptime_ms: number;
  bus: { events_published: number; deliveries: number; tasks: number; gaps: Record<string, number> };
  connections: { connected: number; away: number };
}

/** How long an answer of the server may take, in milliseconds. */
const PATIENCE = 10_000;

/** The token that the page sends to the server. */
export class Session {
  token: string | null = null;

  headers(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  send(method: string, path: string): Promise<Response> {
    return fetch(MOUNT + path, { method, headers: this.headers(), cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  }

  async get<T>(path: string): Promise<T | null> {
    const response = await this.send("GET", path);
    return response.ok ? ((await response.json()) as T) : null;
  }
}

/** Returns the server's statistics while the page is visible. */
export function useStats(session: Session, store: TasksStore): Stats | null {
  const [stats, setStats] = useState<Stats | null>(null);
  const connected = useSyncExternalStore(store.subscribe, () => store.getSnapshot().status.state === "connected");
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      try {
        // Before this page is connected, the server would not count it.
        const answer = document.hidden || !connected ? null : await session.send("GET", "/api/stats");
        if (over) return;
        // A token without `admin` is refused each time. The next connection may have another one.
        if (answer?.status === 401 || answer?.status === 403) return setStats(null);
        if (answer?.ok) {
          const stats = (await answer.json()) as Stats;
          if (!over) setStats(stats);
        }
      } catch {
        // If the server is unreachable, the connection's dot says so, and the last numbers stay.
      }
      if (!over) timer = setTimeout(() => void ask(), PERIOD);
    };
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [session, store, connected]);
  return stats;
}
