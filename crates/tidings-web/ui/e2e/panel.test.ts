/** The panel in another page, with data that break layouts. */

import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { EVERYTHING, publishHostile } from "./support/hostile.js";
import { openHarness } from "./support/pages.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
  await publishHostile(server);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

async function panel(page: Page, taskId: string): Promise<void> {
  await openHarness(page, server.url);
  await page.evaluate((taskId) => window.harness.render("panel", taskId), taskId);
  await page.locator(".td-dot[data-state=connected]").waitFor();
}

const log = (page: Page) => page.locator(".td-lines");

/** Returns whether the box is scrolled to its end. */
const atEnd = (page: Page, selector: string) => page.locator(selector).evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24);

test("a light page stays light in a dark system: the style changes nothing outside of the panel", async () => {
  const { context, page } = await open(browser, { colorScheme: "dark" });
  await openHarness(page, server.url);
  const host = () =>
    page.evaluate(() => {
      const style = (element: Element) => {
        const { color, backgroundColor, colorScheme, font, margin } = getComputedStyle(element);
        return [color, backgroundColor, colorScheme, font, margin];
      };
      const probe = document.body.appendChild(document.createElement("button"));
      probe.dataset.theme = "dark";
      const styles = [document.documentElement, document.body, probe].map(style);
      probe.remove();
      return styles;
    });
  const styled = await host();
  const own = await page.evaluate(() => {
    const sheets = [...document.styleSheets];
    sheets.forEach((sheet) => (sheet.disabled = true));
    return sheets.length;
  });
  expect(own).toBeGreaterThan(0);
  expect(await host()).toEqual(styled);
  // The panel itself is as light as the page.
  await page.evaluate(() => [...document.styleSheets].forEach((sheet) => (sheet.disabled = false)));
  await page.evaluate(() => window.harness.render("panel", "hostile"));
  await page.locator("h1").first().waitFor();
  expect(await page.locator("h1").first().evaluate((heading) => getComputedStyle(heading).color)).toBe("rgb(23, 27, 35)");
  await context.close();
});

test("in a column of 420 px everything can be read, and nothing widens the page", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1280, height: 900 } });
  await panel(page, "hostile");
  await page.addStyleTag({ content: "main { width: 420px }" });
  await page.locator(".td-line[data-offset]").first().waitFor();
  const widths = await page.locator(".td-line[data-offset] .td-text").evaluateAll((texts) => texts.filter((text) => text.textContent!.length > 60).map((text) => text.getBoundingClientRect().width));
  expect(widths.length).toBeGreaterThan(3);
  expect(Math.min(...widths)).toBeGreaterThan(250);
  const out = await page.evaluate(() => {
    const column = document.querySelector("main")!.getBoundingClientRect().right;
    const scrolls = (element: Element) => element.closest(".td-lines, .td-output, .td-table, pre, summary, .td-hidden") !== null;
    return [...document.querySelectorAll("main *")].filter((element) => !scrolls(element) && element.getBoundingClientRect().right > column + 1).map((element) => element.outerHTML.slice(0, 100));
  });
  expect(out).toEqual([]);
  await context.close();
});

test("hundreds of words of two outputs push nothing out of the log, and the newest of them is in sight", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1000, height: 900 } });
  await server.publish("words", ["task_started"], ["log", { message: "before the words" }]);
  await panel(page, "words");
  for (let round = 0; round < 6; round++) {
    const words = Array.from({ length: 100 }, (_, index): [string, object] => ["output_delta", { output_id: index % 2 ? "b" : "a", text: `word ${round * 100 + index}\n\n` }]);
    await server.publish("words", ...words);
  }
  await server.publish("words", ["log", { message: "after the words" }]);
  await log(page).getByText("after the words").waitFor();
  expect(await log(page).getByText("before the words").count()).toBe(1);
  expect(await page.locator(".td-line[data-offset]").count()).toBeLessThan(5);
  await page.getByText("word 599").waitFor();
  for (const id of ["a", "b"]) await until(`output ${id} follows its end`, () => atEnd(page, `.td-output[aria-label=${id}]`));
  // A reader who scrolls up stays there.
  const box = page.locator(".td-output[aria-label=a]");
  await box.evaluate((element) => element.scrollTo(0, 100));
  await server.publish("words", ["output_delta", { output_id: "a", text: "\n\nthe very last\n\n" }]);
  await box.getByText("the very last").waitFor({ state: "attached" });
  expect(await box.evaluate((element) => element.scrollTop)).toBe(100);
  await context.close();
});

