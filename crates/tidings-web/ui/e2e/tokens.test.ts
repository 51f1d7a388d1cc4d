/** A server that requires tokens, and pages that have one, or have lost it. */

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { openHarness } from "./support/pages.js";
import { binary, Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
const folder = mkdtempSync(join(tmpdir(), "tidings-tokens-"));
const key = join(folder, "secret");

function token(expires: string, tasks = "*"): string {
  const rights = ["watch", "publish", "command", "admin"].flatMap((right) => [`--${right}`, tasks]);
  return execFileSync(binary(), ["token", "--jwt-key", key, "--subject", "ada", "--expires", expires, ...rights], { encoding: "utf8" }).trim();
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
  await page.getByRole("alert").getByText("did not accept").waitFor();
  await page.getByLabel("Token").fill(token("1h"));
  await page.getByRole("button", { name: "Connect" }).click();
  await page.locator(".db-row").first().waitFor();
  await until("statistics come", async () => (await page.locator(".db-figure").nth(2).locator(".db-value").textContent()) === "1");
  await page.reload();
  await page.locator(".db-row").first().waitFor();
  expect(complaints).toEqual([]);
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
