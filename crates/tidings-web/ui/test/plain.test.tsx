// @vitest-environment jsdom
/** Texts of data, as they are shown. */

import { remark } from "../src/dashboard/sorting.js";
import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { errorText } from "../src/panel/format.js";
import { ENGLISH } from "../src/panel/labels.js";
import { plain } from "../src/panel/log/Ansi.js";
import Coloured from "../src/panel/log/Coloured.js";
import Markdown from "../src/panel/output/Markdown.js";
import { Agents, Steps, ToolCalls } from "../src/panel/timeline/Timeline.js";
import Value from "../src/panel/Value.js";
import List from "../src/panel/artifacts/List.js";
import { snapshot } from "./support/scripted.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let box: HTMLElement;
beforeEach(() => {
  box = document.body.appendChild(document.createElement("div"));
  root = createRoot(box);
});
afterEach(async () => {
  await act(async () => root.unmount());
  box.remove();
});
const draw = (element: React.ReactNode) => act(async () => root.render(element));

const FORGED = "safe \u202ecod.exe\u2066 \u2067x\u2069 \u202a\u202b\u202c\u202d\u2068";
const HONEST = "safe cod.exe x ";
const OVERRIDES = /[\u202a-\u202e\u2066-\u2069]/;

test("characters that turn text around are left out; marks of right-to-left texts stay", () => {
  expect(plain(FORGED)).toBe(HONEST);
  expect(plain("\u200f\u061cשלום\u200e")).toBe("\u200f\u061cשלום\u200e");
  expect(errorText({ message: FORGED, code: FORGED })).not.toMatch(OVERRIDES);
  expect(errorText(FORGED)).toBe(HONEST);
});

test.each([
  ["a value", <Value name="" value={FORGED} />],
  ["colours", <Coloured text={`\u001b[31m${FORGED}`} />],
  ["Markdown", <Markdown text={`${FORGED} \`${FORGED}\` &#x202e;x`} />],
  ["a tool call", <ToolCalls labels={ENGLISH} now={0} calls={[{ id: "c", tool: FORGED, state: "running", startedAt: null, endedAt: null, durationMs: null, input: FORGED, output: null, error: FORGED }]} />],
  ["a step", <Steps labels={ENGLISH} now={0} task={{ ...snapshot("t", 1), steps: [{ step_id: "s", name: FORGED, parent_step_id: null, state: "running", started_at: "2026-11-23T09:00:00Z", ended_at: null }] }} />],
  ["an agent", <Agents labels={ENGLISH} agents={[{ agent_id: "a", status: "idle", message: FORGED, updated_at: "2026-11-23T09:00:00Z" }]} />],
  ["an artifact", <List labels={ENGLISH} artifacts={[{ artifact_id: "a", name: FORGED, media_type: FORGED, url: null, data: `@@ -1 +1 @@\n-${FORGED}` }]} />],
])("%s turns no text around", async (_, element) => {
  await draw(element);
  expect(box.textContent).toContain("cod.exe");
  expect(box.textContent).not.toMatch(OVERRIDES);
});

test("a row of the list turns no text around", () => {
  expect(remark({ ...snapshot("t", 1), message: FORGED })).toBe(HONEST);
  expect(remark({ ...snapshot("t", 1), status: "failed", error: { message: FORGED } })).toBe(HONEST);
});

test("the summary of a closed value has no escape sequences", async () => {
  await draw(<Value name="Output" value={"\u001b[31mred\u001b[0m"} />);
  expect(box.querySelector("summary code")!.textContent).toBe("red");
});

test("backgrounds and reverse video are painted, and the text on them can be read", async () => {
  await draw(<Coloured text={"\u001b[41mX\u001b[0m \u001b[7minv\u001b[0m \u001b[2;31;44mz"} />);
  const painted = [...box.querySelectorAll(".td-painted")];
  expect(painted.map((element) => [element.className, element.firstElementChild!.className, element.textContent])).toEqual([
    ["td-painted td-ansi-red", "td-on-painted", "X"],
    ["td-painted td-ansi-white", "td-on-painted", "inv"],
    ["td-painted td-ansi-blue", "td-on-painted", "z"],
  ]);
});

test("an image that could not be drawn is text, and one with the same id that can be is an image again", async () => {
  const show = (data: string) => draw(<List labels={ENGLISH} artifacts={[{ artifact_id: "a", name: null, media_type: "image/png", url: null, data }]} />);
  await show("AAAA");
  await act(async () => void box.querySelector("img")!.dispatchEvent(new Event("error")));
  expect(box.querySelector("img")).toBeNull();
  await show("iVBORw0KGgo=");
  expect(box.querySelector("img")!.src).toContain("iVBORw0KGgo=");
});
