/** A place to draw in for each test of its importer, under a clock of the test's own. */

import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, vi } from "vitest";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

export let root: Root;
export let box: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers();
  box = document.body.appendChild(document.createElement("div"));
  root = createRoot(box);
});
afterEach(async () => {
  await act(async () => root.unmount());
  vi.useRealTimers();
  box.remove();
});

/** Lets modules load, promises settle, and React draw one frame. */
export async function frame(): Promise<void> {
  await act(() => vi.dynamicImportSettled());
  await act(() => vi.advanceTimersByTimeAsync(40));
}
