import type { UseTask } from "../react/useTask.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";

export interface CommandsProps extends Pick<UseTask, "client" | "task" | "command" | "commands" | "events" | "status"> {
  /** What the reader may do. Without `command`, no command is offered. */
  permissions?: UseTask["permissions"] | undefined;
  labels?: Partial<Labels> | undefined;
}

/** Loaded with the first task. */
const Buttons = loaded(() => import("./commands/Commands.js"));

/** Buttons that send commands to the task, and show its answers. It takes what `useTask` returns: `<Commands {...live} />`. */
export function Commands({ labels: own, ...props }: CommandsProps) {
  const labels = useLabels(own);
  const { task, permissions } = props;
  const offered = task !== null && task.status !== "pending" && permissions?.includes("command") !== false;
  // A button that is not seen keeps the room.
  const fallback = offered && (
    <div className="td-commands">
      <button type="button" className="td-button" disabled style={{ visibility: "hidden" }} />
    </div>
  );
  return <Buttons {...props} offered={offered} labels={labels} fallback={fallback} />;
}
