import type { Page } from "playwright-core";
import { bundle } from "./site.js";

let built: Promise<Map<string, string>> | undefined;

const SHELL = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tests</title>
<link rel="stylesheet" href="/e2e/harness.css"></head><body><script type="module" src="/e2e/harness.js"></script></body></html>`;

/** Opens the page of the tests as if the server at `url` served it. */
export async function openHarness(page: Page, url: string): Promise<void> {
  built ??= bundle("harness.tsx", "harness");
  const files = await built;
  await page.route(`${url}/e2e/*`, (route) => {
    const name = new URL(route.request().url()).pathname.slice("/e2e/".length);
    if (name === "") return route.fulfill({ contentType: "text/html", body: SHELL });
    const contentType = name.endsWith(".css") ? "text/css" : "text/javascript";
    return route.fulfill({ contentType, body: files.get(name) ?? "" });
  });
  await page.goto(`${url}/e2e/`);
  await page.waitForFunction(() => window.harness);
}

/** Returns everything that the watcher with this name was told. */
export function told(page: Page, name: string) {
  return page.evaluate((name) => {
    const { watched, states, handle, client } = window.harness.watches[name]!;
    const { offsets, gaps, resets, violations, expected } = watched;
    const { transport } = client.status;
    return {
      offsets: offsets.length > 2_000 ? offsets.slice(-10) : offsets,
      gaps: gaps.map(({ from, to, reason }) => ({ from, to, reason })),
      resets: resets.map(({ reason }) => reason),
      violations,
      expected,
      states,
      state: client.status.state,
      transport,
      task: handle.task,
    };
  }, name);
}

/** Starts to watch a task under a name. */
export async function watch(page: Page, name: string, taskId: string, how: { history?: number; since?: string } = {}): Promise<void> {
  await page.evaluate(
    ([name, taskId, how]) => void (window.harness.watches[name] = window.harness.watch(taskId, how)),
    [name, taskId, how] as const,
  );
  await page.waitForFunction((name) => window.harness.watches[name]!.watched.expected !== null, name);
}
