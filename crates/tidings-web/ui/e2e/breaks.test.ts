/** The promise in a real browser, through every kind of break. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { openHarness, told, watch } from "./support/pages.js";
import { Proxy } from "./support/proxy.js";
import { Server, until } from "./support/server.js";

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(() => browser?.close());

const progress = (value: number): [string, object] => ["progress_update", { progress: value }];

test("cut and back: every event, once, in order", async () => {
  const server = await Server.start();
  const proxy = await Proxy.to(server.port);
  const { context, page, complaints } = await open(browser);
  await openHarness(page, proxy.url);
  await watch(page, "w", "t");
  let sent = 0;
  const publish = async (count: number) => {
    for (let index = 0; index < count; index++) await server.publish("t", ["log", { message: `line ${++sent}` }]);
  };
  for (let round = 0; round < 3; round++) {
    await publish(5);
    proxy.cut();
    await publish(5);
    await page.waitForFunction(() => window.harness.watches.w!.client.status.state !== "connected");
    proxy.open();
    await until("all has come", async () => (await told(page, "w")).expected === sent + 1);
  }
  const end = await told(page, "w");
  expect(end.transport).toBe("websocket");
  expect(end.offsets).toEqual(Array.from({ length: sent }, (_, index) => index + 1));
  expect({ gaps: end.gaps, violations: end.violations, complaints }).toEqual({ gaps: [], violations: [], complaints: [] });
  await context.close();
  await proxy.close();
  await server.stop();
});

test("killed and restarted: the dot goes red, then green, and what was lost is named", async () => {
  let server = await Server.start();
  const { port, url } = server;
  const { context, page } = await open(browser);
  await openHarness(page, url);
  await page.evaluate(() => window.harness.render("panel", "t"));
  await watch(page, "w", "t");
  await server.publish("t", ["task_started", { name: "Before" }], progress(10), progress(20));
  await until("all has come", async () => (await told(page, "w")).expected === 4);
  const dot = page.locator(".td-connection .td-dot");
  await until("green", async () => (await dot.getAttribute("data-state")) === "connected");
  const green = await dot.evaluate((element) => getComputedStyle(element).backgroundColor);

  await server.stop("SIGKILL");
  await until("red", async () => (await dot.getAttribute("data-state")) === "reconnecting");
  expect(await dot.evaluate((element) => getComputedStyle(element).backgroundColor)).not.toBe(green);
  expect(await page.locator(".td-connection-text").textContent()).toMatch(/reconnecting/);

  server = await Server.start({ port });
  await server.publish("t", ["task_started", { name: "After" }], progress(50));
  await until("green again", async () => (await dot.getAttribute("data-state")) === "connected");
  await server.publish("t", progress(60));
  await until("all has come", async () => (await told(page, "w")).expected === 4 && (await told(page, "w")).resets.length > 0);
  const end = await told(page, "w");
  expect({ gaps: end.gaps, resets: end.resets }).toEqual({ gaps: [], resets: ["epoch_changed"] });
  expect(end.offsets).toEqual([1, 2, 3, 1, 2, 3]);
  expect(end.violations).toEqual([]);
  await until("the new state is shown", async () => (await page.locator(".td-percent").textContent()) === "60 %");
  expect(await page.locator(".td-gap").textContent()).toContain("the log started over");
  await context.close();
  await server.stop();
});

test("restarted in order: everyone is told when to come back, and comes", async () => {
  let server = await Server.start({ args: ["--drain-window", "1s"] });
  const { port, url } = server;
  const { context, page } = await open(browser);
  await openHarness(page, url);
  await watch(page, "w", "t");
  await server.stop("SIGTERM");
  const { reason } = await page.waitForFunction(() => {
    const { status } = window.harness.watches.w!.client;
    return status.state === "reconnecting" && status;
  }).then((status) => status.jsonValue() as Promise<{ reason: string }>);
  expect(reason).toBe("the service restarts");
  server = await Server.start({ port });
  await until("connected", async () => (await told(page, "w")).state === "connected");
  await context.close();
  await server.stop();
});

test("offline and back: the status says so, and nothing is missing", async () => {
  const server = await Server.start();
  const proxy = await Proxy.to(server.port);
  const { context, page } = await open(browser);
  await openHarness(page, proxy.url);
  await watch(page, "w", "t");
  await server.publish("t", progress(1));
  // Simulates a pulled cable: no data arrives, and no connection is closed.
  proxy.silence();
  await context.setOffline(true);
  await server.publish("t", progress(2), progress(3));
  await until("offline", async () => (await told(page, "w")).states.includes("offline"));
  proxy.open();
  await context.setOffline(false);
  await until("all has come", async () => (await told(page, "w")).expected === 4);
  const end = await told(page, "w");
  expect(end).toMatchObject({ offsets: [1, 2, 3], gaps: [], violations: [], state: "connected", transport: "websocket" });
  await context.close();
  await proxy.close();
  await server.stop();
});

test("a connection that has gone silent is found out, and nothing is missing", async () => {
  const server = await Server.start({ args: ["--heartbeat-interval", "1s"] });
  const proxy = await Proxy.to(server.port);
  const { context, page } = await open(browser);
  await openHarness(page, proxy.url);
  await watch(page, "w", "t");
  proxy.silence();
  await server.publish("t", progress(1), progress(2));
  await until("the silence is noticed", async () => (await told(page, "w")).state !== "connected");
  proxy.open();
  await until("all has come", async () => (await told(page, "w")).expected === 3);
  expect(await told(page, "w")).toMatchObject({ offsets: [1, 2], gaps: [], violations: [], transport: "websocket" });
  await context.close();
  await proxy.close();
  await server.stop();
});

test("without WebSocket, the same over server-sent events", async () => {
  const server = await Server.start();
  const { context, page } = await open(browser);
  await page.addInitScript(() => {
    // Simulates a proxy that does not allow upgrades.
    (window as any).WebSocket = class {
      onclose: ((event: object) => void) | null = null;
      constructor() {
        setTimeout(() => this.onclose?.({ code: 1006, reason: "" }), 5);
      }
      send() {}
      close() {}
    };
  });
  await openHarness(page, server.url);
  await server.publish("t", progress(1));
  await watch(page, "w", "t", { since: "0" });
  expect((await told(page, "w")).transport).toBe("sse");
  await server.publish("t", progress(2));
  await until("all has come", async () => (await told(page, "w")).expected === 3);
  expect(await told(page, "w")).toMatchObject({ offsets: [1, 2], gaps: [], violations: [] });
  const offset = await page.evaluate(async () => {
    const { client } = window.harness.watches.w!;
    return (await client.publish("t", { event_type: "note" as never, data: { from: "the page" } })).offset;
  });
  expect(offset).toBe(3);
  await context.close();
  await server.stop();
});

test("put aside in the back-forward cache and fetched again, it goes on", async () => {
  const server = await Server.start();
  const { context, page } = await open(browser);
  await openHarness(page, server.url);
  await watch(page, "w", "t");
  await server.publish("t", progress(1));
  await until("it has come", async () => (await told(page, "w")).expected === 2);
  // Send the browser's events to a live page, because it depends on the build of Chromium whether
  // the page is cached at all.
  await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await until("nobody is connected", async () => (await server.connected()) === 0);
  await server.publish("t", progress(2));
  await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await until("all has come", async () => (await told(page, "w")).expected === 3);
  expect(await told(page, "w")).toMatchObject({ offsets: [1, 2], gaps: [], violations: [] });
  await context.close();
  await server.stop();
});
