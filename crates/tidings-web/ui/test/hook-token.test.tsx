// @vitest-environment jsdom
/** Tokens in React: passed late, changed, returned by a function, and never shared between requests. */

import { act, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TidingsProvider, useTask, type UseTaskOptions } from "../src/react/index.js";
import { ScriptedSocket } from "./support/scripted.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let url: string;
let sockets: ScriptedSocket[];
let renders: number;
let sequence = 0;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  renders = 0;
  url = `http://server-${++sequence}.test`;
  class Socket extends ScriptedSocket {
    constructor(url: string, protocols: string[]) {
      super(new URL(url), protocols);
      sockets.push(this);
    }
  }
  vi.stubGlobal("WebSocket", Socket);
  root = createRoot(document.body.appendChild(document.createElement("div")));
});

afterEach(async () => {
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function Probe(options: UseTaskOptions) {
  renders++;
  return <p>{useTask("t", { url, ...options }).status.state}</p>;
}

const show = (options: UseTaskOptions) =>
  act(async () => {
    root.render(<StrictMode><Probe {...options} /></StrictMode>);
    await vi.advanceTimersByTimeAsync(600);
  });
const bearer = () => sockets.at(-1)?.protocols[1];

test("a hook that is mounted before its token is there waits, and then connects with it", async () => {
  await show({ token: null });
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(sockets).toHaveLength(0);
  await show({ token: "late" });
  expect(sockets).toHaveLength(1);
  expect(bearer()).toBe("bearer.late");
});

test("refused for want of a token, it connects when there is one", async () => {
  await show({});
  await act(async () => sockets[0]!.breaks(4401));
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(document.body.textContent).toContain("closed");
  expect(sockets).toHaveLength(1);
  await show({ token: "late" });
  expect(sockets).toHaveLength(2);
  expect(bearer()).toBe("bearer.late");
});

test("a later token is renewed in place, and used for the next connection", async () => {
  await show({ token: "first" });
  await act(async () => sockets[0]!.welcome());
  await show({ token: "second" });
  expect(sockets).toHaveLength(1);
  expect(sockets[0]!.sent).toContainEqual(expect.objectContaining({ type: "authenticate", token: "second" }));
  await act(async () => {
    sockets[0]!.breaks();
    await vi.advanceTimersByTimeAsync(1_000);
  });
  expect(bearer()).toBe("bearer.second");
});

test("a function that is made at each render does not make it connect again and again", async () => {
  await show({ token: () => "bad" });
  for (let round = 0; round < 6; round++) {
    await act(async () => {
      sockets.at(-1)!.breaks(4401);
      await vi.advanceTimersByTimeAsync(40_000);
    });
    await show({ token: () => "bad" });
  }
  expect(sockets.length).toBeLessThanOrEqual(4);
  expect(renders).toBeLessThan(100);
});

test("a provider has a client of its own, with its token from the first connection on", async () => {
  await act(async () => {
    root.render(<TidingsProvider url={url} token="mine"><Inner /></TidingsProvider>);
    await vi.advanceTimersByTimeAsync(600);
  });
  expect(sockets.map(({ protocols }) => protocols[1])).toEqual(["bearer.mine"]);
});

function Inner() {
  return <p>{useTask("t").status.state}</p>;
}

test("without an id, or switched off, nothing is watched", async () => {
  await show({ enabled: false });
  expect(sockets).toHaveLength(0);
  await show({ enabled: true });
  expect(sockets).toHaveLength(1);
  await show({ enabled: false });
  expect(sockets[0]!.closed).toBeTruthy();
});
