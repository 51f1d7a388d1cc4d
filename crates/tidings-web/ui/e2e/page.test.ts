/** The dashboard's pages: focus, URLs, stale data, keyboard. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Proxy } from "./support/proxy.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
  for (let start = 0; start < 300; start += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => server.publish(`task-${start + index}`, ["task_started", { name: `Task ${start + index}` }], ["progress_update", { progress: 10, message: `at ${start + index}` }])));
  }
  await server.publish("broken", ["task_started", { name: "Broken" }], ["task_failed", { error: "the disk is full" }]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const focused = (page: Page) => page.evaluate(() => document.activeElement!.getAttribute("data-name") ?? document.activeElement!.tagName);

test("a focused row that is scrolled away keeps the focus", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1000, height: 700 } });
  await page.goto(server.url);
  await page.locator(".db-row").nth(2).focus();
  const name = await focused(page);
  expect(name).toMatch(/^task-/);
  const scroller = page.locator(".db-scroll");
  await scroller.evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await page.locator(".db-row", { hasText: "task-299" }).waitFor();
  expect(await focused(page)).toBe(name);
  await context.close();
});

test("going to a task and back: the focus is never lost, and the list is where it was", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1000, height: 700 } });
  await page.goto(server.url);
  const row = page.locator(".db-row", { hasText: "task-250" });
  const scroller = page.locator(".db-scroll");
  await until("all are there", async () => (await page.locator(".db-chips button").first().textContent()) === "All 301");
  await scroller.evaluate((box) => box.scrollTo(0, 250 * 52));
  await row.focus();
  const top = await scroller.evaluate((box) => box.scrollTop);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Task 250" }).waitFor();
  await until("the heading has the focus", async () => (await focused(page)) === "H1");
  await page.goBack();
  await until("the row has the focus", async () => (await focused(page)) === "task-250");
  expect(await scroller.evaluate((box) => box.scrollTop)).toBe(top);
  await context.close();
});

test("search, status and order are in the address, and are there again when it is opened", async () => {
  const { context, page } = await open(browser);
  await page.goto(server.url);
  await page.locator(".db-row").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("disk is full");
  await until("one is left", async () => (await page.locator(".db-row").count()) === 1);
  await page.getByLabel("Order").selectOption("failed");
  expect(new URL(page.url()).search).toBe("?q=disk+is+full&sort=failed");
  await page.reload();
  await until("one is left", async () => (await page.locator(".db-row").count()) === 1);
  expect(await page.getByLabel("Filter tasks").inputValue()).toBe("disk is full");
  await page.goto(`${server.url}/?sort=failed`);
  await until("the failed one is first", async () => (await focusedFirst(page)) === "broken");
  await page.keyboard.press("j");
  expect(await focused(page)).toBe("broken");
  await page.keyboard.press("j");
  expect(await focused(page)).toMatch(/^task-/);
  await page.keyboard.press("k");
  expect(await focused(page)).toBe("broken");
  await context.close();
});

const focusedFirst = (page: Page) => page.locator(".db-row").first().getAttribute("data-name");

test("after the connection is lost the page says until when it is right, and its clocks stand still", async () => {
  const proxy = await Proxy.to(server.port);
  const { context, page } = await open(browser);
  await page.goto(`${proxy.url}/tasks/task-1`);
  await page.locator(".td-percent", { hasText: "10 %" }).waitFor();
  const elapsed = () => page.locator(".td-facts div", { hasText: "Elapsed" }).locator("dd").textContent();
  const first = await elapsed();
  await until("the clock goes", async () => (await elapsed()) !== first);
  proxy.cut();
  await page.getByText(/^as of \d\d:\d\d:\d\d$/).waitFor();
  const stopped = await elapsed();
  // Two attempts to reconnect take longer than a second. Without the fix, the clock would have
  // advanced.
  const wait = page.locator(".td-connection-text");
  await until("it is tried again", async () => /reconnecting in \d+ s/.test((await wait.textContent()) ?? ""));
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 2_100)));
  expect(await elapsed()).toBe(stopped);
  await context.close();
  await proxy.close();
});

test("a task that was never heard of does not look like one that waits", async () => {
  const { context, page } = await open(browser);
  await page.goto(`${server.url}/tasks/tsak-1`);
  await page.getByText("No event of this task has come yet.").waitFor();
  expect(await page.locator(".td-badge, [role=progressbar]").count()).toBe(0);
  await server.publish("tsak-1", ["task_started", { name: "There it is" }]);
  await page.getByRole("heading", { name: "There it is" }).waitFor();
  await page.locator(".td-badge", { hasText: "Running" }).waitFor();
  await server.get("/api/stats");
  await fetch(`${server.url}/api/tasks/tsak-1`, { method: "DELETE" });
  await context.close();
});

test("an address that leads nowhere says so, with a way out", async () => {
  const { context, page } = await open(browser);
  for (const path of ["/tasks/a/b", "/tasks/", "/nonsense"]) {
    await page.goto(server.url + path);
    await page.getByRole("heading", { name: "There is no page here" }).waitFor();
  }
  await page.getByRole("link", { name: "All tasks" }).click();
  await page.locator(".db-row").first().waitFor();
  await context.close();
});

test("this page counts itself among the connections from the first figure on", async () => {
  const { context, page } = await open(browser);
  const seen: string[] = [];
  await page.exposeFunction("saw", (text: string) => seen.push(text));
  await page.addInitScript(() => {
    const look = () => {
      const figure = [...document.querySelectorAll(".db-figure")].find((each) => each.textContent!.startsWith("Connections"));
      const text = figure?.querySelector(".db-value")?.textContent;
      if (text) (window as any).saw(text);
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
  });
  await page.goto(server.url);
  await until("it is counted", () => seen.some((text) => Number(text) > 0));
  expect(seen).not.toContain("0");
  await context.close();
});

test("the tab's title has the task and how far it is", async () => {
  const { context, page } = await open(browser);
  await page.goto(`${server.url}/tasks/task-2`);
  await until("the title says it", async () => (await page.title()) === "10 % task-2 · Tidings");
  await context.close();
});

test("a link to a line shows that line", async () => {
  const { context, page } = await open(browser);
  await server.publish("linked", ["task_started"], ...Array.from({ length: 400 }, (_, index): [string, object] => ["log", { message: `line ${index}` }]));
  await page.goto(`${server.url}/tasks/linked#event-42`);
  const line = page.locator(".td-line[data-marked]", { hasText: "line 40" });
  await line.waitFor();
  await until("it is in sight", () =>
    line.evaluate((line) => {
      const { top, bottom } = line.getBoundingClientRect();
      const box = line.closest(".td-lines")!.getBoundingClientRect();
      return top >= box.top && bottom <= box.bottom;
    }),
  );
  await context.close();
});

test("commands by state: pause or resume, a cancel that is confirmed, another run after the end", async () => {
  const { context, page } = await open(browser);
  await page.goto(`${server.url}/tasks/task-3`);
  const buttons = () => page.locator(".td-buttons button").allTextContents();
  await until("it can be paused", async () => (await buttons()).join() === "Pause,Cancel");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Really cancel?" }).waitFor();
  expect((await server.get("/api/tasks/task-3")).pending_commands).toEqual([]);
  await page.getByRole("button", { name: "Really cancel?" }).click();
  await page.getByText("Cancel: asked, no answer yet").waitFor();
  await page.reload();
  await page.getByText("Cancel: asked, no answer yet").waitFor();
  await server.publish("task-3", ["task_completed"]);
  await until("it can be run again", async () => (await buttons()).join() === "Run again");
  await context.close();
});
