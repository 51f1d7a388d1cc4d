import type { TaskSnapshot } from "../generated/protocol.js";

export interface ProgressProps {
  value: number | null;
  status: TaskSnapshot["status"];
  label: string;
  stalled?: boolean;
}

/** A progress bar; without a value it says that something goes on. */
export function Progress({ value, status, label, stalled = false }: ProgressProps) {
  const known = value !== null;
  return (
    <div
      className="td-progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(known ? { "aria-valuenow": Math.round(value), "aria-valuetext": `${Math.round(value)} per cent` } : {})}
      data-status={stalled ? "stalled" : status}
      data-unknown={!known && status === "running" ? "" : undefined}
    >
      <div className="td-progress-bar" style={{ transform: `scaleX(${known ? value / 100 : status === "running" ? 0.3 : 0})` }} />
    </div>
  );
}

const WORDS: Record<TaskSnapshot["status"], string> = {
  pending: "Pending",
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** A task's status as a word; the colour is never all there is. */
export function StatusBadge({ status, stalled = false }: { status: TaskSnapshot["status"]; stalled?: boolean }) {
  return (
    <span className="td-badge" data-status={stalled ? "stalled" : status}>
      {stalled ? "Stalled" : WORDS[status]}
    </span>
  );
}
