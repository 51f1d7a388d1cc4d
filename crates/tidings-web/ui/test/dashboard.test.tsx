// @vitest-environment jsdom
/** The dashboard around the list and the panel: tokens, losses of the connection, and the focus. */

import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Session } from "../src/dashboard/api.js";
import { App } from "../src/dashboard/App.js";
import { useNeedsYou } from "../src/dashboard/inbox.js";
import { PERIOD } from "../src/dashboard/poll.js";
import { Rates } from "../src/dashboard/rates.js";
import { go } from "../src/dashboard/routing.js";
import type { TaskSnapshot } from "../src/generated/protocol.js";
import { scripted, snapshot } from "./support/scripted.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let rig: ReturnType<typeof scripted>;
let session: Session;
/** The paths that were asked for over HTTP, and what each is answered with. */
let asked: string[];
let answers: (path: string) => Response | Promise<Response>;

class Scripted extends Session {
  override async send(_method: string, path: string): Promise<Response> {
    asked.push(path);
    return answers(path);
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("scrollTo", vi.fn());
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener: () => {}, removeEventListener: () => {} }));
  vi.stubGlobal("CSS", { escape: (text: string) => text });
  sessionStorage.clear();
  history.replaceState(null, "", "/");
  document.body.innerHTML = "<div></div>";
  root = createRoot(document.body.firstElementChild!);
  session = new Scripted();
  asked = [];
  answers = () => new Response(null, { status: 403 });
  const fetch = async () => Response.json({ events: [], tasks: [], next: null });
  rig = scripted({ token: () => session.token ?? "", fetch: fetch as typeof globalThis.fetch, linger: 2_000 });
});
afterEach(async () => {
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const wait = async (ms: number) => {
  await act(() => vi.dynamicImportSettled());
  await act(() => vi.advanceTimersByTimeAsync(ms));
};
const show = async (path = "/") => {
  history.replaceState(null, "", path);
  const make = () => ({ session, client: rig.client, rates: new Rates() });
  await act(async () => root.render(<App make={make} />));
  await wait(50);
};
const names = () => [...document.querySelectorAll(".db-row")].map((row) => row.getAttribute("data-name"));
const announce = async (...ids: string[]) => {
  await act(async () => ids.forEach((id) => rig.socket.announced(id, 1)));
  await wait(600);
};
const remove = async (id: string) => {
  await act(async () => rig.socket.says("unsubscribed", { task_id: id, reason: "removed" }, id));
  await wait(600);
};

async function write(element: HTMLInputElement, text: string) {
  await act(async () => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value")!.set!.call(element, text);
    element.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

/** Gives the sign-in form a token, and lets the server accept it. */
async function signIn(token: string) {
  const before = rig.sockets.length;
  await write(document.querySelector<HTMLInputElement>("#token")!, token);
  await act(async () => document.querySelector<HTMLButtonElement>("form [type=submit]")!.click());
  await wait(50);
  expect(rig.sockets.length).toBeGreaterThan(before);
  await act(async () => rig.socket.welcome());
  await wait(50);
}

const expire = async () => {
  await act(async () => rig.socket.breaks(4401));
  for (let again = 0; again < 3 && !document.querySelector("#token"); again++) {
    const before = rig.sockets.length;
    await wait(40_000);
    if (rig.sockets.length > before) await act(async () => rig.socket.breaks(4401));
    await wait(50);
  }
  expect(document.querySelector("#token")).not.toBeNull();
};

test("what one token has shown in the list is not there for the next one", async () => {
  await show();
  await act(async () => rig.socket.welcome());
  await announce("pub-1", "secret-1");
  expect(names()).toEqual(["pub-1", "secret-1"]);
  await expire();
  await signIn("narrow");
  expect(names()).toEqual([]);
  await announce("pub-1");
  expect(names()).toEqual(["pub-1"]);
});

test("without `admin` a removed task leaves the list, and statistics are not asked for again and again", async () => {
  await show();
  await act(async () => rig.socket.welcome());
  await announce("a", "b");
  await wait(10 * PERIOD);
  expect(asked.filter((path) => path === "/api/stats")).toHaveLength(1);
  await remove("a");
  expect(names()).toEqual(["b"]);
});

test("an answer that is being typed is still there after the sign-in, with the focus", async () => {
  await show("/tasks/t");
  await act(async () => rig.socket.welcome());
  await act(async () => rig.socket.subscribed(0));
  const question = { input_id: "q", prompt: "Where?", schema: { type: "string" } };
  await act(async () => rig.socket.event(1, "input_required", question));
  await wait(600);
  await wait(600);
  const field = () => document.querySelector<HTMLInputElement>(".td-ask :is(input, textarea)")!;
  field().focus();
  await write(field(), "half a sent");
  await expire();
  expect(document.activeElement?.id).toBe("token");
  expect(field().closest("main")!.hidden).toBe(true);
  await signIn("newer");
  const state = { ...snapshot("t", 1), pending_inputs: [{ ...question, requested_at: "2026-11-23T08:59:27.601Z" }] };
  const { ref } = rig.socket.subscribes().at(-1);
  await act(async () => rig.socket.says("subscribed", { ref, task_id: "t", epoch: "e1", offset: 1, recovered: true, snapshot: state }, "t"));
  await wait(600);
  expect(field().value).toBe("half a sent");
  expect(field().closest("main")!.hidden).toBe(false);
  expect(document.activeElement).toBe(field());
});

test("a task that the next token does not allow is not shown to it", async () => {
  await show("/tasks/t");
  await act(async () => rig.socket.welcome());
  await act(async () => rig.socket.subscribed(0));
  await act(async () => rig.socket.event(1, "task_started", { name: "SECRET" }));
  await wait(600);
  expect(document.body.textContent).toContain("SECRET");
  await expire();
  await signIn("narrow");
  const refuse = async () => {
    await act(async () => rig.socket.says("error", { ref: rig.socket.subscribes().at(-1).ref, code: "forbidden", message: "not for you" }));
    await wait(600);
  };
  await refuse();
  await refuse();
  expect(document.body.textContent).not.toContain("SECRET");
  expect(document.body.textContent).toContain("not for you");
});

test("the title says how far a task is only while that is known", async () => {
  await show("/tasks/t");
  await act(async () => rig.socket.welcome());
  await act(async () => rig.socket.subscribed(0));
  await act(async () => rig.socket.event(1, "task_started", {}));
  await act(async () => rig.socket.event(2, "progress_update", { progress: 40 }));
  await wait(600);
  expect(document.title).toBe("40 % t · Tidings");
  await act(async () => rig.socket.breaks());
  await wait(600);
  expect(document.title).toBe("t · Tidings");
  await act(async () => go("/"));
  await wait(50);
  expect(document.title).toBe("Tidings");
});

test("another page begins at its top", async () => {
  await show();
  await act(async () => rig.socket.welcome());
  await announce("a");
  await act(async () => document.querySelector<HTMLElement>(".db-row")!.click());
  expect(location.pathname).toBe("/tasks/a");
  expect(scrollTo).toHaveBeenLastCalledWith(0, 0);
});

test("when the row with the focus leaves the list, its neighbour has the focus", async () => {
  await show();
  await act(async () => rig.socket.welcome());
  await announce("a", "b", "c");
  const focus = () => document.activeElement!.getAttribute("data-name");
  await act(async () => document.querySelector<HTMLElement>("[data-name=b]")!.focus());
  await remove("b");
  expect(focus()).toBe("c");
  await remove("c");
  expect(focus()).toBe("a");
  // A reader who has left the list keeps the focus.
  await act(async () => (document.activeElement as HTMLElement).blur());
  await announce("d");
  await remove("a");
  expect(document.activeElement).toBe(document.body);
});

test("Escape leaves the search, and what is in it stays", async () => {
  await show();
  const search = document.querySelector<HTMLInputElement>("[data-search]")!;
  search.focus();
  const escape = new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
  await act(async () => void search.dispatchEvent(escape));
  // The browser's own answer to the key would be to clear the search.
  expect(escape.defaultPrevented).toBe(true);
  expect(document.activeElement).toBe(document.body);
});

/** The tasks that need the reader, of a list that is shown anew. */
let needs: ReadonlySet<string>;
function Inbox({ tasks }: { tasks: readonly TaskSnapshot[] }) {
  needs = useNeedsYou(session, tasks);
  return null;
}
const asking = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ ...snapshot(`t${at}`, 1), pending_inputs: [{ input_id: "q", prompt: "?", schema: null, requested_at: "" }] }));

test("tasks that ask in quick succession are all marked, with one request in each period", async () => {
  const all = asking(15);
  let count = 1;
  answers = () => Response.json({ inputs: all.slice(0, count).map(({ task_id }) => ({ task_id })), next: null });
  for (; count <= 15; count++) {
    await act(async () => root.render(<Inbox tasks={all.slice(0, count)} />));
    await wait(PERIOD / 2);
    expect(needs.size).toBeGreaterThanOrEqual(count - 2);
  }
  await wait(10 * PERIOD);
  expect(needs.size).toBe(15);
  expect(asked.length).toBeLessThanOrEqual(9);
});

test("a server that cannot say who may answer is asked again, and one that refuses is not", async () => {
  answers = () => new Response(null, { status: 503 });
  await act(async () => root.render(<Inbox tasks={asking(1)} />));
  await wait(PERIOD / 2);
  expect(needs.size).toBe(0);
  answers = () => Response.json({ inputs: [{ task_id: "t0" }], next: null });
  await wait(PERIOD);
  expect([...needs]).toEqual(["t0"]);
  answers = () => new Response(null, { status: 403 });
  const before = asked.length;
  await act(async () => root.render(<Inbox tasks={asking(2)} />));
  await wait(10 * PERIOD);
  expect(needs.size).toBe(0);
  expect(asked.length).toBe(before + 1);
});