test("who reads scrolled up keeps the line in place while thousands come, and goes to the end by a button", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1000, height: 900 } });
  const lines = (from: number, count: number) => Array.from({ length: count }, (_, index): [string, object] => ["log", { message: `line ${from + index}${index % 7 ? "" : " long".repeat(60)}` }]);
  await server.publish("reading", ["task_started"], ...lines(0, 500));
  await panel(page, "reading");
  await log(page).getByText("line 499").waitFor();
  await until("it begins at the end", () => atEnd(page, ".td-lines"));
  await log(page).hover();
  await page.mouse.wheel(0, -2_000);
  await page.locator(".td-jump").waitFor();
  const top = () =>
    log(page).evaluate((box) => {
      const begin = box.getBoundingClientRect().top;
      const line = [...box.querySelectorAll<HTMLElement>("[data-offset]")].find((line) => line.getBoundingClientRect().bottom > begin)!;
      return { offset: line.dataset.offset, top: Math.round(line.getBoundingClientRect().top - begin) };
    });
  await until("scrolling has come to rest", async () => {
    const one = JSON.stringify(await top());
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    return JSON.stringify(await top()) === one;
  });
  const before = await top();
  for (let round = 0; round < 3; round++) await server.publish("reading", ...lines(500 + round * 300, 300));
  await page.locator(".td-jump", { hasText: "900 new" }).waitFor();
  const after = await top();
  expect(after.offset).toBe(before.offset);
  expect(Math.abs(after.top - before.top)).toBeLessThanOrEqual(2);
  await page.locator(".td-jump").click();
  await log(page).getByText("line 1399").waitFor();
  await until("it follows again", () => atEnd(page, ".td-lines"));
  await context.close();
});

test("a copied line is one line, with its time and its type", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1000, height: 900 } });
  await server.publish("copied", ["task_started", { name: "Copied" }], ["log", { message: "first" }], ["log", { message: "second" }]);
  await panel(page, "copied");
  await log(page).getByText("second").waitFor();
  const text = await page.evaluate(() => {
    getSelection()!.selectAllChildren(document.querySelector(".td-lines")!);
    return getSelection()!.toString();
  });
  const lines = text.split("\n").filter((line) => line.trim() && !/^\d{4}-/.test(line));
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d task_started started: Copied$/);
  expect(lines[1]).toMatch(/^\d\d:\d\d:\d\d first$/);
  await context.close();
});

test("links lead to web pages only, and say so where they leave the page; no HTML comes from data", async () => {
  const { context, page, complaints } = await open(browser);
  await panel(page, "hostile");
  const artifacts = page.getByRole("region", { name: "Artifacts" });
  await artifacts.locator("a").nth(2).waitFor();
  const links = await artifacts.locator("a").evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href));
  expect(links).toEqual(["https://example.org/a", "http://evil.example/report", `${server.url}/files/report.txt`]);
  await artifacts.getByText("evil.example").waitFor();
  const answer = page.locator(".td-markdown");
  await answer.locator("strong", { hasText: "bold" }).waitFor();
  expect(await answer.locator("a").evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href))).toEqual(["https://example.org/"]);
  expect(await answer.locator("img, script").count()).toBe(0);
  await answer.getByText("<script>window.hacked=2</script>").waitFor();
  expect(await page.evaluate(() => (window as any).hacked)).toBeUndefined();
  expect(complaints).toEqual([]);
  await context.close();
});

