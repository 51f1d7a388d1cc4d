/**
 * The pictures of the documentation. They are saved if `TIDINGS_SCREENSHOTS` names a folder, such
 * as docs/images. Otherwise the test only checks that they can be made.
 */

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

const folder = process.env.TIDINGS_SCREENSHOTS && resolve(process.env.TIDINGS_SCREENSHOTS);

let browser: Browser;
let demo: Server;
const secrets = mkdtempSync(join(tmpdir(), "tidings-pictures-"));
beforeAll(async () => {
  const key = join(secrets, "links");
  writeFileSync(key, randomBytes(32).toString("base64"));
  const args = ["--max-events", "30000", "--max-task-bytes", "64MiB", "--answer-link-key", key];
  [browser, demo] = await Promise.all([launch(), Server.start({ command: "demo", args })]);
  await publishBuild(demo);
  await publishQuestion(demo);
  await publishTree(demo);
  if (folder) await publishLong(demo);
});
afterAll(async () => {
  await browser?.close();
  await demo?.stop();
  rmSync(secrets, { recursive: true });
});

const DEPLOY = {
  type: "object",
  required: ["region", "replicas"],
  properties: {
    region: { title: "Region", enum: ["eu-central", "us-east"], default: "eu-central" },
    replicas: { title: "Replicas", type: "integer", minimum: 1, maximum: 12, default: 3 },
    note: { title: "Note for the log", type: "string", maxLength: 80 },
  },
};

/** Publishes the run of an agent that has got one answer, and waits for another. */
async function publishQuestion(server: Server): Promise<void> {
  await server.publish(
    "deploy-7",
    ["task_started", { name: "Deploy version 7 of shop" }],
    ["progress_update", { progress: 40, stage: "approval", message: "The build is tested and signed" }],
    ["agent_status_change", { agent_id: "release-agent", status: "waiting", message: "waits for an answer" }],
    ["tool_call_started", { tool_call_id: "t1", tool: "run_tests", input: { suite: "all" } }],
    ["tool_call_completed", { tool_call_id: "t1", output: "1,204 passed", duration_ms: 84_200 }],
    ["tool_call_started", { tool_call_id: "t2", tool: "sign_image", input: { image: "shop:7" } }],
    ["tool_call_completed", { tool_call_id: "t2", output: "sha256:4f1c…", duration_ms: 3_100 }],
    ["output_completed", { output_id: "plan", text: "Version 7 has **14 changes**. Two of them change the database:\n\n- `orders` gets a column `currency`\n- the index of `carts` is built anew, which takes about four minutes\n\nBoth can be undone." }],
    ["artifact", { artifact_id: "diff", name: "config.patch", media_type: "text/x-diff", data: "--- a/shop.toml\n+++ b/shop.toml\n@@ -4,3 +4,3 @@\n [server]\n-version = 6\n+version = 7\n replicas = 3\n" }],
    ["input_required", { input_id: "go", prompt: "Deploy version 7 to production?", schema: { type: "boolean" } }],
  );
  const { path } = (await server.post("/api/tasks/deploy-7/inputs/go/links", JSON.stringify({ for: "ada@shop.example" }))) as { path: string };
  const answered = await fetch(server.url + path, { method: "POST", body: new URLSearchParams({ value: "true" }) });
  if (!answered.ok) throw new Error(`the link's answer: ${answered.status}`);
  await server.publish("deploy-7", ["input_required", { input_id: "how", prompt: "Where, and with how many replicas?", schema: DEPLOY, expires_in_ms: 3_600_000 }]);
}

/** Publishes a release with parts in all states. */
async function publishTree(server: Server): Promise<void> {
  const parent_task_id = "release-12";
  await server.publish(parent_task_id, ["task_started", { name: "Release 12" }], ["log", { message: "Building for all platforms" }]);
  const started = (name: string, weight = 1): Made => ["task_started", { name, parent_task_id, weight }];
  const at = (progress: number, message: string): Made => ["progress_update", { progress, message }];
  await server.publish("release-12.linux", started("Build for Linux", 2), at(100, "linked"), ["task_completed", { result: { bytes: 18_400_211 } }]);
  await server.publish("release-12.macos", started("Build for macOS", 2), at(72, "compiling the server"));
  await server.publish("release-12.windows", started("Build for Windows", 2), at(35, "compiling the store"));
  await server.publish("release-12.docs", started("Build the book"), at(100, "written"), ["task_completed"]);
  await server.publish("release-12.wheels", started("Python wheels"), at(60, "3 of 5"), ["task_failed", { error: { message: "no interpreter for 3.14t" } }]);
  await server.publish("release-12.sign", started("Sign the packages"));
}

type Made = [type: string, data?: object];

/** Publishes a build with output like that of compilers, and with a failure. */
async function publishBuild(server: Server): Promise<void> {
  const line = (message: string, level = "info"): [string, object] => ["log", { message, level }];
  const green = (word: string, rest: string) => line(`\u001b[1;32m${word.padStart(12)}\u001b[0m ${rest}`);
  const crates = ["itoa", "memchr", "bytes", "serde_core", "smallvec", "tokio", "http", "hyper", "rustls", "tungstenite", "quinn-proto", "shop-model", "shop-store"];
  await server.publish(
    "build-91",
    ["task_started", { name: "Build of shop, pull request 91", total: 16 }],
    green("Updating", "crates.io index"),
    ...crates.flatMap((name, index): [string, object?][] => [green("Compiling", `${name} v1.${index}.2`), ["progress_update", { current: index + 1, stage: "compile", message: `Compiling ${name}` }]]),
    line("\u001b[1;33mwarning\u001b[0m: unused variable: `retries`\n  \u001b[1;34m-->\u001b[0m crates/shop/src/cart.rs:41:9", "warn"),
    line("\u001b[1;31merror[E0382]\u001b[0m: borrow of moved value: `cart`\n  \u001b[1;34m-->\u001b[0m crates/shop/src/checkout.rs:118:23", "error"),
    ["artifact", { artifact_id: "log", name: "build.log", media_type: "text/plain", url: "/files/build.log" }],
    ["task_failed", { error: { code: "E0382", message: "could not compile `shop` (lib) due to 1 previous error" } }],
  );
}

