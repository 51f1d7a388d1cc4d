import { useEffect, useState } from "react";
import type { TaskError, TaskSnapshot } from "../generated/protocol.js";
import type { Status } from "../status.js";

/** A length of time for people: 0.4 s, 42 s, 3 min 05 s, 2 h 10 min. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const pad = (value: number) => String(value).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${pad(Math.floor(seconds % 60))} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** The time of day, to the second, in the reader's zone. */
export function clock(timestamp: string): string {
  const date = new Date(timestamp);
  const pad = (value: number) => String(value).padStart(2, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

export function count(value: number): string {
  if (value < 10_000) return value.toLocaleString("en");
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} k`;
  return `${(value / 1e6).toFixed(1)} M`;
}

export function errorText(error: TaskError): string {
  if (typeof error === "string") return error;
  return error.code ? `${error.message} (${error.code})` : error.message;
}

/** A status in words, such as `reconnecting in 3 s`. */
export function statusText(status: Status, now: number): string {
  const inSeconds = status.retryAt ? Math.ceil((status.retryAt - now) / 1000) : 0;
  const when = inSeconds > 0 ? ` in ${inSeconds} s` : "";
  switch (status.state) {
    case "connected":
      return status.transport === "sse" ? "connected (SSE)" : "connected";
    case "reconnecting":
      return `reconnecting${when}`;
    case "offline":
      return when ? `offline, trying${when}` : "offline";
    case "connecting":
      return status.attempt > 0 ? "reconnecting" : "connecting";
    case "closed":
      return `closed: ${status.reason ?? "for good"}`;
    case "idle":
      return "not connected";
  }
}

/** How long a task has run, and how long it will, by its pace so far. */
export function times(task: TaskSnapshot, now: number): { elapsed: number | null; remaining: number | null } {
  if (!task.started_at) return { elapsed: null, remaining: null };
  const start = Date.parse(task.started_at);
  const elapsed = Math.max(0, (task.finished_at ? Date.parse(task.finished_at) : now) - start);
  const { progress } = task;
  // Too little is known at the very start, and nothing is left at the end.
  const known = task.status === "running" && progress !== null && progress >= 2 && progress < 100;
  const since = task.updated_at ? Math.max(0, Date.parse(task.updated_at) - start) : elapsed;
  const remaining = known ? Math.max(0, (since * (100 - progress)) / progress - (elapsed - since)) : null;
  return { elapsed, remaining };
}

/** The time, anew every second while it is needed. */
export function useNow(running: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [running]);
  return now;
}
