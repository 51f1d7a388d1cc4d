/** Rendering on a server: requests share nothing, nothing connects, and nothing is written. */

import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { TaskDetailPanel } from "../src/panel/index.js";
import { useTask } from "../src/react/index.js";
import type { TidingsClient } from "../src/websocket.js";

const clients: TidingsClient[] = [];

function Probe({ token }: { token: string }) {
  const { client, status } = useTask("t", { url: "http://server.test", token });
  clients.push(client);
  return <p>{status.state}</p>;
}

test("two requests have two clients, and neither has connected", () => {
  expect(renderToString(<Probe token="alice" />)).toBe("<p>idle</p>");
  expect(renderToString(<Probe token="bob" />)).toBe("<p>idle</p>");
  expect(clients[0]).not.toBe(clients[1]);
  expect(clients.map(({ status }) => status.state)).toEqual(["idle", "idle"]);
});

test("the panel renders, also without an address to connect to", () => {
  expect(renderToString(<TaskDetailPanel taskId="build-7" />)).toContain("build-7");
});
