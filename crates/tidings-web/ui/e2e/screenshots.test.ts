/**
 * The pictures of the documentation: made when `TIDINGS_SCREENSHOTS` names a
 * folder, such as docs/images; otherwise it is only tried whether they can be.
 */

import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

const folder = process.env.TIDINGS_SCREENSHOTS && resolve(process.env.TIDINGS_SCREENSHOTS);

let browser: Browser;
let demo: Server;
beforeAll(async () => {
  [browser, demo] = await Promise.all([launch(), Server.start({ command: "demo" })]);
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

const wide: BrowserContextOptions = { viewport: { width: 1200, height: 760 } };
const phone: BrowserContextOptions = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 1.5 };

const pictures = [
  ["dashboard-light", "/", { ...wide, colorScheme: "light" }],
  ["dashboard-dark", "/", { ...wide, colorScheme: "dark" }],
  ["dashboard-phone", "/", { ...phone, colorScheme: "light" }],
  ["panel-light", "/tasks/agent_run", { ...wide, colorScheme: "light" }],
  ["panel-dark", "/tasks/agent_run", { ...wide, colorScheme: "dark" }],
  ["panel-phone", "/tasks/agent_run", { ...phone, colorScheme: "dark" }],
] as const;

// One of each kind shows that they can be made.
test.each(folder ? pictures : [pictures[0], pictures[5]])("%s", async (name, path, options) => {
  const { context, page } = await open(browser, options);
  await page.goto(demo.url + path);
  await page.locator(".td-dot[data-state=connected]").waitFor();
  if (path === "/") {
    await until("events come", async () => Number(await page.locator(".db-value").nth(1).textContent()) > 0);
    await until("the server's figures are there", async () => (await page.locator(".db-value").nth(2).textContent()) === "1");
    // Kept, the line of events is to have a shape.
    const points = () => page.locator(".db-spark polyline").evaluate((line: SVGPolylineElement) => [...line.points].filter(({ y }) => y < 26).length);
    await until("the line of events has a shape", async () => (await points()) >= (folder ? 14 : 1));
  } else {
    // A moment at which there is much to see: the answer is being written.
    await until("the task is at 75 %", async () => (await page.locator(".td-percent").textContent()) === "75 %");
    await page.locator(".td-count", { hasText: "writing" }).waitFor();
  }
  const picture = await page.screenshot({ ...(folder ? { path: join(folder, `${name}.png`) } : {}), animations: "disabled" });
  expect(picture.length).toBeGreaterThan(10_000);
  await context.close();
});

if (folder) mkdirSync(folder, { recursive: true });
