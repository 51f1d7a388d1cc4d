import { TidingsError } from "./error.js";
import type { Gap } from "./generated/protocol.js";
import type { TidingsEvent } from "./types.js";
import type { TidingsClient } from "./websocket.js";

export interface HistoryOptions {
  /** The position after which to continue. `"0"` starts with the first retained event. Default `"0"`. */
  since?: string | undefined;
  /** The most events of a page. Default 100. */
  limit?: number | undefined;
  /** Only events of these types. */
  types?: readonly string[] | undefined;
  /** Only events whose data contain this text. */
  text?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** A page of a task's history. */
export interface HistoryPage {
  readonly events: readonly TidingsEvent[];
  /** Offsets before these events that are no longer retained. */
  readonly gap?: Gap | undefined;
  /** The position after which the next page starts. */
  readonly next: string;
}

/** Reads a page of a task's history over HTTP. */
export async function history(client: TidingsClient, taskId: string, options: HistoryOptions = {}): Promise<HistoryPage> {
  const { since = "0", limit = 100, types = [], text = "", signal } = options;
  const query = new URLSearchParams({ since, limit: String(limit) });
  if (types.length > 0) query.set("type", types.join(","));
  if (text) query.set("text", text);
  const path = `/api/tasks/${encodeURIComponent(taskId)}/events?${query}`;
  const response = await client.fetch(path, signal ? { signal } : {});
  if (response.ok) return (await response.json()) as HistoryPage;
  const { code = "unavailable", detail = `HTTP status ${response.status}` } = await response.json().catch(() => ({}));
  throw new TidingsError(code, detail);
}

/** Reads a task's history to its end, page after page. */
export async function* wholeHistory(client: TidingsClient, taskId: string, options: HistoryOptions = {}): AsyncGenerator<HistoryPage, void, void> {
  let since = options.since ?? "0";
  for (;;) {
    const page = await history(client, taskId, { limit: 1_000, ...options, since });
    yield page;
    if (page.next === since || (page.events.length === 0 && !options.types?.length && !options.text)) return;
    since = page.next;
  }
}
