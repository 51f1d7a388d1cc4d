// @vitest-environment jsdom
/** Questions of a task, as the panel shows and answers them, and the hook below it. */

import { act } from "react";
import { expect, test, vi } from "vitest";
import { TaskDetailPanel } from "../src/panel/TaskDetailPanel.js";
import { useAnswer, type UseAnswer } from "../src/react/useAnswer.js";
import { box, frame, root } from "./support/drawn.js";
import { scripted, snapshot } from "./support/scripted.js";

/** A client of a server without history. */
function client() {
  const fetch = async () => Response.json({ events: [], tasks: [], next: null });
  return scripted({ fetch: fetch as typeof globalThis.fetch });
}

async function panel(rig: ReturnType<typeof scripted>, permissions?: string[]) {
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} />));
  await act(async () => {
    rig.socket.welcome();
    rig.socket.subscribed(0, { permissions });
  });
  await frame();
}

async function asks(rig: ReturnType<typeof scripted>, offset: number, data: object) {
  await act(async () => rig.socket.event(offset, "input_required", data));
  await frame();
  await frame();
}

const button = (name: string) => [...box.querySelectorAll<HTMLButtonElement>(".td-ask button")].find((button) => button.textContent === name)!;
const answers = (rig: ReturnType<typeof scripted>) => rig.socket.sent.filter(({ type }) => type === "answer");

async function write(element: HTMLInputElement | HTMLTextAreaElement, text: string) {
  await act(async () => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value")!.set!.call(element, text);
    element.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

test("the hook lists questions, answers them, and says what became of each answer", async () => {
  const rig = scripted();
  let live!: UseAnswer;
  function Probe() {
    live = useAnswer("t", { client: rig.client });
    return null;
  }
  await act(async () => root.render(<Probe />));
  await act(async () => expect(await live.answer("q", "early")).toBe(false));
  await act(async () => {
    rig.socket.welcome();
    rig.socket.subscribed(0);
  });
  rig.socket.event(1, "input_required", { input_id: "q", prompt: "Deploy?" });
  rig.socket.event(2, "input_required", { input_id: "r", prompt: "Where?" });
  await frame();
  expect(live.questions).toMatchObject([{ input_id: "q", prompt: "Deploy?" }, { input_id: "r" }]);
  let taken!: Promise<boolean>;
  await act(async () => void (taken = live.answer("q", false)));
  expect(live.answers.q).toEqual({ state: "sending", error: null });
  const sent = rig.socket.sent.at(-1);
  expect(sent).toMatchObject({ type: "answer", task_id: "t", input_id: "q", value: false });
  await act(async () => rig.socket.says("ack", { ref: sent.ref, epoch: "e1", offset: 3, duplicate: false }, "t"));
  await expect(taken).resolves.toBe(true);
  expect(live.answers.q).toEqual({ state: "taken", error: null });
  rig.socket.event(3, "input_provided", { input_id: "q", value: false, by: "me" });
  await frame();
  expect(live.questions.map(({ input_id }) => input_id)).toEqual(["r"]);
  expect(live.ended).toMatchObject([{ input_id: "q", by: "me", value: false }]);

  await act(async () => void (taken = live.answer("r", "here")));
  await act(async () => rig.socket.says("error", { ref: rig.socket.sent.at(-1).ref, code: "already_answered", message: "the question `r` was answered by ada" }));
  await expect(taken).resolves.toBe(false);
  expect(live.error).toMatchObject({ code: "already_answered" });
  expect(live.answers.r).toMatchObject({ state: "refused", error: { code: "already_answered" } });
  expect(live.answers.q).toMatchObject({ state: "taken" });
});

test("choices are buttons; the answer is sent once; who answered and when stays", async () => {
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "Which one?", choices: ["blue", 2, { deep: true }] });
  expect([...box.querySelectorAll(".td-ask button")].map(({ textContent }) => textContent)).toEqual(["blue", "2", '{"deep":true}']);
  await act(async () => button("2").click());
  await act(async () => button("blue").click());
  expect(answers(rig)).toMatchObject([{ input_id: "q", value: 2 }]);
  expect(button("2").getAttribute("aria-disabled")).toBe("true");
  expect(box.querySelector(".td-ask [role=status]")!.textContent).toBe("Sending the answer…");
  await act(async () => rig.socket.says("ack", { ref: answers(rig)[0].ref, epoch: "e1", offset: 2, duplicate: false }, "t"));
  await act(async () => rig.socket.event(2, "input_provided", { input_id: "q", value: 2, by: "ada" }));
  await frame();
  expect(box.querySelectorAll(".td-ask button")).toHaveLength(0);
  expect(box.querySelector(".td-ask")!.textContent).toMatch(/Which one\?2Answered by ada at .*\d\d:\d\d:\d\d/);
});

