/** axe reports nothing, and no page scrolls sideways: light and dark, at four widths, with hostile data. */

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { publishHostile } from "./support/hostile.js";
import { Proxy } from "./support/proxy.js";
import { Server, until } from "./support/server.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

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

/** Returns the violations that axe reports. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await (window as any).axe.run();
    return violations.flatMap(({ id, nodes }: any) => nodes.map((node: any) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary?.slice(0, 300)}`));
  });
}

/** Returns how far the page scrolls sideways, and the elements that cause it. */
function sideways(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const out = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > clientWidth + 1);
    return [`${scrollWidth} > ${clientWidth}`, ...out.slice(0, 5).map((element) => element.outerHTML.slice(0, 120))];
  });
}

const PAGES: [path: string, ready: string][] = [
  ["/", ".db-row"],
  ["/?q=hostile&sort=newest", ".db-row"],
  ["/?q=no+such+task", ".td-empty"],
  ["/tasks/hostile", ".td-markdown table"],
  ["/tasks/failed", ".td-callout"],
  ["/tasks/done", ".td-badge[data-status=completed]"],
  ["/tasks/cancelled", ".td-badge[data-status=cancelled]"],
  ["/tasks/unknown", ".td-progress[data-unknown]"],
  ["/tasks/pending", ".td-line"],
  ["/tasks/never-heard-of", ".td-callout[role=status]"],
  ["/connections", "tbody tr"],
  ["/tasks/a/b", ".db-sign-in"],
];

const SCHEMES = ["light", "dark"] as const;
const WIDTHS = [320, 390, 768, 1280];

test.each(SCHEMES.flatMap((colorScheme) => WIDTHS.map((width) => [colorScheme, width] as const)))("%s, %i px wide", async (colorScheme, width) => {
  const { context, page } = await open(browser, { ...AXE, colorScheme, viewport: { width, height: 800 } });
  for (const [path, ready] of PAGES) {
    await page.goto(server.url + path);
    await page.locator(ready).first().waitFor({ state: "attached" });
    expect(await sideways(page), path).toEqual([]);
    expect(await violations(page), path).toEqual([]);
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

test("without a server", { retry: 2 }, async () => {
  const proxy = await Proxy.to(server.port);
  const { context, page } = await open(browser, { ...AXE, viewport: { width: 390, height: 800 } });
  await page.goto(`${proxy.url}/tasks/hostile`);
  await page.locator(".td-dot[data-state=connected]").waitFor();
  // The page is loaded part by part: the task has to be there before the server goes.
  await page.locator("main h1").waitFor();
  proxy.cut();
  await page.getByRole("button", { name: "Try now" }).waitFor();
  await page.getByText(/^as of \d\d:\d\d:\d\d$/).waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await sideways(page)).toEqual([]);
  proxy.open();
  await page.getByRole("button", { name: "Try now" }).click({ force: true });
  await page.locator(".td-dot[data-state=connected]").waitFor();
  await until("nothing is stale any more", async () => (await page.getByText(/^as of/).count()) === 0);
  await context.close();
  await proxy.close();
});
