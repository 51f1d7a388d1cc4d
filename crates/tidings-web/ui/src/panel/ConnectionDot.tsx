import type { Status } from "../status.js";
import { statusText, useNow } from "./format.js";

/** The connection: a dot, and its meaning in words. */
export function ConnectionDot({ status, onReconnect }: { status: Status; onReconnect?: () => void }) {
  const waiting = status.retryAt !== null;
  const now = useNow(waiting);
  const canHurry = onReconnect && (waiting || status.state === "closed");
  return (
    <span className="td-connection">
      <span className="td-dot" data-state={status.state} aria-hidden="true" />
      {/* The countdown is for the eyes; a reader hears the state alone. */}
      <span className="td-connection-text" aria-hidden="true">
        {statusText(status, now)}
      </span>
      <span className="td-hidden" role="status">
        {`Connection: ${status.state}`}
      </span>
      {canHurry && (
        <button type="button" className="td-link" onClick={onReconnect}>
          Try now
        </button>
      )}
    </span>
  );
}
