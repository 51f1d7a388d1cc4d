/** axe reports nothing, and no page scrolls sideways: light and dark, at four widths, with hostile data. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violations } from "./support/axe.js";
import { launch, open } from "./support/browser.js";
import { publishHostile } from "./support/hostile.js";
import { Proxy } from "./support/proxy.js";
import { Server, until } from "./support/server.js";

const TASKS = 5_000;

/** axe runs in the page, and needs a page that stands still. */
const AXE = { bypassCSP: true, reducedMotion: "reduce" } as const;

let browser: Browser;
let server: Server;
/** Keeps a watcher connected, so that the page of connections has a row. */
const watching = new AbortController();
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
  await publishHostile(server);
  const stream = await fetch(`${server.url}/api/tasks/hostile/events`, { headers: { Accept: "text/event-stream" }, signal: watching.signal });
  // A stream that nobody reads is closed when its response is garbage-collected.
  const reader = stream.body!.getReader();
  const read = (): Promise<void> => reader.read().then(({ done }) => (done ? undefined : read()));
  read().catch(() => {});
  for (let start = 0; start < TASKS; start += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => server.publish(`task-${start + index}`, ["task_started", { name: `Task ${start + index}` }], ["progress_update", { progress: index }])));
  }
});
afterAll(async () => {
  watching.abort();
  await browser?.close();
  await server?.stop();
});

/** Returns how far the page scrolls sideways, and the elements that cause it. */
function sideways(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const out = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > clientWidth + 1);
    return [`${scrollWidth} > ${clientWidth}`, ...out.slice(0, 5).map((element) => element.outerHTML.slice(0, 120))];
  });
}

/** Each page, and what is there once it is whole. */
const PAGES: [path: string, ready: string[]][] = [
  ["/", [".db-row"]],
  ["/?q=hostile&sort=newest", [".db-row"]],
  ["/?q=no+such+task", [".td-empty"]],
  ["/tasks/hostile", [".td-markdown table", ".td-ask form input", ".td-tree li"]],
  ["/tasks/below", [".td-path"]],
  ["/tasks/failed", [".td-callout"]],
  ["/tasks/done", [".td-badge[data-status=completed]"]],
  ["/tasks/cancelled", [".td-badge[data-status=cancelled]"]],
  ["/tasks/unknown", [".td-progress[data-unknown]"]],
  ["/tasks/pending", [".td-line"]],
  ["/tasks/never-heard-of", [".td-callout[role=status]"]],
  ["/connections", ["tbody tr"]],
  ["/tasks/a/b", [".db-sign-in"]],
];

const SCHEMES = ["light", "dark"] as const;
const WIDTHS = [320, 390, 768, 1280];

test.each(PAGES)("%s in both schemes, from 320 to 1280 px wide", async (path, ready) => {
  const { context, page } = await open(browser, AXE);
  await page.goto(server.url + path);
  for (const part of ready) await page.locator(part).first().waitFor({ state: "attached" });
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      expect(await sideways(page), `${colorScheme}, ${width}`).toEqual([]);
      expect(await violations(page), `${colorScheme}, ${width}`).toEqual([]);
    }
  }
  expect(await page.evaluate(() => (window as any).hacked)).toBeUndefined();
  await context.close();
}, 600_000);

test.each([
  ["a zoom of 400 %", 320, 256],
  ["a phone on its side", 740, 340],
])("%s: a task can be reached and opened", async (_, width, height) => {
  const { context, page } = await open(browser, { viewport: { width, height } });
  await page.goto(server.url);
  const row = page.locator(".db-row").nth(1);
  await row.waitFor();
  await row.scrollIntoViewIfNeeded();
  const box = (await row.boundingBox())!;
  expect(box.y).toBeGreaterThanOrEqual(0);
  expect(box.y + box.height).toBeLessThanOrEqual(height + 1);
  expect(await sideways(page)).toEqual([]);
  await row.click();
  await page.locator(".td-summary").waitFor();
  expect(await sideways(page)).toEqual([]);
  await context.close();
});

test("without the code of a part: the text is there plainly, and the part comes when it can be loaded", async () => {
  const { context, page, complaints } = await open(browser, { ...AXE, viewport: { width: 390, height: 800 } });
  const parts = /\/assets\/(Markdown|Coloured)-/;
  await context.route(parts, (route) => route.abort());
  const tried = page.waitForEvent("requestfailed", (request) => parts.test(request.url()));
  await page.goto(`${server.url}/tasks/hostile`);
  await tried;
  await page.locator(".td-output", { hasText: "Some **bold** words" }).waitFor();
  await page.locator("main h1").waitFor();
  await page.locator(".td-dot[data-state=connected]").waitFor();
  expect(await violations(page)).toEqual([]);
  await context.unroute(parts);
  await page.locator(".td-markdown strong", { hasText: "bold" }).waitFor();
  await page.locator(".td-ansi-red").first().waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("without a server", async () => {
  const proxy = await Proxy.to(server.port);
  const { context, page } = await open(browser, { ...AXE, viewport: { width: 390, height: 800 } });
  await page.goto(`${proxy.url}/tasks/hostile`);
  await page.locator(".td-dot[data-state=connected]").waitFor();
  proxy.cut();
  await page.getByRole("button", { name: "Try now" }).waitFor();
  await page.getByText(/^as of \d\d:\d\d:\d\d$/).waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await sideways(page)).toEqual([]);
  proxy.open();
  // The page may have connected by itself already, and then there is no button.
  await page.getByRole("button", { name: "Try now" }).evaluateAll((buttons) => buttons.forEach((button) => (button as HTMLElement).click()));
  await page.locator(".td-dot[data-state=connected]").waitFor();
  await until("nothing is stale any more", async () => (await page.getByText(/^as of/).count()) === 0);
  await context.close();
  await proxy.close();
});