test("the focus goes to the questions, and not away, once the form is gone", async () => {
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "?", schema: { type: "boolean" } });
  button("Yes").focus();
  await act(async () => button("Yes").click());
  await act(async () => rig.socket.says("ack", { ref: answers(rig)[0].ref, epoch: "e1", offset: 2, duplicate: false }, "t"));
  await act(async () => rig.socket.event(2, "input_provided", { input_id: "q", value: true, by: "ada" }));
  await frame();
  expect(document.activeElement).toBe(box.querySelector(".td-ask"));
});

test("a form of an object; the server's reason stands at its field, and the focus goes there", async () => {
  const rig = client();
  await panel(rig);
  const schema = { type: "object", required: ["count"], properties: { count: { type: "integer", title: "How many", description: "Up to five." }, note: { type: "string", maxLength: 50 } } };
  await asks(rig, 1, { input_id: "q", prompt: "Order", schema });
  const count = box.querySelector<HTMLInputElement>("input[id$=-count]")!;
  expect(box.querySelector(`label[for="${count.id}"]`)!.textContent).toContain("How many");
  const describes = () => count.getAttribute("aria-describedby")!.split(" ").map((id) => document.getElementById(id)!.textContent);
  expect(describes()).toEqual(["Up to five."]);
  await act(async () => button("Answer").click());
  expect(answers(rig)).toEqual([]);
  expect(describes()).toEqual(["Up to five.", "An answer is missing."]);
  expect(document.activeElement).toBe(count);
  await write(count, "9");
  await act(async () => button("Answer").click());
  expect(answers(rig)).toMatchObject([{ value: { count: 9 } }]);
  box.querySelector<HTMLInputElement>("input[id$=-note]")!.focus();
  await act(async () => rig.socket.says("error", { ref: answers(rig)[0].ref, code: "invalid_event", message: "the value does not answer `q`: at /count: 9 is greater than the maximum of 5" }));
  expect(count.getAttribute("aria-invalid")).toBe("true");
  expect(describes()).toEqual(["Up to five.", "9 is greater than the maximum of 5"]);
  expect(document.activeElement).toBe(count);
  await write(count, "4");
  await act(async () => button("Answer").click());
  expect(answers(rig)[1]).toMatchObject({ value: { count: 4 } });
  expect(count.getAttribute("aria-invalid")).toBeNull();
});

test("somebody else was faster: who and when, and that one's own answer was not taken", async () => {
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  await act(async () => button("No").click());
  await act(async () => rig.socket.event(2, "input_provided", { input_id: "q", value: true, by: "ada" }));
  await act(async () => rig.socket.says("error", { ref: answers(rig)[0].ref, code: "already_answered", message: "the question `q` was answered by ada" }));
  await frame();
  const text = box.querySelector(".td-ask")!.textContent!;
  expect(text).toMatch(/Deploy\?YesAnswered by ada at/);
  expect(box.querySelector(".td-ask [role=alert]")!.textContent).toBe("Your answer came later, and was not taken.");
});

test("a question that expires says until when, and then that nobody answered", async () => {
  vi.setSystemTime(Date.parse("2026-11-23T08:59:27.601Z"));
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" }, expires_in_ms: 600_000 });
  expect(box.querySelector(".td-ask")!.textContent).toMatch(/Expires in (10 min 00 s|9 min 59 s)/);
  await act(async () => rig.socket.event(2, "input_expired", { input_id: "q" }));
  await frame();
  expect(box.querySelector(".td-ask")!.textContent).toMatch(/Deploy\?Nobody answered in time: expired at/);
  expect(box.querySelectorAll(".td-ask button")).toHaveLength(0);
});