test("artifacts: an image is drawn, a diff has its colours, data can be opened", async () => {
  const { context, page } = await open(browser);
  await panel(page, "hostile");
  const artifacts = page.getByRole("region", { name: "Artifacts" });
  const picture = artifacts.getByRole("img", { name: "picture" });
  await picture.scrollIntoViewIfNeeded();
  await until("the image is drawn", () => picture.evaluate((image: HTMLImageElement) => image.naturalWidth === 1));
  await artifacts.getByText("+1 −1").click();
  const tones = await artifacts.locator(".td-diff span").evaluateAll((lines) => lines.map((line) => (line as HTMLElement).dataset.tone));
  expect(tones).toEqual(["file", "file", "place", "removed", "added", undefined]);
  await context.close();
});

test("colours of a terminal are colours, and other escapes are nothing", async () => {
  const { context, page } = await open(browser);
  await panel(page, "hostile");
  await page.locator(".td-ansi-red", { hasText: "red" }).waitFor();
  await page.locator(".td-ansi-green.td-bold, .td-ansi-bright-green", { hasText: "green and bold" }).waitFor();
  const line = (await log(page).locator(".td-text", { hasText: "orange" }).textContent())!;
  expect(line).toBe("red green and bold orange moved");
  await context.close();
});

test("without motion an unknown progress does not look like a part that is done; in forced colours bars can be seen", async () => {
  const { context, page } = await open(browser, { reducedMotion: "reduce" });
  await panel(page, "unknown");
  const share = await page.locator(".td-progress[data-unknown] .td-progress-bar").evaluate((bar) => bar.getBoundingClientRect().width / bar.parentElement!.getBoundingClientRect().width);
  expect(share).toBeCloseTo(1, 1);
  await page.evaluate(() => window.harness.render("panel", "cancelled"));
  await page.locator(".td-badge[data-status=cancelled]").waitFor();
  await page.emulateMedia({ forcedColors: "active" });
  const [bar, track] = await page.locator(".td-progress-bar").evaluate((bar) => [bar, bar.parentElement!].map((element) => getComputedStyle(element).backgroundColor));
  expect(bar).not.toBe(track);
  const dot = await page.locator(".td-dot").first().evaluate((dot) => getComputedStyle(dot).backgroundColor);
  expect(dot).not.toBe("rgba(0, 0, 0, 0)");
  await context.close();
});

test("the whole of a long log: 20,000 lines, from the end to the beginning, searched and jumped about in", async () => {
  const long = await Server.start({ args: ["--max-events", "30000", "--max-task-bytes", "64MiB"] }).catch(() => Server.start({ args: ["--max-events", "30000"] }));
  await long.publish("long", ["task_started", { name: "Long" }]);
  for (let start = 0; start < 20_000; start += 1_000) {
    await long.publish("long", ...Array.from({ length: 1_000 }, (_, index): [string, object] => ["log", { message: start + index === 12_345 ? "a needle" : `line ${start + index}`, level: start + index === 777 ? "error" : "info" }]));
  }
  const { first } = await long.get("/api/tasks/long/events?since=0&limit=1").then(({ events }) => ({ first: events[0].offset as number }));
  const { context, page, complaints } = await open(browser, { viewport: { width: 1000, height: 900 } });
  await openHarness(page, long.url);
  await page.evaluate(() => window.harness.render("panel", "long"));
  await log(page).getByText("line 19999").waitFor();
  await log(page).evaluate((box) => box.scrollTo(0, 0));
  await page.locator(`.td-line[data-offset="${first}"]`).waitFor();
  expect(await page.locator(".td-line[data-offset]").count()).toBeLessThan(1_500);
  await page.getByRole("searchbox", { name: "Search the log" }).fill("needle");
  await page.getByText("1 match").waitFor();
  await page.locator(".td-found button").click();
  await page.locator(".td-line[data-marked]", { hasText: "a needle" }).waitFor();
  await log(page).getByText("line 12340").waitFor();
  if (first < 777) {
    await page.getByRole("button", { name: "First error" }).click();
    await page.locator(".td-line[data-marked]", { hasText: "line 777" }).waitFor();
  }
  expect(complaints).toEqual([]);
  await context.close();
  await long.stop();
});

