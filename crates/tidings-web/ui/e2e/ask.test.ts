/** Questions that programs ask, answered by people in a browser: on a task's page, and by a signed link. */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violations } from "./support/axe.js";
import { launch, open } from "./support/browser.js";
import { binary, environment, Server, until } from "./support/server.js";

let browser: Browser;
let server: Server;
const folder = mkdtempSync(join(tmpdir(), "tidings-ask-"));
beforeAll(async () => {
  const key = join(folder, "links");
  writeFileSync(key, randomBytes(32).toString("base64"));
  [browser, server] = await Promise.all([launch(), Server.start({ args: ["--answer-link-key", key] })]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

interface Deploy {
  printed: () => string;
  ended: Promise<number | null>;
}

/** Starts `examples/deploy.rs`. It asks whether to deploy, and then how many replicas. */
function deploy(taskId: string): Deploy {
  const program = join(dirname(binary()), "examples", "deploy");
  if (!existsSync(program)) throw new Error(`there is no ${program}: run \`cargo build -p examples --example deploy\``);
  return start(program, [taskId]);
}

/** Starts `examples/python-deploy/deploy.py`, which asks the same. */
function deployInPython(taskId: string): Deploy {
  const python = process.env.PYTHON_WITH_TIDINGS;
  if (!python) throw new Error("set PYTHON_WITH_TIDINGS to a Python that has the package `tidings`, as .ci/web does");
  return start(python, [fileURLToPath(new URL("../../../../examples/python-deploy/deploy.py", import.meta.url)), taskId]);
}

function start(program: string, args: string[]): Deploy {
  const child = spawn(program, args, { env: { ...environment(), TIDINGS_URL: server.url }, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (more) => (text += more));
  return { printed: () => text, ended: new Promise((resolve) => child.once("exit", resolve)) };
}

const questions = (page: Page) => page.getByRole("region", { name: "Questions" });

const answer = (taskId: string, inputId: string, value: unknown) =>
  fetch(`${server.url}/api/tasks/${taskId}/inputs/${inputId}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ value }) });

test("a program asks, people answer on the task's page by keyboard, and the program goes on", async () => {
  const { context, page, complaints } = await open(browser, { bypassCSP: true, reducedMotion: "reduce" });
  const program = deploy("deploy-1");
  await page.goto(server.url);
  await page.locator(".db-row", { hasText: "Deploy version 7 to production?" }).locator(".td-badge", { hasText: "Needs you" }).waitFor();
  await page.getByRole("button", { name: "Needs you 1" }).click();
  expect(new URL(page.url()).search).toBe("?status=needs-you");
  expect(await violations(page)).toEqual([]);
  await page.locator(".db-row").click();

  const group = page.getByRole("group", { name: "Deploy version 7 to production?" });
  await group.getByRole("button", { name: "Yes" }).waitFor();
  expect(await violations(page)).toEqual([]);
  await group.getByRole("button", { name: "Yes" }).focus();
  await page.keyboard.press("Enter");

  const many = page.getByRole("group", { name: "How many replicas?" });
  const field = many.getByRole("textbox", { name: "How many replicas?" });
  await field.waitFor();
  await questions(page).getByText(/^Answered by client_\w+ at \d\d:\d\d:\d\d$/).waitFor();
  await field.focus();
  await page.keyboard.type("9");
  await page.keyboard.press("Enter");
  await many.getByRole("alert").getByText("9 is greater than the maximum of 5").waitFor();
  expect(await field.getAttribute("aria-invalid")).toBe("true");
  expect(await field.evaluate((field) => document.activeElement === field)).toBe(true);
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Backspace");
  await page.keyboard.type("3");
  await page.keyboard.press("Enter");

  expect(await program.ended).toBe(0);
  expect(program.printed()).toMatch(/^client_\w+ answered true\nclient_\w+ answered 3\ndeployed: .*"replicas":3/);
  await page.locator(".td-badge[data-status=completed]").waitFor();
  await page.locator(".td-line", { hasText: /input_provided client_\w+ answered ask-\w+: true/ }).waitFor();
  // The form is gone. The focus is where it was.
  await until("the focus is with the questions", () => questions(page).evaluate((section) => document.activeElement === section));
  expect(await questions(page).getByRole("textbox").count()).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a Python script asks, and goes on with the answers from the page; a second answer is refused", async () => {
  const { context, page, complaints } = await open(browser);
  const program = deployInPython("deploy-2");
  await page.goto(`${server.url}/tasks/deploy-2`);
  const group = page.getByRole("group", { name: "Deploy version 7 to production?" });
  await group.getByRole("button", { name: "Yes" }).click();
  await questions(page).getByText(/^Answered by client_\w+ at/).waitFor();
  const late = await answer("deploy-2", "go", false);
  expect(late.status).toBe(409);
  expect(await late.json()).toMatchObject({ code: "already_answered", by: expect.stringMatching(/^client_/) });

  const many = page.getByRole("group", { name: "How many replicas?" });
  const field = many.getByRole("textbox", { name: "How many replicas?" });
  await field.fill("9");
  await page.keyboard.press("Enter");
  await many.getByRole("alert").getByText("9 is greater than the maximum of 5").waitFor();
  await field.fill("3");
  await page.keyboard.press("Enter");
  expect(await program.ended).toBe(0);
  expect(program.printed()).toBe("deployed 3 replicas\n");
  await page.locator(".td-badge[data-status=completed]").waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("the first answer wins: a second one is refused, and the page says who was first", async () => {
  const { context, page } = await open(browser);
  await server.publish("first", ["task_started"], ["input_required", { input_id: "q", prompt: "Red or blue?", choices: ["red", "blue"] }]);
  await page.goto(`${server.url}/tasks/first`);
  await questions(page).getByRole("button", { name: "red" }).waitFor();
  expect((await answer("first", "q", "green")).status).toBe(400);
  expect((await answer("first", "q", "blue")).status).toBe(201);
  await questions(page).getByText(/^Answered by http at/).waitFor();
  await questions(page).getByText("blue", { exact: true }).waitFor();
  expect(await questions(page).getByRole("button").count()).toBe(0);
  const late = await answer("first", "q", "red");
  expect(late.status).toBe(409);
  expect(await late.json()).toMatchObject({ code: "already_answered", by: "http" });
  await context.close();
});

test("a question expires while the page is open", async () => {
  const { context, page } = await open(browser);
  await server.publish("late", ["task_started"], ["input_required", { input_id: "q", prompt: "Quick?", schema: { type: "boolean" }, expires_in_ms: 3_000 }]);
  await page.goto(`${server.url}/tasks/late`);
  await questions(page).getByText(/^Nobody answered in time: expired at/).waitFor();
  expect(await questions(page).getByRole("button").count()).toBe(0);
  await context.close();
});

const SCHEMA = {
  type: "object",
  required: ["region", "count"],
  properties: {
    region: { enum: ["eu-1", "us-2"], title: "Region", default: "us-2" },
    count: { type: "integer", minimum: 1, title: "How many", description: "At least one." },
    careful: { type: "boolean", title: "One after the other" },
    note: { type: "string", title: "Note" },
    labels: { type: "object", title: "Labels" },
  },
};

test("a form from a schema, at phone width, under axe; what is written arrives", async () => {
  const { context, page } = await open(browser, { bypassCSP: true, reducedMotion: "reduce", colorScheme: "dark", viewport: { width: 320, height: 700 } });
  await server.publish("form", ["task_started", { name: "Form" }], ["input_required", { input_id: "q", prompt: "How to deploy?", schema: SCHEMA }]);
  await page.goto(`${server.url}/tasks/form`);
  const form = page.getByRole("group", { name: "How to deploy?" });
  await form.getByLabel("How many").fill("2");
  expect(await form.getByLabel("Region").evaluate((select: HTMLSelectElement) => select.selectedOptions[0]!.text)).toBe("us-2");
  await form.getByLabel("One after the other").selectOption("Yes");
  await form.getByLabel("Note").fill("careful");
  await form.getByLabel("Labels").fill('{"team": "core"');
  await form.getByRole("button", { name: "Answer" }).click();
  await form.getByRole("alert").getByText("This is not JSON.").waitFor();
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  await form.getByLabel("Labels").fill('{"team": "core"}');
  await form.getByRole("button", { name: "Answer" }).click();
  await questions(page).getByText(/^Answered by/).waitFor();
  const { ended_inputs } = await server.get("/api/tasks/form");
  expect(ended_inputs[0].value).toEqual({ region: "us-2", count: 2, careful: true, note: "careful", labels: { team: "core" } });
  await context.close();
});

test("a signed link: opened it asks, confirmed it answers, and it answers once", async () => {
  const { context, page, complaints } = await open(browser, { bypassCSP: true });
  await server.publish("link", ["task_started"], ["input_required", { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } }]);
  const { path } = (await server.post("/api/tasks/link/inputs/q/links", JSON.stringify({ for: "ada@example.org" }))) as { path: string };
  await page.goto(server.url + path);
  await page.getByText("The answer is recorded as ada@example.org’s. It can be given once.").waitFor();
  expect((await server.get("/api/tasks/link")).pending_inputs).toHaveLength(1);
  await page.getByRole("button", { name: "Yes" }).click();
  await page.getByText("Thank you. Your answer was recorded.").waitFor();
  expect((await server.get("/api/tasks/link")).ended_inputs).toMatchObject([{ input_id: "q", value: true, by: "ada@example.org" }]);
  await page.goto(server.url + path);
  await page.getByText("ada@example.org has answered this question already.").waitFor();
  // The task's page shows the answer that came by the link.
  await page.goto(`${server.url}/tasks/link`);
  await questions(page).getByText(/^Answered by ada@example\.org at/).waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});
