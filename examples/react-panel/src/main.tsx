import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { TaskDetailPanel } from "@tidings/client/panel";
import { useTask } from "@tidings/client/react";
import "@tidings/client/panel.css";

const asked = new URLSearchParams(location.search);
/** The address of the Tidings server. `?server=…` names another one. */
const url = asked.get("server") ?? "http://127.0.0.1:8000";
/** The tasks of the demo. `?task=…` shows another one. */
const tasks = [...asked.getAll("task"), "agent_run", "build_main", "test_001"];

/** One line of your own, from the hook. */
function Line({ taskId }: { taskId: string }) {
  const { task, progress, status } = useTask(taskId, { url, history: 0 });
  return (
    <p>
      {task?.name ?? taskId}: {task?.status ?? status.state}
      {progress === null ? "" : `, ${Math.round(progress)} %`}
    </p>
  );
}

function App() {
  const [taskId, setTaskId] = useState(tasks[0]!);
  return (
    <main style={{ maxWidth: 1080, margin: "2rem auto", padding: "0 1rem" }}>
      <label>
        Task{" "}
        <select value={taskId} onChange={(event) => setTaskId(event.target.value)}>
          {tasks.map((id) => (
            <option key={id}>{id}</option>
          ))}
        </select>
      </label>
      <Line taskId="test_001" />
      {/* The panel and the line share one connection. */}
      <TaskDetailPanel taskId={taskId} url={url} />
    </main>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
