import type { TaskSnapshot } from "../generated/protocol.js";
import { type Labels, useLabels } from "./labels.js";

export interface ProgressProps {
  value: number | null;
  status: TaskSnapshot["status"];
  label: string;
  stalled?: boolean | undefined;
  /** The number of the run. The bar of a new run starts empty, and does not shrink from full. */
  run?: number | undefined;
  labels?: Partial<Labels> | undefined;
}

/** A progress bar. Without a value it shows only that work is in progress. */
export function Progress({ value, status, label, stalled = false, run = 0 }: ProgressProps) {
  const known = value !== null;
  const unknown = !known && status === "running";
  return (
    <div
      className="td-progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(known ? { "aria-valuenow": Math.round(value), "aria-valuetext": `${Math.round(value)} %` } : {})}
      data-status={stalled ? "stalled" : status}
      data-unknown={unknown || undefined}
    >
      <div key={run} className="td-progress-bar" style={unknown ? undefined : { transform: `scaleX(${(value ?? 0) / 100})` }} />
    </div>
  );
}

export interface StatusBadgeProps {
  status: TaskSnapshot["status"];
  stalled?: boolean | undefined;
  labels?: Partial<Labels> | undefined;
}

/** A task's status as a word, so that colour is not the only sign. */
export function StatusBadge({ status, stalled = false, labels: own }: StatusBadgeProps) {
  const shown = stalled ? "stalled" : status;
  return (
    <span className="td-badge" data-status={shown}>
      {useLabels(own).status[shown]}
    </span>
  );
}
