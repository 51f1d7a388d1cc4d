/** The client and the hook in Chromium and in Firefox: the conformance vectors, and the promise through breaks. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Firefox } from "./support/firefox.js";
import { Proxy } from "./support/proxy.js";
import { Server, until } from "./support/server.js";
import { Site } from "./support/site.js";

/** What the tests need of a browser. */
interface Driver {
  goto(url: string): Promise<void>;
  evaluate(expression: string): Promise<any>;
  close(): Promise<void>;
}

async function chromium(): Promise<Driver> {
  const browser = await launch();
  const { page } = await open(browser);
  return { goto: async (url) => void (await page.goto(url)), evaluate: (expression) => page.evaluate(expression), close: () => browser.close() };
}

let site: Site;
beforeAll(async () => void (site = await Site.start()));
afterAll(() => site?.close());

describe.each<[string, () => Promise<Driver>]>([
  ["Chromium", chromium],
  ["Firefox", () => Firefox.launch()],
])("%s", (name, start) => {
  let browser: Driver;
  beforeAll(async () => void (browser = await start()));
  afterAll(() => browser?.close());

  test("passes the conformance vectors", async () => {
    await browser.goto(`${site.url}/conformance`);
    await until("the tests are there", () => browser.evaluate("typeof runAll === 'function'"));
    const { ran, failed } = await browser.evaluate("runAll()");
    expect(failed).toEqual([]);
    expect(ran).toBeGreaterThan(50);
    console.log(`${name}: ${ran} conformance vectors`);
  });

  for (const transport of ["websocket", "sse"]) {
    test(`receives everything once, and has the server's state, over ${transport} that breaks`, async () => {
      const server = await Server.start({ args: ["--allow-origin", site.url] });
      const proxy = await Proxy.to(server.port);
      await browser.goto(`${site.url}/harness`);
      await until("the page is there", () => browser.evaluate("typeof harness === 'object'"));
      const blocked = "class { constructor() { setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), 5); } send() {} close() {} }";
      const options = `{ url: "${proxy.url}"${transport === "sse" ? `, WebSocket: ${blocked}` : ""} }`;
      // Two watchers of different tasks, and the hook.
      await browser.evaluate(`(() => {
        const client = ${options};
        for (const id of ["a", "b"]) harness.watches[id] = harness.watch(id, { since: "0" }, client);
        harness.render("counter", "a", client);
      })()`);
      const told = (id: string) =>
        browser.evaluate(`(() => {
          const { watched: { offsets, gaps, resets, violations }, handle, client } = harness.watches.${id};
          return { offsets, gaps, resets, violations, task: handle.task, transport: client.status.transport };
        })()`);
      let sent = 0;
      const publish = async () => {
        for (let count = 0; count < 5; count++) {
          sent++;
          for (const id of ["a", "b"]) {
            await server.publish(id, sent % 2 ? ["progress_update", { progress: sent, message: `ü ${sent}` }] : ["output_delta", { output_id: "o", text: `${sent} 😀 ` }]);
          }
        }
      };
      for (let round = 0; round < 3; round++) {
        await publish();
        await until("all has come", async () => (await told("b")).offsets.at(-1) === sent && (await told("a")).offsets.at(-1) === sent);
        proxy.cut();
        await publish();
        await until("the break is noticed", async () => (await told("a")).transport === null);
        proxy.open();
      }
      for (const id of ["a", "b"]) {
        await until("all has come", async () => (await told(id)).offsets.at(-1) === sent);
        const { task, ...seen } = await told(id);
        expect(seen).toEqual({ offsets: Array.from({ length: sent }, (_, index) => index + 1), gaps: [], resets: [], violations: [], transport });
        expect(task).toEqual(await server.get(`/api/tasks/${id}`));
      }
      // The last event is the text of an output, which is not in the hook's list.
      await until("the hook shows it", async () => (await browser.evaluate("document.querySelector('#count').textContent")) === String(sent - 1));
      expect(await browser.evaluate("document.querySelector('#progress').textContent")).toBe(String(sent - 1));
      await browser.evaluate("(harness.unmount(), Object.values(harness.watches).forEach(({ client }) => client.close()))");
      await proxy.close();
      await server.stop();
    });
  }
});
