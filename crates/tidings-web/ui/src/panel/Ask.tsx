import type { UseTask } from "../react/useTask.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";
import { plain } from "./log/Ansi.js";

export interface AskProps extends Pick<UseTask, "client" | "task" | "events" | "status"> {
  /** What the reader may do. Without `answer`, no form is offered. */
  permissions?: UseTask["permissions"] | undefined;
  labels?: Partial<Labels> | undefined;
}

/** Loaded with the first question. */
const Questions = loaded(() => import("./ask/Questions.js"));

/**
 * The questions of a task: open ones with a form or buttons for those who may answer, and ended ones
 * with who answered and when. It takes what `useTask` returns: `<Ask {...live} />`.
 */
export function Ask({ client, task, events, status, permissions, labels: own }: AskProps) {
  const labels = useLabels(own);
  if (!task || (task.pending_inputs.length === 0 && !task.ended_inputs?.length)) return null;
  const fallback = (
    <section className="td-card td-attention" aria-label={labels.questions}>
      <ul className="td-plain">
        {task.pending_inputs.map((input) => (
          <li key={input.input_id} dir="auto">
            {plain(input.prompt)}
          </li>
        ))}
      </ul>
    </section>
  );
  return <Questions client={client} task={task} events={events} status={status} right={permissions?.includes("answer") ?? true} labels={labels} fallback={fallback} />;
}
