import { useEffect, useState } from "react";
import type { TaskSnapshot } from "../../generated/protocol.js";
import type { TidingsClient } from "../../websocket.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import type { TaskLink } from "../Tree.js";

/** The greatest depth of a tree. The server refuses a deeper one. */
const DEEPEST = 32;

interface Ancestor {
  id: string;
  name: string;
}

/** Reads the tasks above a task, the nearest first. A task that cannot be read is the last one. */
async function* above(client: TidingsClient, parentId: string): AsyncGenerator<Ancestor> {
  let id: string | null = parentId;
  for (let depth = 0; id !== null && depth < DEEPEST; depth++) {
    const response: Response | null = await client.fetch(`/api/tasks/${encodeURIComponent(id)}`).catch(() => null);
    const task: TaskSnapshot | null = response?.ok ? ((await response.json()) as TaskSnapshot) : null;
    yield { id, name: plain(task?.name ?? id) };
    id = task?.parent_task_id ?? null;
  }
}

export interface AncestorsProps {
  client: TidingsClient;
  parentId: string;
  taskLink: TaskLink | undefined;
  labels: Labels;
}

/** The path to a task from the top of its tree. */
export default function Ancestors({ client, parentId, taskLink, labels }: AncestorsProps) {
  const [path, setPath] = useState<readonly Ancestor[]>([{ id: parentId, name: plain(parentId) }]);
  useEffect(() => {
    let over = false;
    const read = async () => {
      const found: Ancestor[] = [];
      for await (const ancestor of above(client, parentId)) {
        if (over) return;
        found.unshift(ancestor);
        setPath([...found]);
      }
    };
    void read();
    return () => {
      over = true;
    };
  }, [client, parentId]);
  return (
    <nav className="td-path" aria-label={labels.partOf}>
      <ol>
        {path.map(({ id, name }) => (
          <li key={id} dir="auto">
            {taskLink?.(id, name) ?? name}
          </li>
        ))}
      </ol>
    </nav>
  );
}