test("every kind of event has a line or a place of its own", async () => {
  const { context, page } = await open(browser, { viewport: { width: 1200, height: 900 } });
  await panel(page, "hostile");
  await page.locator(".td-line[data-offset]").first().waitFor();
  const offsets = await page.locator(".td-line[data-offset]").evaluateAll((all) => all.map((line) => Number((line as HTMLElement).dataset.offset)));
  const expected = EVERYTHING.flatMap(([type], index) => (type === "output_delta" ? [] : [index + 1]));
  // The task has children, so the server's own `children_update`s follow.
  expect(offsets.filter((offset) => offset <= EVERYTHING.length)).toEqual(expected);
  await context.close();
});

test("a double click on Cancel does not cancel", async () => {
  const { context, page } = await open(browser);
  await server.publish("double", ["task_started"]);
  await panel(page, "double");
  await page.getByRole("button", { name: "Cancel" }).dblclick();
  await page.getByRole("button", { name: "Really cancel?" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Cancel", exact: true }).waitFor();
  expect((await server.get("/api/tasks/double")).pending_commands).toEqual([]);
  await context.close();
});

test("a pause that is far back in the log is known", async () => {
  const { context, page } = await open(browser);
  const lines = Array.from({ length: 300 }, (_, index): [string, object] => ["log", { message: `line ${index}` }]);
  await server.publish("paused", ["task_started"], ["command_requested", { command_id: "p", command: "pause", by: "ada" }], ["command_completed", { command_id: "p" }], ...lines);
  await panel(page, "paused");
  await page.getByRole("button", { name: "Resume" }).waitFor();
  await context.close();
});

test("a task that is removed while it is open is said to be gone", async () => {
  const { context, page } = await open(browser);
  await server.publish("leaves", ["task_started"]);
  await panel(page, "leaves");
  await page.locator(".td-badge[data-status=running]").waitFor();
  await fetch(`${server.url}/api/tasks/leaves`, { method: "DELETE" });
  await page.getByText("The events of this task are gone").waitFor();
  await context.close();
});

test("what comes during a search and matches is found", async () => {
  const { context, page } = await open(browser);
  await server.publish("searching", ["task_started"]);
  await panel(page, "searching");
  await page.getByRole("searchbox", { name: "Search the log" }).fill("needle");
  await page.getByText("Nothing matches.").waitFor();
  await server.publish("searching", ["log", { message: "a needle" }]);
  await page.locator(".td-found .td-line", { hasText: "a needle" }).waitFor();
  await context.close();
});

test("a background of a terminal is painted, and the text on it can be read", async () => {
  const { context, page } = await open(browser);
  await server.publish("painted", ["task_started"], ["log", { message: "\u001b[41mground\u001b[0m \u001b[7mreverse" }]);
  await panel(page, "painted");
  const colours = (text: string) =>
    page.locator(".td-painted", { hasText: text }).evaluate((element) => {
      const style = (of: Element) => getComputedStyle(of);
      const log = style(element.closest(".td-lines")!).backgroundColor;
      return { painted: style(element).backgroundColor !== log, text: style(element.firstElementChild!).color === log };
    });
  for (const text of ["ground", "reverse"]) expect(await colours(text)).toEqual({ painted: true, text: true });
  await context.close();
});

test("an image is saved as its bytes", async () => {
  const { context, page } = await open(browser);
  const data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  await server.publish("picture", ["task_started"], ["artifact", { artifact_id: "a", name: "pic.png", media_type: "image/png", data }]);
  await panel(page, "picture");
  const saving = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save" }).click();
  const saved = readFileSync(await (await saving).path());
  expect(saved.toString("base64")).toBe(data);
  expect(await page.getByText("70 B").count()).toBe(1);
  await context.close();
});
