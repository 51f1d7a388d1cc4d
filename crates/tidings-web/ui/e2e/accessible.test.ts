/** axe finds nothing, in light and dark, wide and narrow. */

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Proxy } from "./support/proxy.js";
import { Server } from "./support/server.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ args: ["--max-events", "12"] })]);
  await server.publish("pending", ["log", { message: "not started" }]);
  await server.publish("done", ["task_started", { name: "All done" }], ["task_completed", { result: { ok: true } }]);
  await server.publish("cancelled", ["task_started"], ["progress_update", { progress: 30 }], ["task_cancelled", { reason: "no longer needed" }]);
  await server.publish("failed", ["task_started"], ["log", { message: "boom", level: "error" }], ["task_failed", { error: { code: "E1", message: "it broke" } }]);
  await server.publish("unknown", ["task_started", { name: "No idea how far" }]);
  await server.publish(
    "busy",
    ["task_started", { name: "Everything at once" }],
    ...Array.from({ length: 10 }, (_, index): [string, object] => ["log", { message: `line ${index}` }]),
    ["agent_status_change", { agent_id: "planner", status: "waiting", message: "for the coder" }],
    ["agent_status_change", { agent_id: "coder", status: "error" }],
    ["tool_call_started", { tool_call_id: "c1", tool: "shell", input: { command: "make" } }],
    ["tool_call_failed", { tool_call_id: "c1", error: "exit code 2" }],
    ["tool_call_started", { tool_call_id: "c2", tool: "search" }],
    ["step_started", { step_id: "s", name: "Compile" }],
    ["output_delta", { output_id: "answer", text: "word by word ".repeat(200) }],
    ["artifact", { artifact_id: "a", name: "report.html", url: "https://example.org/report", media_type: "text/html" }],
    ["input_required", { input_id: "i", prompt: "Shall I go on?" }],
    ["progress_update", { progress: 42, message: "working", stage: "build" }],
    ["log", { message: "careful", level: "warn" }],
  );
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => (window as any).axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }: any) => nodes.map((node: any) => `${id}: ${node.target} ${node.failureSummary}`));
}

for (const colorScheme of ["light", "dark"] as const) {
  for (const [name, viewport] of [["wide", { width: 1280, height: 800 }], ["narrow", { width: 390, height: 844 }]] as const) {
    test(`${colorScheme} and ${name}`, async () => {
      const { context, page } = await open(browser, { colorScheme, viewport, reducedMotion: "reduce", bypassCSP: true });
      const proxy = await Proxy.to(server.port);
      const found: Record<string, string[]> = {};
      await page.goto(proxy.url);
      await page.locator(".db-row").nth(5).waitFor();
      found["/"] = await violations(page);
      for (const id of ["busy", "failed", "done", "cancelled", "unknown", "pending", "never-seen"]) {
        await page.goto(`${proxy.url}/tasks/${id}`);
        await page.locator(".td-dot[data-state=connected]").waitFor();
        if (id === "busy") {
          // More happens during a break than is kept: a gap.
          proxy.cut();
          await page.locator(".td-dot[data-state=reconnecting]").waitFor();
          await server.publish("busy", ...Array.from({ length: 15 }, (): [string, object] => ["log", { message: "careful", level: "warn" }]));
          proxy.open();
          await page.locator(".td-gap").first().waitFor();
          await page.locator(".td-calls li").first().waitFor();
        }
        found[id] = await violations(page);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      expect(wide, "nothing is cut off at the side").toBe(false);
      expect(Object.fromEntries(Object.entries(found).filter(([, list]) => list.length > 0))).toEqual({});
      await context.close();
      await proxy.close();
    });
  }
}

test("without a server", async () => {
  const own = await Server.start();
  const { context, page } = await open(browser, { bypassCSP: true });
  await page.goto(own.url);
  await page.getByText("No tasks yet").waitFor();
  await own.stop();
  await page.locator(".td-dot[data-state=reconnecting]").waitFor();
  expect(await violations(page)).toEqual([]);
  await context.close();
});
