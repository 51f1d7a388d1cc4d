/** Trees of tasks: children in the panel, the path above, and groups in the list. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violations } from "./support/axe.js";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
  const child = (id: string, name: string, parent_task_id: string) => server.publish(id, ["task_started", { name, parent_task_id }]);
  await server.publish("release", ["task_started", { name: "Release" }]);
  await child("builds", "Builds", "release");
  for (let index = 0; index < 60; index++) await child(`b-${String(index).padStart(2, "0")}`, `Build ${index}`, "builds");
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

test("a task's page lists its children live, page by page, and leads up and down by links", async () => {
  const { context, page, complaints } = await open(browser, { bypassCSP: true, reducedMotion: "reduce" });
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(`${server.url}/tasks/builds`);
  const tree = page.getByRole("region", { name: "Parts" });
  await tree.getByRole("listitem").nth(49).waitFor();
  expect(await tree.getByRole("listitem").count()).toBe(50);
  await server.publish("b-07", ["progress_update", { progress: 70 }]);
  await until("a child moves", async () => (await tree.getByRole("progressbar", { name: "Progress of Build 7", exact: true }).getAttribute("aria-valuenow")) === "70");
  await server.publish("b-08", ["task_failed", { error: "no" }]);
  await tree.getByRole("listitem").nth(8).getByText("Failed").waitFor();
  await tree.getByRole("button", { name: "Show more" }).click();
  await tree.getByRole("listitem").nth(59).waitFor();
  expect(await tree.getByRole("button", { name: "Show more" }).count()).toBe(0);
  // A child that begins later appears by itself.
  await server.publish("b-99", ["task_started", { name: "Build 99", parent_task_id: "builds" }]);
  await tree.getByText("Build 99").waitFor();
  await tree.getByText("1 failed · 60 running").waitFor();
  // 59 builds at 0 %, one at 70 % and one that failed: the parent, which reports nothing, shows their mean.
  await page.locator(".td-percent", { hasText: /^\d+ %$/ }).waitFor();
  expect(await violations(page)).toEqual([]);

  const path = page.getByRole("navigation", { name: "Part of" });
  await path.getByRole("link", { name: "Release" }).waitFor();
  await tree.getByRole("link", { name: "Build 7", exact: true }).click();
  await page.getByRole("heading", { name: "Build 7" }).waitFor();
  await path.getByRole("link", { name: "Builds" }).waitFor();
  expect(await path.getByRole("listitem").allTextContents()).toEqual(["Release", "Builds"]);
  await path.getByRole("link", { name: "Release" }).click();
  await page.getByRole("heading", { name: "Release" }).waitFor();
  await tree.getByRole("link", { name: "Builds" }).waitFor();
  expect(await path.count()).toBe(0);
  expect(sockets).toHaveLength(1);
  expect(complaints).toEqual([]);
  await context.close();
});

test("the list groups tasks by their parents, and says so in its address", async () => {
  const { context, page } = await open(browser, { bypassCSP: true, reducedMotion: "reduce", viewport: { width: 1280, height: 2_000 } });
  await page.goto(server.url);
  await page.locator(".db-row").first().waitFor();
  await page.getByLabel("Order").selectOption("By parent");
  const first = () => page.locator(".db-row code").evaluateAll((ids) => ids.slice(0, 3).map(({ textContent }) => textContent));
  await until("children follow their parents", async () => JSON.stringify(await first()) === '["release","builds","b-00"]');
  expect(new URL(page.url()).search).toBe("?sort=tree");
  const left = (name: string) => page.locator(".db-row strong", { hasText: new RegExp(`^${name}$`) }).evaluate((element) => element.getBoundingClientRect().left);
  expect(await left("Release")).toBeLessThan(await left("Builds"));
  expect(await left("Builds")).toBeLessThan(await left("Build 0"));
  expect(await violations(page)).toEqual([]);

  // A parent hides its children, by its button and by the keyboard, and still does so after one comes back.
  const button = page.getByRole("button", { name: "Children of Builds" });
  expect(await button.getAttribute("aria-expanded")).toBe("true");
  await button.click();
  await until("the builds are hidden", async () => (await page.locator(".db-row").count()) === 2);
  expect(await button.getAttribute("aria-expanded")).toBe("false");
  expect(await violations(page)).toEqual([]);
  await page.getByRole("link", { name: "Builds" }).click();
  await page.getByRole("heading", { name: "Builds" }).waitFor();
  await page.goBack();
  await until("the builds are still hidden", async () => (await page.locator(".db-row").count()) === 2);
  await page.getByLabel("Filter tasks").fill("build 7");
  await page.locator(".db-row strong", { hasText: "Build 7" }).waitFor();
  await page.getByLabel("Filter tasks").fill("");
  await until("the search is over", async () => (await page.locator(".db-row").count()) === 2);
  await page.locator(".db-row", { hasText: "Builds" }).focus();
  await page.keyboard.press("ArrowRight");
  await until("the builds are back", async () => (await page.locator(".db-row").count()) > 10);
  await page.locator(".db-row", { hasText: "Release" }).focus();
  await page.keyboard.press("ArrowLeft");
  await until("only the top is left", async () => (await page.locator(".db-row").count()) === 1);
  expect(await page.locator(".db-row").evaluate((row) => row === document.activeElement)).toBe(true);
  await context.close();
});