test("without the right to answer there is the question and no form", async () => {
  const rig = client();
  await panel(rig, ["watch", "publish"]);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  expect(box.querySelector(".td-ask")!.textContent).toContain("Deploy?You may not answer this question.");
  expect(box.querySelectorAll(".td-ask :is(button, input, form)")).toHaveLength(0);
  expect(box.querySelectorAll("[data-command]")).toHaveLength(0);
  // The next connection has another token.
  const before = rig.sockets.length;
  await act(async () => rig.socket.breaks());
  await act(async () => (await rig.next(before)).welcome());
  await act(async () => rig.socket.subscribed(1, { permissions: ["watch", "answer"] }));
  await asks(rig, 2, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  expect(button("Yes")).toBeDefined();
  expect(box.querySelectorAll("[data-command]")).toHaveLength(0);
});

test("with the right to command there are commands, and with every right everything", async () => {
  const rig = client();
  await panel(rig, ["watch", "answer", "command"]);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  expect(button("Yes")).toBeDefined();
  expect([...box.querySelectorAll<HTMLElement>("[data-command]")].map(({ dataset }) => dataset.command)).toEqual(["pause", "cancel"]);
  await act(async () => rig.socket.breaks());
  await act(async () => (await rig.next(1)).welcome());
  await act(async () => rig.socket.subscribed(1));
  await asks(rig, 2, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  expect(button("Yes")).toBeDefined();
  expect(box.querySelectorAll("[data-command]")).toHaveLength(2);
});

test("an answer whose connection broke is not said to be refused for good: the form stays", async () => {
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" } });
  await act(async () => button("Yes").click());
  await act(async () => rig.socket.breaks());
  await frame();
  expect(box.querySelector(".td-ask [role=alert]")!.textContent).toContain("the connection broke before the answer");
  expect(button("Yes").getAttribute("aria-disabled")).toBe("true");
});

test("a property with spaces in its name is described, and its error found, by an id of its own", async () => {
  const rig = client();
  await panel(rig);
  const properties = { "a b": { type: "integer", description: "First." }, "a%32b": { type: "integer", description: "Second." } };
  await asks(rig, 1, { input_id: "q", prompt: "Order", schema: { type: "object", required: ["a b"], properties } });
  const [first, second] = box.querySelectorAll<HTMLInputElement>(".td-ask input");
  const describes = (input: HTMLInputElement) => input.getAttribute("aria-describedby")!.split(" ").map((id) => document.getElementById(id)?.textContent);
  expect(first!.id).not.toBe(second!.id);
  expect([first!, second!].map(describes)).toEqual([["First."], ["Second."]]);
  expect(box.querySelector<HTMLLabelElement>(".td-ask label")!.control).toBe(first);
  await act(async () => button("Answer").click());
  expect(describes(first!)).toEqual(["First.", "An answer is missing."]);
});

test("while there is no connection, the time until a question expires stands still, and the panel is marked as stale", async () => {
  vi.setSystemTime(Date.parse("2026-11-23T08:59:27.601Z"));
  const rig = client();
  await panel(rig);
  await asks(rig, 1, { input_id: "q", prompt: "Deploy?", schema: { type: "boolean" }, expires_in_ms: 600_000 });
  const panelBox = box.querySelector(".td-panel")!;
  expect(panelBox.hasAttribute("data-stale")).toBe(false);
  await act(async () => rig.socket.breaks());
  await frame();
  const left = () => /Expires in ([^s]*)/.exec(box.querySelector(".td-ask")!.textContent!)![1];
  const before = left();
  await act(() => vi.advanceTimersByTimeAsync(3_000));
  expect(left()).toBe(before);
  expect(panelBox.hasAttribute("data-stale")).toBe(true);
});

test("a task that is forbidden has no log that says that nothing has happened", async () => {
  const rig = client();
  await act(async () => root.render(<TaskDetailPanel taskId="t" client={rig.client} history={0} />));
  await act(async () => rig.socket.welcome());
  await act(async () => rig.socket.says("error", { ref: rig.socket.subscribes()[0].ref, code: "forbidden", message: "the token does not allow this task" }));
  await frame();
  expect(box.textContent).toContain("the token does not allow this task");
  expect(box.querySelector(".td-log")).toBeNull();
});

test("a task whose events are gone is not said to have had none yet", async () => {
  const rig = client();
  await panel(rig);
  expect(box.textContent).toContain("No event of this task has come yet.");
  await act(async () => rig.socket.event(1, "task_started"));
  await frame();
  await act(async () => rig.socket.says("reset", { reason: "removed", epoch: "e2", offset: 0, snapshot: snapshot("t", 0, "e2") }, "t"));
  await frame();
  expect(box.textContent).toContain("The events of this task are gone");
  expect(box.textContent).not.toContain("No event of this task has come yet.");
});
