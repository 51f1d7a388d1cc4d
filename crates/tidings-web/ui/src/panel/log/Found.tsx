import { count, moment } from "../format.js";
import type { Labels } from "../labels.js";
import { plain } from "./Ansi.js";
import { sentence, tone } from "./sentence.js";
import type { TidingsClient } from "../../websocket.js";
import { useSearch } from "./useSearch.js";

export interface FoundProps {
  client: TidingsClient;
  taskId: string;
  text: string;
  types: readonly string[];
  /** The newest offset of the log. When it grows, the search goes on. */
  head: number;
  labels: Labels;
  onShow: (offset: number) => void;
}

/** Searches the log on the server and shows the matching lines. Each line links to its place. */
export default function Found({ client, taskId, text, types, head, labels, onShow }: FoundProps) {
  const { found, state, failure, more } = useSearch(client, taskId, text, types, head);
  const all = found ?? [];
  return (
    <div className="td-log-view">
      <div className="td-lines td-found" tabIndex={0} role="group" aria-label={labels.log}>
        <ol>
          {all.map((event) => (
            <li key={event.offset} className="td-line" data-tone={tone(event)}>
              <button type="button" className="td-at" onClick={() => onShow(event.offset)}>
                <time dateTime={event.timestamp}>{moment(event.timestamp)}</time>
              </button>{" "}
              {event.event_type !== "log" && <span className="td-type">{event.event_type} </span>}
              <span className="td-text" dir="auto">
                {plain(sentence(event))}
              </span>
            </li>
          ))}
        </ol>
      </div>
      <p className="td-muted" role="status">
        {(found === null || state === "searching") && all.length === 0 ? labels.searching : all.length === 0 ? labels.noMatch : labels.matches(count(all.length), state === "done")}{" "}
        {failure}
      </p>
      {state === "paused" && (
        <button type="button" className="td-link" onClick={more}>
          {labels.more}
        </button>
      )}
    </div>
  );
}
