/** The page of the tests: what a React application does with a task. */

import { StrictMode, useState } from "react";
import { createRoot, type Root } from "react-dom/client";
import { Watched } from "../../test/support/checker.js";
import { type ClientOptions, TidingsClient } from "../../src/index.js";
import { TaskDetailPanel } from "../../src/panel/index.js";
import { useTask } from "../../src/react/index.js";
import "../../src/panel/panel.css";

const box = document.body.appendChild(document.createElement("main"));
let root: Root | null = null;

/** Watches a task, and checks and records everything that the watcher is told. */
function watch(taskId: string, how: { history?: number; since?: string } = {}, options: ClientOptions = {}) {
  const client = new TidingsClient(options);
  const watched = new Watched(how.since === "0" ? "all" : how.history ? "history" : "live");
  const states: string[] = [];
  const handle = client.watchTask(taskId, { ...watched.handlers, ...how, onStatus: ({ state }) => states.push(state) });
  return { client, watched, states, handle };
}

function Counter({ taskId, options }: { taskId: string; options: ClientOptions }) {
  const [client] = useState(() => new TidingsClient(options));
  const { events, progress, status } = useTask(taskId, { client, history: 0, maxEvents: 100 });
  return (
    <p>
      <output id="state">{status.state}</output> <output id="count">{events.at(-1)?.offset ?? 0}</output>{" "}
      <output id="progress">{progress}</output>
    </p>
  );
}

const harness = {
  watch,
  watches: {} as Record<string, ReturnType<typeof watch>>,
  render(what: "counter" | "panel", taskId: string, options: ClientOptions = {}) {
    root ??= createRoot(box);
    root.render(<StrictMode>{what === "counter" ? <Counter taskId={taskId} options={options} /> : <TaskDetailPanel taskId={taskId} />}</StrictMode>);
  },
  unmount() {
    root?.unmount();
    root = null;
  },
};

declare global {
  interface Window {
    harness: typeof harness;
  }
}
window.harness = harness;
