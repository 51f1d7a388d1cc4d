import { history, wholeHistory } from "../../history.js";
import type { LogView } from "../../store/log-store.js";
import type { TidingsEvent } from "../../types.js";
import type { TidingsClient } from "../../websocket.js";
import { moment } from "../format.js";
import { copyText, save } from "../save.js";
import { plain } from "./Ansi.js";
import { FAILURES, isFailure, sentence } from "./sentence.js";

/** The most lines to copy. A download contains all lines. */
const MOST_COPIED = 10_000;

/** The number of offsets to read at a time. */
const PAGE = 1_000;

function lineOf(event: TidingsEvent): string {
  return `${moment(event.timestamp, 0)} ${event.event_type === "log" ? "" : `${event.event_type} `}${plain(sentence(event))}`;
}

/** Returns the offset of the first event that reports an error, or null. */
export async function firstFailure(client: TidingsClient, taskId: string): Promise<number | null> {
  for await (const { events } of wholeHistory(client, taskId, { types: FAILURES })) {
    const found = events.find(isFailure);
    if (found) return found.offset;
  }
  return null;
}

const isLine = ({ event_type }: TidingsEvent) => event_type !== "output_delta";

const textOf = (lines: readonly string[]) => `${lines.join("\n")}\n`;

/** Reads the newest lines, page before page. The browser lets a page copy only soon after the click, so the rest is not read. */
async function newestLines(client: TidingsClient, taskId: string, { epoch, head, first }: LogView): Promise<string[]> {
  let lines: string[] = [];
  for (let to = head; to >= first && lines.length < MOST_COPIED; to -= PAGE) {
    const from = Math.max(first, to - PAGE + 1);
    const { events } = await history(client, taskId, { since: `${epoch}:${from - 1}`, limit: to - from + 1 });
    lines = [...events.filter((event) => event.offset <= to && isLine(event)).map(lineOf), ...lines];
  }
  return lines.slice(-MOST_COPIED);
}

/** Copies the newest lines of a log. */
export async function copyLog(client: TidingsClient, taskId: string, view: LogView): Promise<void> {
  await copyText(textOf(await newestLines(client, taskId, view)));
}

/** Saves a whole log as a file. */
export async function saveLog(client: TidingsClient, taskId: string): Promise<void> {
  const lines: string[] = [];
  for await (const { events } of wholeHistory(client, taskId)) lines.push(...events.filter(isLine).map(lineOf));
  save(textOf(lines), `${taskId}.log`);
}
