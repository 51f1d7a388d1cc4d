// @vitest-environment jsdom
/** Parts of the panel whose code is loaded when it is needed. */

import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loaded } from "../src/panel/loaded.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let box: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  box = document.body.appendChild(document.createElement("div"));
  root = createRoot(box);
});
afterEach(() => {
  vi.useRealTimers();
  box.remove();
});

function Part({ text }: { text: string }) {
  return <b>{text}</b>;
}

/** A loader that fails a number of times. */
function failing(times: number) {
  const load = vi.fn(() => (load.mock.calls.length <= times ? Promise.reject(new Error("no network")) : Promise.resolve({ default: Part })));
  return load;
}

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

test("code that cannot be loaded leaves the page as it is, and is loaded when that is possible again", async () => {
  const load = failing(3);
  const Lazy = loaded(load);
  await act(async () => root.render(<main>before <Lazy text="bold" fallback="plain" /></main>));
  expect(box.innerHTML).toBe("<main>before plain</main>");
  await pass(60_000);
  expect(load).toHaveBeenCalledTimes(4);
  expect(box.innerHTML).toBe("<main>before <b>bold</b></main>");
});

test("several places share one request, and a later one is drawn at once", async () => {
  const load = failing(0);
  const Lazy = loaded(load);
  await act(async () => root.render(<><Lazy text="1" fallback="" /><Lazy text="2" fallback="" /></>));
  await act(async () => root.render(<Lazy key="other" text="3" fallback="" />));
  expect(box.innerHTML).toBe("<b>3</b>");
  expect(load).toHaveBeenCalledTimes(1);
});

test("nothing is requested for a part that is gone, and again for one that comes back", async () => {
  const load = failing(1);
  const Lazy = loaded(load);
  await act(async () => root.render(<Lazy text="1" fallback="" />));
  await act(async () => root.render(<></>));
  await pass(60_000);
  expect(load).toHaveBeenCalledTimes(1);
  await act(async () => root.render(<Lazy text="2" fallback="" />));
  expect(box.innerHTML).toBe("<b>2</b>");
});
