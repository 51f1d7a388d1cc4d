/**
 * Pages of other origins, in a real browser. A user who visits such a page gives it the browser's
 * access to this machine. The pages can do nothing, unless they are listed.
 */

import { createServer, type Server as HttpServer } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./support/browser.js";
import { Server } from "./support/server.js";

let browser: Browser;
let site: HttpServer;
let evil: string;
let friend: string;

beforeAll(async () => {
  // Names of other sites that resolve to this machine. To the browser they are other sites, and no
  // network is needed.
  browser = await launch(["--host-resolver-rules=MAP *.example 127.0.0.1"]);
  site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>Cats</title>"));
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const { port } = site.address() as { port: number };
  evil = `http://evil.example:${port}`;
  friend = `http://friend.example:${port}`;
});
afterAll(async () => {
  await browser?.close();
  site?.close();
});

/** What a page can do to a server, in each way that a page has. */
interface Reach {
  /** The first message over a WebSocket: an event type, or the close code. */
  websocket: string | number;
  /** The first event of a stream, or that there is none. */
  stream: string;
  read: string;
  /** A request without preflight, as any form can send it. */
  simple: string;
  /** A request whose response the page does not read. */
  blind: string;
  /** A request with a preflight. */
  preflighted: string;
}

function reach(page: Pick<Page, "evaluate">, url: string): Promise<Reach> {
  return page.evaluate(async (url) => {
    const event = (message: string) => JSON.stringify({ event_type: "log", data: { message } });
    const post = async (init: RequestInit) => {
      const response = await fetch(`${url}/api/tasks/job-1/events`, { method: "POST", ...init });
      return `${response.status}`;
    };
    const failed = () => "failed";
    const websocket = await new Promise<string | number>((resolve) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws/tasks/job-1`);
      socket.onmessage = ({ data }) => {
        const { event_type } = JSON.parse(data);
        // The reason for the refusal comes before the close, and says nothing about the task.
        if (event_type === "error" || event_type === "going_away") return;
        resolve(event_type);
        socket.close();
      };
      socket.onclose = ({ code }) => resolve(code);
    });
    const stream = await new Promise<string>((resolve) => {
      const source = new EventSource(`${url}/api/tasks/job-1/events?since=0`);
      const end = (text: string) => (source.close(), resolve(text));
      source.onmessage = ({ data }) => JSON.parse(data).offset && end(JSON.parse(data).event_type);
      source.onerror = () => end("failed");
    });
    return {
      websocket,
      stream,
      read: await fetch(`${url}/api/tasks/job-1`).then((response) => response.json()).then((task) => task.task_id, failed),
      simple: await post({ body: event("simple"), headers: { "content-type": "text/plain" } }).catch(failed),
      blind: await post({ body: event("blind"), headers: { "content-type": "text/plain" }, mode: "no-cors" }).catch(failed),
      preflighted: await post({ body: event("preflighted"), headers: { "content-type": "application/json" } }).catch(failed),
    };
  }, url);
}

const NOTHING: Reach = { websocket: 1008, stream: "failed", read: "failed", simple: "failed", blind: "failed", preflighted: "failed" };

/** Returns the events of the task after the first one. */
async function written(server: Server): Promise<string[]> {
  const { events } = await server.get("/api/tasks/job-1/events?since=0");
  return events.slice(1).map((event: { data: { message: string } }) => event.data.message);
}

test("by default a page of another origin neither reads nor writes, by any way there is", async () => {
  const server = await Server.start();
  await server.publish("job-1", ["own"]);
  const { context, page, complaints } = await open(browser);
  await page.goto(evil);
  expect(await reach(page, server.url)).toEqual(NOTHING);
  expect(await written(server)).toEqual([]);
  expect(await server.connected()).toBe(0);
  // The browser's console says that the page is not allowed.
  expect(complaints.every((text) => text.includes("CORS policy"))).toBe(true);
  // A sandboxed page has no origin, and is refused as well.
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.sandbox.add("allow-scripts");
    frame.srcdoc = "<!doctype html><title>Sandbox</title>";
    document.body.append(frame);
    return new Promise((resolve) => (frame.onload = resolve));
  });
  const sandbox = page.frames()[1]!;
  expect(await sandbox.evaluate(() => origin)).toBe("null");
  expect(await reach(sandbox, server.url)).toEqual(NOTHING);
  expect(await written(server)).toEqual([]);
  await context.close();
  await server.stop();
});

test("a page whose origin is listed does all of it, and its neighbour still nothing", async () => {
  const server = await Server.start({ args: ["--allow-origin", friend] });
  await server.publish("job-1", ["own"]);
  const { context, page, complaints } = await open(browser);
  await page.goto(friend);
  expect(await reach(page, server.url)).toEqual({
    websocket: "connection_established",
    stream: "own",
    read: "job-1",
    simple: "201",
    // The header `Cross-Origin-Resource-Policy` protects the response.
    blind: "failed",
    preflighted: "201",
  });
  expect(await written(server)).toEqual(["simple", "blind", "preflighted"]);
  expect(complaints).toEqual([]);
  await page.goto(evil);
  expect(await reach(page, server.url)).toEqual(NOTHING);
  expect(await written(server)).toHaveLength(3);
  await context.close();
  await server.stop();
});

test("a name that is led to this machine is not this machine's", async () => {
  const server = await Server.start();
  await server.publish("job-1", ["own"]);
  const { context, page } = await open(browser);
  // To the browser, this page has the same origin as the server: DNS rebinding.
  const rebound = `http://rebound.example:${server.port}`;
  const answer = await page.goto(`${rebound}/api/tasks/job-1`);
  expect(answer!.status()).toBe(421);
  const { websocket, stream, simple } = await reach(page, rebound);
  expect({ websocket, stream, simple }).toEqual({ websocket: 1006, stream: "failed", simple: "421" });
  expect(await written(server)).toEqual([]);
  await context.close();
  await server.stop();
});
