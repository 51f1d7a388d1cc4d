/** A server that stores its tasks on disk is killed, and the page misses nothing. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { openHarness, told, watch } from "./support/pages.js";
import { Server, until } from "./support/server.js";

test("killed and restarted: every event, once, in order, and no gap", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tidings-store-"));
  const args = ["--data-dir", folder, "--sync", "every-commit"];
  const browser = await launch();
  let server = await Server.start({ args });
  const { port, url } = server;
  const { page, complaints } = await open(browser);
  await openHarness(page, url);
  await watch(page, "w", "t");
  let sent = 0;
  const publish = async (count: number) => {
    for (let index = 0; index < count; index++) await server.publish("t", ["log", { message: `line ${++sent}` }]);
  };
  for (let round = 0; round < 2; round++) {
    await publish(5);
    await server.stop("SIGKILL");
    await page.waitForFunction(() => window.harness.watches.w!.client.status.state !== "connected");
    server = await Server.start({ port, args });
    await publish(5);
    await until("all has come", async () => (await told(page, "w")).expected === sent + 1);
  }
  const end = await told(page, "w");
  expect(end.offsets).toEqual(Array.from({ length: sent }, (_, index) => index + 1));
  expect({ gaps: end.gaps, violations: end.violations, complaints }).toEqual({ gaps: [], violations: [], complaints: [] });
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});
