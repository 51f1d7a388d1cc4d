// @vitest-environment jsdom
/** The search in a log, while the log grows. */

import { act } from "react";
import { expect, test, vi } from "vitest";
import { ENGLISH } from "../src/panel/labels.js";
import Found from "../src/panel/log/Found.js";
import type { TidingsClient } from "../src/websocket.js";
import { box, root } from "./support/drawn.js";

test("what comes later and matches is found too, without a request when nothing came", async () => {
  const log: string[] = ["hay"];
  let asked = 0;
  const fetch = async (path: string) => {
    asked++;
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { searchParams } = new URL(path, "http://server.test");
    const since = Number(searchParams.get("since")!.split(":").at(-1));
    const events = log.map((message, index) => ({ offset: index + 1, event_type: "log", timestamp: "2026-11-23T09:00:00Z", data: { message } })).filter(({ offset, data }) => offset > since && data.message.includes(searchParams.get("text")!));
    return Response.json({ events, next: `e:${log.length}` });
  };
  const client = { fetch } as unknown as TidingsClient;
  const said = new Set<string>();
  const show = async () => {
    await act(async () => root.render(<Found client={client} taskId="t" text="needle" types={[]} head={log.length} labels={ENGLISH} onShow={() => {}} />));
    for (let step = 0; step < 50; step++) {
      await act(() => vi.advanceTimersByTimeAsync(100));
      said.add(box.querySelector("[role=status]")!.textContent!.trim());
    }
  };
  await show();
  expect([...said]).toEqual(["Searching…", "Nothing matches."]);
  const before = asked;
  await show();
  expect(asked).toBe(before);
  said.clear();
  log.push("more hay");
  await show();
  // A screen reader hears nothing of a round that has found nothing.
  expect([...said]).toEqual(["Nothing matches."]);
  log.push("a needle");
  await show();
  expect([...box.querySelectorAll(".td-text")].map(({ textContent }) => textContent)).toEqual(["a needle"]);
  log.push("a second needle");
  await show();
  expect(box.querySelectorAll(".td-text")).toHaveLength(2);
});
