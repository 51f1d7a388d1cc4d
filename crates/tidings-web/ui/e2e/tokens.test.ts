/** A server that requires tokens, and pages that have one, or have lost it. */

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violations } from "./support/axe.js";
import { launch, open } from "./support/browser.js";
import { openHarness } from "./support/pages.js";
import { binary, environment, Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
const folder = mkdtempSync(join(tmpdir(), "tidings-tokens-"));
const key = join(folder, "secret");

function token(expires: string, names: readonly string[] = ["watch", "publish", "command", "admin"]): string {
  const rights = names.flatMap((right) => [`--${right}`, "*"]);
  return execFileSync(binary(), ["token", "--jwt-key", key, "--subject", "ada", "--expires", expires, ...rights], { encoding: "utf8", env: environment() }).trim();
}

beforeAll(async () => {
  writeFileSync(key, randomBytes(32).toString("base64"));
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", args: ["--auth", "jwt", "--jwt-key", key, "--jwt-leeway", "0s"] })]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

test("the dashboard asks for a token, says when it is no good, and keeps it for the tab", async () => {
  const { context, page, complaints } = await open(browser);
  await page.goto(server.url);
  await page.getByRole("heading", { name: "A token is needed" }).waitFor();
  expect(await page.getByRole("alert").count()).toBe(0);
  await page.getByLabel("Token").fill("nonsense");
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByRole("alert").getByText("does not accept").waitFor();
  await page.getByLabel("Token").fill(token("1h"));
  await page.getByRole("button", { name: "Connect" }).click();
  await page.locator(".db-row").first().waitFor();
  await until("statistics come", async () => (await page.locator(".db-figure").nth(2).locator(".db-value").textContent()) === "1");
  await page.reload();
  await page.locator(".db-row").first().waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test.each(["light", "dark"] as const)("the page that asks for a token, under axe: %s", async (colorScheme) => {
  const { context, page } = await open(browser, { bypassCSP: true, reducedMotion: "reduce", colorScheme, viewport: { width: 320, height: 600 } });
  await page.goto(server.url);
  await page.getByRole("heading", { name: "A token is needed" }).waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByLabel("Token").fill("nonsense");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  await context.close();
});

test("a token that expires is renewed, once each time, and nothing is missing", async () => {
  const { context, page } = await open(browser);
  let asked = 0;
  await page.exposeFunction("freshToken", () => (asked++, token("2s")));
  await openHarness(page, server.url);
  await page.evaluate(() => {
    window.harness.watches.w = window.harness.watch("test_001", { since: "0" }, { token: () => (window as any).freshToken() });
  });
  await until("two tokens have ended", () => asked >= 3);
  await page.waitForFunction(() => window.harness.watches.w!.client.status.state === "connected");
  const { violations, gaps, states } = await page.evaluate(() => {
    const { watched, states } = window.harness.watches.w!;
    return { violations: watched.violations, gaps: watched.gaps.length, states };
  });
  expect({ violations, gaps }).toEqual({ violations: [], gaps: 0 });
  expect(states.filter((state) => state === "connecting").length).toBe(asked);
  await context.close();
});

test("a question has no form for who may only watch, and one for who may answer", async () => {
  const data = { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } };
  const headers = { authorization: `Bearer ${token("1h")}`, "content-type": "application/json" };
  const asked = await fetch(`${server.url}/api/tasks/asking/events`, { method: "POST", headers, body: JSON.stringify({ event_type: "input_required", data }) });
  expect(asked.status).toBe(201);
  for (const right of ["watch", "answer"]) {
    const { context, page } = await open(browser);
    await context.addInitScript((token) => sessionStorage.setItem("tidings-token", token), token("1h", ["watch", right]));
    await page.goto(server.url);
    const row = page.locator(".db-row", { hasText: "Deploy?" });
    await row.waitFor();
    if (right === "answer") await row.getByText("Needs you").waitFor();
    await row.click();
    const questions = page.getByRole("region", { name: "Questions" });
    await questions.getByText(right === "answer" ? "Yes" : "You may not answer this question.").waitFor();
    expect(await questions.getByRole("button").count()).toBe(right === "answer" ? 2 : 0);
    await page.goBack();
    await row.waitFor();
    // The list knows the rights from the server's greeting.
    if (right === "answer") await row.getByText("Needs you").waitFor();
    else expect(await row.getByText("Needs you").count()).toBe(0);
    await context.close();
  }
});
