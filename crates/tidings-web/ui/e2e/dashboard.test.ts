/** The dashboard of the real server, with its simulated tasks. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
let demo: Server;
beforeAll(async () => {
  [browser, demo] = await Promise.all([launch(), Server.start({ command: "demo" })]);
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

test("tasks move, over one connection, and nothing is asked of anyone else", async () => {
  const { context, page, complaints } = await open(browser);
  const asked = new Set<string>();
  const sockets: string[] = [];
  page.on("request", (request) => asked.add(new URL(request.url()).origin));
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(demo.url);
  await page.getByRole("status").getByText("Connection: connected").waitFor({ state: "attached" });
  const bar = page.getByRole("progressbar", { name: "Progress of Find out why uploads fail" });
  await bar.waitFor({ state: "attached" });
  const shown = await bar.getAttribute("aria-valuenow");
  await until("a bar moves", async () => (await bar.getAttribute("aria-valuenow")) !== shown);
  expect([...asked]).toEqual([demo.url]);
  expect(sockets).toEqual([`${demo.url.replace("http", "ws")}/ws`]);
  await until("events are counted", async () => Number((await page.locator(".db-figure").nth(1).locator(".db-value").textContent())!) > 0);
  await until("connections are counted", async () => (await page.locator(".db-figure").nth(2).locator(".db-value").textContent()) === "1");
  expect(complaints).toEqual([]);
  await context.close();
});

test("filters by text and by status", async () => {
  const { context, page } = await open(browser);
  await page.goto(demo.url);
  const rows = page.locator(".db-row");
  await rows.first().waitFor();
  await page.getByLabel("Filter tasks").fill("uploads");
  await until("one is left", async () => (await rows.count()) === 1);
  expect(await rows.first().textContent()).toContain("agent_run");
  await page.getByLabel("Filter tasks").fill("no such task");
  await page.getByText("No task matches.").waitFor();
  await page.getByLabel("Filter tasks").fill("");
  await page.getByRole("button", { name: /^Running/ }).click();
  await until("only running ones", async () => {
    const badges = await page.locator(".db-row .td-badge").allTextContents();
    return badges.length > 0 && badges.every((badge) => badge === "Running");
  });
  await context.close();
});

test("a task's page: there by a click, back by the browser, over the same socket", async () => {
  const { context, page, complaints } = await open(browser);
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(demo.url);
  await page.locator(".db-row", { hasText: "agent_run" }).click();
  await page.getByRole("heading", { name: "Find out why uploads fail" }).waitFor();
  expect(new URL(page.url()).pathname).toBe("/tasks/agent_run");
  expect(await page.title()).toMatch(/(^| )agent_run · Tidings$/);
  await page.locator(".td-line").first().waitFor();
  await page.goBack();
  await page.locator(".db-row").first().waitFor();
  expect(sockets).toHaveLength(1);
  // Load the same page from its URL.
  await page.goto(`${demo.url}/tasks/agent_run`);
  await page.locator(".td-agents").waitFor();
  await page.locator(".td-calls li").first().waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("by keyboard alone", async () => {
  const { context, page } = await open(browser);
  await page.goto(demo.url);
  await page.locator(".db-row").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  const focused = await page.evaluate(() => document.activeElement!.getAttribute("href"));
  expect(focused).toBe("/tasks/build_main");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Build of main" }).waitFor();
  await context.close();
});

test("cancel: asked, accepted, done", async () => {
  const { context, page } = await open(browser);
  await page.goto(`${demo.url}/tasks/test_001`);
  const cancel = page.getByRole("button", { name: "Cancel" });
  await until("the task runs", () => cancel.isEnabled());
  await cancel.click();
  await page.getByRole("button", { name: "Really cancel?" }).click();
  await page.getByText("Cancel: done").waitFor();
  await until("the task says so", async () => {
    const { events } = await demo.get("/api/tasks/test_001/events?since=0&limit=1000");
    return events.some((event: any) => event.event_type === "task_cancelled");
  });
  await until("a new run can be asked", () => cancel.isEnabled());
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Pause: rejected: a simulated task knows only the command `cancel`").waitFor();
  await context.close();
});

test("two tabs see the same, and one that closes leaves the other alone", async () => {
  const server = await Server.start();
  const { context, page: first } = await open(browser);
  const second = await context.newPage();
  for (const page of [first, second]) {
    await page.goto(`${server.url}/tasks/t`);
    await page.locator(".td-dot[data-state=connected]").waitFor();
  }
  await server.publish("t", ["task_started", { name: "Seen twice" }], ["progress_update", { progress: 30 }]);
  for (const page of [first, second]) await page.locator(".td-percent", { hasText: "30 %" }).waitFor();
  await second.close();
  await until("one is left", async () => (await server.connected()) === 1);
  await server.publish("t", ["progress_update", { progress: 60 }]);
  await first.locator(".td-percent", { hasText: "60 %" }).waitFor();
  await context.close();
  await server.stop();
});

test("the theme is kept, and follows the system until one is chosen", async () => {
  const { context, page } = await open(browser, { colorScheme: "dark" });
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.goto(demo.url);
  const dark = await ground();
  await page.getByLabel("Theme").selectOption("light");
  const light = await ground();
  expect(light).not.toBe(dark);
  await page.reload();
  expect(await ground()).toBe(light);
  await context.close();
});

test("a tab's memory of tasks that the server has removed goes as well", async () => {
  const server = await Server.start();
  for (const id of ["a", "b"]) await server.publish(id, ["task_started"]);
  const { context, page } = await open(browser);
  await page.goto(server.url);
  const rows = page.locator(".db-row");
  await until("both are there", async () => (await rows.count()) === 2);
  await fetch(`${server.url}/api/tasks/a`, { method: "DELETE" });
  await until("one is left", async () => (await rows.count()) === 1);
  await context.close();
  await server.stop();
});
