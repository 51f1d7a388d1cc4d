/** Copying a log. */

import { expect, test, vi } from "vitest";
import { copyLog } from "../src/panel/log/actions.js";
import type { TidingsClient } from "../src/websocket.js";

/** A client of a server with a log of `head` lines, of which those from `first` on are kept. */
function server(first: number, head: number) {
  const asked: string[] = [];
  const fetch = async (path: string) => {
    const { searchParams } = new URL(path, "http://server.test");
    asked.push(searchParams.get("since")!);
    const after = Math.max(first - 1, Number(asked.at(-1)!.split(":").at(-1)));
    const end = Math.min(head, after + Number(searchParams.get("limit")));
    const events = Array.from({ length: end - after }, (_, index) => ({ offset: after + 1 + index, event_type: "log", timestamp: "2026-11-23T09:00:00Z", data: { message: `line ${after + 1 + index}` } }));
    return Response.json({ events, next: `e:${end}` });
  };
  return { asked, client: { fetch } as unknown as TidingsClient };
}

/** Returns the lines that are copied. */
async function copied(first: number, head: number, shownHead = head) {
  const writeText = vi.fn<(text: string) => Promise<void>>().mockResolvedValue();
  vi.stubGlobal("navigator", { clipboard: { writeText } });
  const { client, asked } = server(first, head);
  await copyLog(client, "t", { head: shownHead, first, epoch: "e", failure: null, reset: null });
  vi.unstubAllGlobals();
  const lines = writeText.mock.calls[0]![0].trimEnd().split("\n").map((line) => Number(/line (\d+)$/.exec(line)![1]));
  return { lines, asked };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("the newest 10,000 lines are copied, and no more of the log is read", async () => {
  const { lines, asked } = await copied(1_001, 20_000);
  expect(lines).toEqual(range(10_001, 20_000));
  expect(asked).toHaveLength(10);
});

test.each([[1, 1], [5, 1_500], [1, 3_000]])("a log of the lines %i to %i is copied whole", async (first, head) => {
  expect((await copied(first, head)).lines).toEqual(range(first, head));
});

test("lines that come in the meantime are not copied twice", async () => {
  expect((await copied(1, 1_700, 1_500)).lines).toEqual(range(1, 1_500));
});