/** Publishes a log that is far longer than any window. */
async function publishLong(server: Server): Promise<void> {
  await server.publish("import-7", ["task_started", { name: "Import of 20,000 orders" }]);
  for (let start = 0; start < 20_000; start += 1_000) {
    await server.publish("import-7", ...Array.from({ length: 1_000 }, (_, index): [string, object] => ["log", { message: `order ${String(start + index).padStart(5, "0")} imported in ${(((start + index) * 7) % 23) + 2} ms` }]));
    await server.publish("import-7", ["progress_update", { progress: (start + 1_000) / 250, message: `${start + 1_000} of 25,000 orders` }]);
  }
}

const wide: BrowserContextOptions = { viewport: { width: 1200, height: 760 } };
const phone: BrowserContextOptions = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 1.5 };
const zoom: BrowserContextOptions = { viewport: { width: 320, height: 512 }, deviceScaleFactor: 2 };

const pictures: [name: string, path: string, options: BrowserContextOptions][] = [
  ["dashboard-light", "/", { ...wide, colorScheme: "light" }],
  ["dashboard-dark", "/", { ...wide, colorScheme: "dark" }],
  ["dashboard-phone", "/", { ...phone, colorScheme: "light" }],
  ["panel-light", "/tasks/agent_run", { ...wide, colorScheme: "light" }],
  ["panel-dark", "/tasks/agent_run", { ...wide, colorScheme: "dark" }],
  ["panel-phone", "/tasks/agent_run", { ...phone, colorScheme: "dark" }],
  ["question-light", "/tasks/deploy-7", { viewport: { width: 1200, height: 1180 }, colorScheme: "light" }],
  ["question-dark", "/tasks/deploy-7", { viewport: { width: 1200, height: 1180 }, colorScheme: "dark" }],
  ["question-phone", "/tasks/deploy-7", { ...phone, colorScheme: "light" }],
  ["tree", "/tasks/release-12", { ...wide, colorScheme: "light" }],
  ["build-failed", "/tasks/build-91", { viewport: { width: 1200, height: 960 }, colorScheme: "light" }],
  ["log-long", "/tasks/import-7", { ...wide, colorScheme: "dark" }],
  ["zoom", "/tasks/build-91", { ...zoom, colorScheme: "light" }],
];

// One of each kind shows that the pictures can be made.
const OF_EACH_KIND = ["dashboard-light", "panel-phone", "question-phone", "tree", "build-failed"];
test.each(folder ? pictures : pictures.filter(([name]) => OF_EACH_KIND.includes(name)))("%s", async (name, path, options) => {
  const { context, page } = await open(browser, options);
  await page.goto(demo.url + path);
  await page.locator(".td-dot[data-state=connected]").waitFor();
  if (path === "/") {
    await until("events come", async () => Number(await page.locator(".db-value").nth(1).textContent()) > 0);
    await until("the server's figures are there", async () => (await page.locator(".db-value").nth(2).textContent()) === "1");
    // For a picture that is saved, the line of events must have a shape.
    const points = () => page.locator(".db-spark polyline").evaluate((line: SVGPolylineElement) => [...line.points].filter(({ y }) => y < 26).length);
    await until("the line of events has a shape", async () => (await points()) >= (folder ? 14 : 1));
  } else if (path === "/tasks/agent_run") {
    // A moment at which there is much to see, because the answer is being written.
    await until("the task is at 75 %", async () => (await page.locator(".td-percent").textContent()) === "75 %");
    await page.locator(".td-count", { hasText: "writing" }).waitFor();
    await until("a few words are there", async () => ((await page.locator(".td-markdown").textContent()) ?? "").length > 60);
  } else if (path === "/tasks/deploy-7") {
    await page.getByRole("textbox", { name: "Replicas" }).waitFor();
    await page.locator(".td-markdown strong").waitFor();
    await page.locator(".td-calls li").nth(1).waitFor();
  } else if (path === "/tasks/release-12") {
    await page.locator(".td-tree li").nth(5).waitFor();
  } else if (name === "log-long") {
    await page.getByText("order 19999").waitFor();
    await page.locator(".td-lines").hover();
    await page.mouse.wheel(0, -60_000);
    await page.locator(".td-jump").waitFor();
    await until("what is seen is loaded", async () => (await page.locator(".td-unloaded").count()) === 0);
    await page.mouse.move(0, 0);
    await page.evaluate(() => scrollTo(0, 0));
  } else {
    await page.locator(".td-line .td-ansi-red, .td-line .td-ansi-bright-red", { hasText: "E0382" }).first().waitFor();
  }
  const picture = await page.screenshot({ ...(folder ? { path: join(folder, `${name}.png`) } : {}), animations: "disabled" });
  expect(picture.length).toBeGreaterThan(10_000);
  await context.close();
});

if (folder) mkdirSync(folder, { recursive: true });
