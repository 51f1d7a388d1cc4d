/** The client's address: prefixes are kept, and an invalid address is reported once. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { endpoint } from "../src/endpoint.js";
import { scripted } from "./support/scripted.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([
  ["https://example.org", "https://example.org/ws"],
  ["https://example.org/tidings", "https://example.org/tidings/ws"],
  ["https://example.org/tidings/", "https://example.org/tidings/ws"],
  ["https://example.org/a/b?x=1#y", "https://example.org/a/b/ws"],
  ["wss://example.org:8443/t", "https://example.org:8443/t/ws"],
  ["http://example.org//evil.example", "http://example.org//evil.example/ws"],
])("%s leads to %s", (url, expected) => {
  expect(endpoint({ url }, "/ws").href).toBe(expected);
});

test("the socket is below the prefix, and so are requests", async () => {
  const asked: string[] = [];
  const fetch = async (url: URL) => (asked.push(url.href), Response.json({}));
  const rig = scripted({ url: "http://server.test/live", fetch: fetch as never });
  rig.client.watchTask("t");
  expect(rig.socket.url.href).toBe("ws://server.test/live/ws");
  await rig.client.fetch("/api/tasks?limit=1");
  expect(asked).toEqual(["http://server.test/live/api/tasks?limit=1"]);
});

test.each(["not an address", "mailto:a@b.example", "file:///etc/passwd", "http://"])("%s: closed for good, with the reason", async (url) => {
  const rig = scripted({ url });
  rig.client.watchTask("t");
  await vi.advanceTimersByTimeAsync(120_000);
  expect(rig.sockets).toHaveLength(0);
  expect(rig.client.status).toMatchObject({ state: "closed", attempt: 0 });
  expect(rig.client.status.reason).toMatch(/address|URL/i);
  expect(vi.getTimerCount()).toBe(0);
});

test("a socket that the browser refuses to make is not tried again", async () => {
  class Refusing {
    constructor() {
      throw new DOMException("An insecure WebSocket connection may not be initiated", "SecurityError");
    }
  }
  const rig = scripted({ WebSocket: Refusing as never });
  rig.client.watchTask("t");
  await vi.advanceTimersByTimeAsync(120_000);
  expect(rig.client.status.state).toBe("closed");
  expect(rig.client.status.reason).toContain("insecure");
});
