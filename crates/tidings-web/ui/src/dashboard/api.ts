import { useEffect, useState, useSyncExternalStore } from "react";
import { PERIOD } from "./poll.js";
import type { TasksStore } from "../store/tasks-store.js";


/** The part of `/api/stats` that is displayed. */
export interface Stats {
  version: string;
  uptime_ms: number;
  bus: { events_published: number; deliveries: number; tasks: number; gaps: Record<string, number> };
  connections: { connected: number; away: number };
}

/** The token that the page sends to the server. */
export class Session {
  token: string | null = null;

  headers(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  send(method: string, path: string): Promise<Response> {
    return fetch(path, { method, headers: this.headers(), cache: "no-store" });
  }

  async get<T>(path: string): Promise<T | null> {
    const response = await this.send("GET", path);
    return response.ok ? ((await response.json()) as T) : null;
  }
}

interface Page {
  tasks: { task_id: string }[];
  next: string | null;
}

async function existing(session: Session): Promise<Set<string> | null> {
  const ids = new Set<string>();
  for (let after = ""; ; ) {
    const page: Page | null = await session.get(`/api/tasks?limit=1000${after}`);
    if (!page) return null;
    for (const { task_id } of page.tasks) ids.add(task_id);
    if (!page.next) return ids;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
}

/**
 * Returns the server's statistics while the page is visible. If they count fewer tasks than the
 * page has, some tasks were removed, and the store is updated.
 */
export function useStats(session: Session, store: TasksStore): Stats | null {
  const [stats, setStats] = useState<Stats | null>(null);
  const connected = useSyncExternalStore(store.subscribe, () => store.getSnapshot().status.state === "connected");
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      try {
        // Before this page is connected, the server would not count it.
        const answer = document.hidden || !connected ? null : await session.get<Stats>("/api/stats");
        if (over) return;
        if (answer) {
          setStats(answer);
          if (answer.bus.tasks < store.getSnapshot().tasks.length) {
            const ids = await existing(session);
            if (ids && !over) store.retain(ids);
          }
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
