/** Large numbers of tasks, events and mounts. */

import type { Browser, CDPSession } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { openHarness, told, watch } from "./support/pages.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(() => browser?.close());

/** Publishes this number of events to one task, in batches. */
async function flood(server: Server, taskId: string, count: number): Promise<void> {
  const batch = 1_000;
  for (let sent = 0; sent < count; sent += batch) {
    const events = Array.from({ length: Math.min(batch, count - sent) }, (_, index): [string, object] => ["note", { number: sent + index, text: "some words to carry" }]);
    await server.publish(taskId, ...events);
  }
}

async function tasks(server: Server, count: number): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => `task-${index + 1}`);
  for (let start = 0; start < count; start += 100) {
    await Promise.all(
      ids.slice(start, start + 100).map((id, index) => server.publish(id, ["task_started", { name: `Task ${start + index + 1}` }], ["progress_update", { progress: (start + index) % 100 }])),
    );
  }
}

test.each([1_000, 10_000])("%i tasks: one connection, only what is seen is drawn, and the end is reached", async (count) => {
  const server = await Server.start();
  await tasks(server, count);
  const { context, page, complaints } = await open(browser, { viewport: { width: 1280, height: 800 } });
  await page.goto(server.url);
  await until("all are there", async () => (await page.locator(".db-chips button").first().textContent()) === `All ${count}`);
  expect(await server.connected()).toBe(1);
  const scroller = page.locator(".db-scroll");
  const most = await scroller.evaluate(async (element) => {
    let most = 0;
    const frame = () => new Promise(requestAnimationFrame);
    for (let step = 0; step <= 100; step++) {
      element.scrollTop = (element.scrollHeight / 100) * step;
      await frame();
      most = Math.max(most, element.querySelectorAll("li").length);
    }
    return most;
  });
  expect(most).toBeLessThan(60);
  await page.locator(".db-row", { hasText: `task-${count}` }).first().waitFor();
  await server.publish(`task-${count}`, ["task_failed", { error: "at the very end" }]);
  await page.getByText("at the very end").waitFor();
  expect(complaints).toEqual([]);
  await context.close();
  await server.stop();
});

test("a StrictMode double mount opens one socket, and unmount closes it", async () => {
  const server = await Server.start();
  const { context, page } = await open(browser);
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await openHarness(page, server.url);
  for (let round = 1; round <= 3; round++) {
    await page.evaluate(() => window.harness.render("counter", "t"));
    await page.locator("#state", { hasText: "connected" }).waitFor();
    expect(sockets).toHaveLength(round);
    expect(await server.connected()).toBe(1);
    await page.evaluate(() => window.harness.unmount());
    await until("the socket is closed", async () => (await server.connected()) === 0);
  }
  await context.close();
  await server.stop();
});

async function heap(session: CDPSession): Promise<number> {
  for (let round = 0; round < 3; round++) await session.send("HeapProfiler.collectGarbage");
  return (await session.send("Runtime.getHeapUsage")).usedSize;
}

test("memory stays flat over 100,000 events, all of which are told or named", async () => {
  const server = await Server.start();
  const { context, page, complaints } = await open(browser);
  await openHarness(page, server.url);
  await page.evaluate(() => window.harness.render("panel", "t"));
  await page.locator(".td-dot[data-state=connected]").waitFor();
  const session = await context.newCDPSession(page);
  const shown = (offset: number) =>
    until(`event ${offset} is shown`, async () => (await page.locator(".td-line[data-offset]").last().getAttribute("data-offset")) === String(offset));
  await flood(server, "t", 20_000);
  await shown(20_000);
  const before = await heap(session);
  await flood(server, "t", 80_000);
  await shown(100_000);
  const grown = (await heap(session)) - before;
  expect(grown).toBeLessThan(2 * 1024 * 1024);
  expect(await page.locator(".td-line").count()).toBeLessThanOrEqual(1_200);
  expect(complaints).toEqual([]);
  await context.close();

  // Read the same log from its beginning, with the checker.
  const { context: other, page: second } = await open(browser);
  await openHarness(second, server.url);
  await watch(second, "w", "t", { since: "0" });
  await flood(server, "t", 5_000);
  await until("the end is reached", async () => (await told(second, "w")).expected === 105_001);
  const end = await told(second, "w");
  expect(end.violations).toEqual([]);
  expect(end.gaps[0]).toMatchObject({ from: 1, reason: "expired" });
  await other.close();
  await server.stop();
});

test("a flood does not freeze the page", async () => {
  const server = await Server.start();
  const { context, page } = await open(browser);
  await openHarness(page, server.url);
  await page.evaluate(() => window.harness.render("panel", "t"));
  await page.locator(".td-dot[data-state=connected]").waitFor();
  const flooding = flood(server, "t", 20_000);
  // The page responds while events arrive: a reader can type into the filter.
  await page.getByRole("searchbox", { name: "Search the log" }).fill("nothing like this");
  await page.getByText("Nothing matches.").waitFor();
  await flooding;
  await page.getByRole("searchbox", { name: "Search the log" }).fill("");
  await until("all have come", async () => (await page.locator(".td-line[data-offset]").last().getAttribute("data-offset")) === "20000");
  await context.close();
  await server.stop();
});
