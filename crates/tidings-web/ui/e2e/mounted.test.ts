/** The dashboard below a path, as a proxy or a router mounts it that removes the path. */

import { type IncomingMessage, type Server as HttpServer, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server } from "./support/server.js";

const MOUNT = "/deep/tidings";

/** Passes requests below the mount on to the server, and answers 404 to all others. */
function mount(server: Server): Promise<HttpServer> {
  const onward = (asked: IncomingMessage) =>
    request(server.url + asked.url!.slice(MOUNT.length), { method: asked.method, headers: asked.headers });
  const front = createServer((asked, answer) => {
    if (!asked.url!.startsWith(`${MOUNT}/`)) return void answer.writeHead(404).end();
    const passed = onward(asked);
    passed.on("response", (got) => got.pipe(answer.writeHead(got.statusCode!, got.headers)));
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  front.on("upgrade", (asked, socket) => {
    if (!asked.url!.startsWith(`${MOUNT}/`)) return void socket.destroy();
    const passed = onward(asked);
    passed.on("upgrade", (got, upstream, first) => {
      const headers = Object.entries(got.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join("")}\r\n`);
      socket.write(first);
      socket.pipe(upstream).pipe(socket);
      for (const end of [socket, upstream]) end.on("error", () => [socket, upstream].forEach((each) => each.destroy()));
    });
    passed.on("error", () => socket.destroy());
    passed.end();
  });
  return new Promise((resolve) => front.listen(0, "127.0.0.1", () => resolve(front)));
}

let server: Server;
let front: HttpServer;
let browser: Browser;
let base: string;

beforeAll(async () => {
  server = await Server.start();
  front = await mount(server);
  base = `http://127.0.0.1:${(front.address() as AddressInfo).port}${MOUNT}`;
  browser = await launch();
});

afterAll(async () => {
  await browser.close();
  front.closeAllConnections();
  front.close();
  await server.stop();
});

test("every page of the dashboard works, and its links stay below the path", async () => {
  await server.publish("build-7", ["task_started", { name: "Build of seven" }], ["log", { message: "a line" }]);
  const { context, page, complaints } = await open(browser);
  await page.goto(`${base}/`);
  await page.getByText("Build of seven").first().click();
  await page.getByRole("heading", { name: "Build of seven" }).waitFor();
  expect(page.url()).toBe(`${base}/tasks/build-7`);
  await page.reload();
  await page.getByRole("heading", { name: "Build of seven" }).waitFor();
  await server.publish("build-7", ["log", { message: "and live" }]);
  await page.getByText("and live").first().waitFor();
  await page.getByRole("link", { name: "All tasks" }).first().click();
  await page.getByRole("link", { name: "Connections" }).click();
  await page.getByRole("heading", { name: "Connections" }).waitFor();
  expect(page.url()).toBe(`${base}/connections`);
  expect(complaints).toEqual([]);
  await page.goto(`${base}/nothing/here`);
  await page.getByRole("heading", { name: "There is no page here" }).waitFor();
  await context.close();
});

test("a page imports the client from below the path", async () => {
  const { context, page } = await open(browser);
  await page.goto(`${base}/nothing`);
  // As text, because Vitest would rewrite the `import` of a function.
  const name = await page.evaluate(`(async () => {
    const { TidingsClient } = await import("${base}/tidings.js");
    const client = new TidingsClient({ url: "${base}" });
    return new Promise((resolve) => client.watchTask("build-7", { onSnapshot: (task) => resolve(task.name) }));
  })()`);
  expect(name).toBe("Build of seven");
  await context.close();
});
