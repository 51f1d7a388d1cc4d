/** The examples, run as a user would run them. */

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, renameSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server, until } from "./support/server.js";

const examples = fileURLToPath(new URL("../../../../examples/", import.meta.url));
const ui = fileURLToPath(new URL("..", import.meta.url));

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(() => browser?.close());

/** Starts a web server of the user, on another origin than Tidings. */
async function serve(folder: string): Promise<{ url: string; server: HttpServer }> {
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const file = join(folder, pathname === "/" ? "index.html" : pathname);
    try {
      const body = readFileSync(file);
      response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream").end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, server };
}

test("plain.html: a page without a build step, from another origin", async () => {
  const site = await serve(examples);
  const demo = await Server.start({ command: "demo", args: ["--allow-origin", site.url] });
  const { context, page, complaints } = await open(browser);
  await page.goto(`${site.url}/plain.html?server=${demo.url}`);
  await page.getByRole("heading", { name: "Test task" }).waitFor();
  await page.locator("#connection", { hasText: "connected" }).waitFor();
  const bar = page.locator("#bar");
  const before = await bar.evaluate((element: HTMLProgressElement) => element.value);
  await until("it moves", async () => (await bar.evaluate((element: HTMLProgressElement) => element.value)) !== before);
  await until("it runs", async () => (await page.locator("#status").textContent()) === "running");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("#events li", { hasText: "task_cancelled" }).first().waitFor();
  expect(complaints).toEqual([]);
  await context.close();
  await demo.stop();
  site.server.close();
});

test("react-panel: the package as npm installs it, in a project of its own", async () => {
  const project = mkdtempSync(join(tmpdir(), "tidings-react-panel-"));
  const run = (command: string, args: string[], cwd: string) => execFileSync(command, args, { cwd, stdio: "pipe", encoding: "utf8" });
  run("npm", ["pack", "--silent", "--pack-destination", project], ui);
  const packed = readdirSync(project).find((file) => file.endsWith(".tgz"))!;
  cpSync(join(examples, "react-panel"), project, { recursive: true, filter: (file) => !/node_modules|\/dist|package-lock/.test(file) });
  renameSync(join(project, packed), join(project, "tidings-client.tgz"));
  run("npm", ["install", "--no-progress", "--prefer-offline"], project);
  run("npm", ["run", "build"], project);

  const site = await serve(join(project, "dist"));
  const demo = await Server.start({ command: "demo", args: ["--allow-origin", site.url] });
  const { context, page, complaints } = await open(browser);
  await page.goto(`${site.url}/?server=${demo.url}`);
  await page.getByRole("heading", { name: "Find out why uploads fail" }).waitFor();
  await page.locator(".td-dot[data-state=connected]").waitFor();
  await page.locator("p", { hasText: "Test task: " }).waitFor();
  await until("both share one connection", async () => (await demo.connected()) === 1);
  await page.getByLabel("Task", { exact: false }).first().selectOption("build_main");
  await page.getByRole("heading", { name: "Build of main" }).waitFor();
  expect(complaints).toEqual([]);
  await context.close();
  await demo.stop();
  site.server.close();
  rmSync(project, { recursive: true });
}, 240_000);
