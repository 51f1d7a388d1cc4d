/** The operator's part of the dashboard: connected clients, disconnecting them, and the events that were published. */

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

test("a connection is seen, with what it watches, and kicked", async () => {
  const { context, page, complaints } = await open(browser, { bypassCSP: true });
  const laptop = await context.newPage();
  await laptop.goto(`${server.url}/healthz`);
  const closed = laptop.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const socket = new WebSocket(`${origin.replace("http", "ws")}/ws/tasks/build-7?client_id=laptop`);
        socket.onclose = ({ code }) => resolve(code);
      }),
  );
  await page.goto(server.url);
  await page.getByRole("link", { name: "Connections" }).click();
  const row = page.locator("tbody tr", { hasText: "laptop" });
  await row.getByText("build-7").waitFor();
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => (window as any).axe.run(document, { resultTypes: ["violations"] }));
  expect(violations.map(({ id, nodes }: any) => [id, nodes[0].target])).toEqual([]);
  await page.getByLabel("Filter connections").fill("build-7");
  await until("one is left", async () => (await page.locator("tbody tr").count()) === 1);
  await page.getByRole("button", { name: "Kick laptop", exact: true }).click();
  await page.getByRole("button", { name: "Really? Kick laptop" }).click();
  expect(await closed).toBe(1000);
  await until("it is gone", async () => (await page.locator("tbody tr").count()) === 0);
  // Load the same page from its URL.
  await page.reload();
  await page.getByRole("heading", { name: /^Connections/ }).waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("the raw events of a task are those that the server has", async () => {
  await server.publish("raw", ["task_started", { name: "Raw" }], ["own.kind", { deep: { er: [1, 2] } }]);
  const { context, page, complaints } = await open(browser);
  await page.goto(`${server.url}/tasks/raw`);
  await page.getByText("Raw events").click();
  const lines = page.locator(".db-raw li");
  await until("both are there", async () => (await lines.count()) === 2);
  const { events } = await server.get("/api/tasks/raw/events?since=0");
  expect(JSON.parse((await lines.first().textContent())!)).toEqual(events[1]);
  await server.publish("raw", ["task_completed"]);
  await until("the new one comes", async () => (await lines.count()) === 3);
  expect(complaints).toEqual([]);
  await context.close();
});
