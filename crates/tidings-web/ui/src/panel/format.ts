import { useEffect, useState } from "react";
import type { TaskError, TaskSnapshot } from "../generated/protocol.js";
import type { Status } from "../status.js";
import { plain } from "./log/Ansi.js";

const pad = (value: number) => String(value).padStart(2, "0");

/** Formats a duration: 0.4 s, 42 s, 3 min 05 s, 2 h 10 min. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${pad(Math.floor(seconds % 60))} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** Formats the time of day in seconds, in the reader's time zone. */
export function clock(timestamp: string | number): string {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? "–" : `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** Formats the day in the reader's time zone: 2026-11-29. */
export function day(timestamp: string | number): string {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? "–" : `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** Formats a moment: the time, and the day before it unless it is today. */
export function moment(timestamp: string | number, now = Date.now()): string {
  const today = day(timestamp) === day(now);
  return today ? clock(timestamp) : `${day(timestamp)} ${clock(timestamp)}`;
}

/** Formats a count: 9,999, then 10.0 k and 1.0 M. */
export function count(value: number): string {
  if (value < 10_000) return value.toLocaleString("en");
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} k`;
  return `${(value / 1e6).toFixed(1)} M`;
}

export function errorText(error: TaskError): string {
  if (typeof error === "string") return plain(error);
  return plain(error.code ? `${error.message} (${error.code})` : error.message);
}

/** Formats a status in words, such as `reconnecting in 3 s`. */
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
      return status.attempt > 0 ? "reconnecting" : (status.reason ?? "connecting");
    case "closed":
      return `closed: ${status.reason ?? "for good"}`;
    case "idle":
      return "not connected";
  }
}

/**
 * Returns how long a task has run and how long it will still run, from its pace up to its last
 * progress. Other events, such as log lines, do not change the estimate.
 */
export function times(task: TaskSnapshot, now: number): { elapsed: number | null; remaining: number | null } {
  if (!task.started_at) return { elapsed: null, remaining: null };
  const start = Date.parse(task.started_at);
  const elapsed = Math.max(0, (task.finished_at ? Date.parse(task.finished_at) : now) - start);
  const { progress, status, stalled, progress_at } = task;
  // At the start too little is known, and at the end nothing is left.
  if (status !== "running" || stalled || progress === null || progress < 2 || progress >= 100 || !progress_at) return { elapsed, remaining: null };
  const since = Math.max(0, Date.parse(progress_at) - start);
  const left = (since * (100 - progress)) / progress - (elapsed - since);
  // If the task takes longer than estimated, the remaining time is unknown.
  return { elapsed, remaining: left > 0 ? left : null };
}

/** Returns the current time, updated every second while `running`. */
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
