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

test("a removed task leaves the list also after a restart, and without the statistics", async () => {
  let server = await Server.start();
  for (const id of ["a", "b"]) await server.publish(id, ["task_started"]);
  const { context, page } = await open(browser);
  await page.route("**/api/stats", (route) => route.fulfill({ status: 403 }));
  await page.goto(server.url);
  const rows = page.locator(".db-row");
  const ids = async () => (await rows.evaluateAll((rows) => rows.map((row) => row.getAttribute("data-name")))).join(" ");
  await until("both are there", async () => (await ids()) === "a b");
  const { port } = server;
  await server.stop();
  server = await Server.start({ port });
  for (const id of ["b", "c"]) await server.publish(id, ["task_started"]);
  await until("only those of the new server are there", async () => (await ids()) === "b c");
  await fetch(`${server.url}/api/tasks/c`, { method: "DELETE" });
  await until("one is left", async () => (await ids()) === "b");
  await context.close();
  await server.stop();
});

/** A server with tasks `w100` to `w159`. */
async function many(): Promise<Server> {
  const server = await Server.start();
  for (let id = 100; id < 160; id++) await server.publish(`w${id}`, ["task_started"], ["progress_update", { progress: 5 }]);
  return server;
}

test("a task opens at its top, and the way back leads to the same rows", async () => {
  const server = await many();
  const { context, page } = await open(browser, { viewport: { width: 844, height: 390 } });
  await page.goto(server.url);
  await page.locator(".db-row").first().waitFor();
  await page.locator(".db-scroll").evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  const last = page.locator("[data-name=w159]");
  await last.click();
  await page.getByRole("heading", { name: "w159" }).waitFor();
  expect(await page.evaluate(() => scrollY)).toBe(0);
  await page.goBack();
  await last.waitFor();
  await until("the page is where it was", () => page.evaluate(() => scrollY > 0));
  await context.close();
  await server.stop();
});

test("the focus stays in the list when its row goes, and Escape leaves the search as it is", async () => {
  const server = await many();
  const { context, page } = await open(browser);
  await page.goto(server.url);
  const focus = () => page.evaluate(() => document.activeElement!.getAttribute("data-name"));
  await page.locator("[data-name=w105]").focus();
  await fetch(`${server.url}/api/tasks/w105`, { method: "DELETE" });
  await until("the next row has the focus", async () => (await focus()) === "w106");
  await page.keyboard.press("j");
  expect(await focus()).toBe("w107");
  await page.keyboard.press("/");
  await page.keyboard.type("w15");
  await page.keyboard.press("Escape");
  expect(await page.getByLabel("Filter tasks").inputValue()).toBe("w15");
  expect(new URL(page.url()).search).toBe("?q=w15");
  expect(await page.evaluate(() => document.activeElement === document.body)).toBe(true);
  await context.close();
  await server.stop();
});

test("on the narrowest page no figure is cut or lies over another", async () => {
  const server = await many();
  for (let id = 1000; id < 1280; id++) await server.publish(`w${id}`, ["task_started"]);
  const { context, page } = await open(browser, { viewport: { width: 320, height: 800 } });
  await page.goto(server.url);
  await page.getByText("of 340").waitFor();
  const cut = await page.locator(".db-figure").evaluateAll((figures) =>
    figures
      .filter((figure) => getComputedStyle(figure).display !== "none")
      .filter((figure) => figure.scrollWidth > figure.clientWidth || figure.getBoundingClientRect().right > innerWidth)
      .map((figure) => figure.textContent),
  );
  expect(cut).toEqual([]);
  const [theme, card] = await page.evaluate(() => [".db-theme", ".db-figures"].map((name) => document.querySelector(name)!.getBoundingClientRect()));
  expect(card!.top - theme!.bottom).toBeGreaterThanOrEqual(4);
  await context.close();
  await server.stop();
});
