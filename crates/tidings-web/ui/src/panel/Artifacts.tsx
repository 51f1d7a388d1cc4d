import type { ArtifactState } from "../generated/protocol.js";
import { type Labels, useLabels } from "./labels.js";
import { loaded } from "./loaded.js";

/** Loaded with the first artifact. */
const List = loaded(() => import("./artifacts/List.js"));

/** The artifacts of a task: links that are safe to follow, and data to view and to save. */
export function Artifacts({ artifacts, labels: own }: { artifacts: readonly ArtifactState[]; labels?: Partial<Labels> | undefined }) {
  const labels = useLabels(own);
  return artifacts.length === 0 ? null : <List artifacts={artifacts} labels={labels} fallback={null} />;
}
