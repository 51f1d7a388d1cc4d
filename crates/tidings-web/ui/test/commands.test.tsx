// @vitest-environment jsdom
/** The buttons for commands, and what they say. */

import { act } from "react";
import { expect, test } from "vitest";
import { TaskDetailPanel } from "../src/panel/TaskDetailPanel.js";
import { box, frame, root } from "./support/drawn.js";
import { scripted } from "./support/scripted.js";

const entry = (offset: number, event_type: string, data: object = {}) => ({ offset, event_type, data, timestamp: "2026-11-23T08:59:27.601Z" });

/** Draws the panel of a task that runs. `log` are the events that its server returns as history. */
async function panel(log: object[] = [entry(1, "task_started")]) {
  const fetch = async (url: RequestInfo | URL) => {
    const { searchParams } = new URL(String(url instanceof Request ? url.url : url));
    const types = searchParams.get("type")?.split(",");
    const since = Number(searchParams.get("since")!.split(":").at(-1));
    const events = log.filter((event: any) => event.offset > since && (!types || types.includes(event.event_type)));
    return Response.json({ events, tasks: [], next: `e1:${log.length}` });
  };
  const rig = scripted({ fetch: fetch as typeof globalThis.fetch });
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} />));
  await act(async () => {
    rig.socket.welcome();
    rig.socket.subscribed(log.length);
  });
  await frame();
  await frame();
  const tell = async (...events: [string, object][]) => {
    await act(async () => events.forEach(([type, data], index) => rig.socket.event(log.length + 1 + index, type, data)));
    log = [...log, ...events];
    await frame();
  };
  return { rig, tell };
}

const buttons = () => [...box.querySelectorAll<HTMLButtonElement>(".td-commands button")];
const names = () => buttons().map(({ textContent }) => textContent);
const button = (name: string) => buttons().find(({ textContent }) => textContent === name)!;
const outcome = () => box.querySelector(".td-outcome")!.textContent;
const commands = (rig: ReturnType<typeof scripted>) => rig.socket.sent.filter(({ type }) => type === "command").map(({ command }) => command);
const click = (target: Element, init: MouseEventInit = { detail: 1 }) => act(async () => void target.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ...init })));

test("a double click on Cancel asks whether to cancel, and does not cancel; a click after it does", async () => {
  const { rig } = await panel();
  const cancel = button("Cancel");
  await click(cancel, { detail: 1 });
  await click(cancel, { detail: 2 });
  expect(commands(rig)).toEqual([]);
  expect(names()).toEqual(["Pause", "Really cancel?"]);
  await click(cancel, { detail: 1 });
  expect(commands(rig)).toEqual(["cancel"]);
});

test("Escape takes the question back, and a key that is held down presses once", async () => {
  const { rig } = await panel();
  const cancel = button("Cancel");
  await click(cancel, { detail: 0 });
  const held = new KeyboardEvent("keydown", { key: "Enter", repeat: true, bubbles: true, cancelable: true });
  await act(async () => void cancel.dispatchEvent(held));
  expect(held.defaultPrevented).toBe(true);
  await act(async () => void cancel.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true })));
  expect(names()).toEqual(["Pause", "Cancel"]);
  expect(commands(rig)).toEqual([]);
});

const PAUSED = [entry(1, "task_started"), entry(2, "command_requested", { command_id: "p", command: "pause", by: "a" }), entry(3, "command_completed", { command_id: "p" })];
const lines = (from: number) => Array.from({ length: 300 }, (_, index) => entry(from + index, "log", { message: "x" }));

test("a task that was paused long before the page's events is offered to resume", async () => {
  await panel([...PAUSED, ...lines(4)]);
  expect(names()).toEqual(["Resume", "Cancel"]);
});

test("a run after the paused one was never paused, be it before the page came or after", async () => {
  await panel([...PAUSED, entry(4, "task_cancelled"), entry(5, "task_started"), ...lines(6)]);
  expect(names()).toEqual(["Pause", "Cancel"]);
});

test("a pause of the run that ended is no pause of the next one", async () => {
  const { tell } = await panel();
  await tell(["command_requested", { command_id: "p", command: "pause", by: "a" }], ["command_completed", { command_id: "p" }]);
  expect(names()).toEqual(["Resume", "Cancel"]);
  await tell(["task_cancelled", {}], ["task_started", {}]);
  expect(names()).toEqual(["Pause", "Cancel"]);
});

test("another's command that waits is told beside one's own", async () => {
  const { rig, tell } = await panel();
  await click(button("Pause"));
  expect(outcome()).toBe("Pause: asking…");
  const { ref } = rig.socket.sent.find(({ type }) => type === "command");
  await act(async () => rig.socket.says("ack", { ref, epoch: "e1", offset: 2, duplicate: false }, "t"));
  await tell(["command_requested", { command_id: "mine", command: "pause", by: "me" }], ["command_requested", { command_id: "x", command: "cancel", by: "ada" }], ["command_requested", { command_id: "y", command: "pause", by: "ada" }]);
  expect(outcome()).toBe("Pause: asked, no answer yet · Cancel: asked, no answer yet · Pause: asked, no answer yet");
});
