import type { ArtifactState } from "../generated/protocol.js";
import { size } from "./format.js";
import { webAddress } from "./address.js";
import { type Labels, useLabels } from "./labels.js";
import { saveText } from "./save.js";
import { Value, valueText } from "./Value.js";

/** The artifacts of a task: links that are safe to follow, and data to view and to save. */
export function Artifacts({ artifacts, labels: own }: { artifacts: readonly ArtifactState[]; labels?: Partial<Labels> | undefined }) {
  const labels = useLabels(own);
  if (artifacts.length === 0) return null;
  return (
    <section className="td-card" aria-label={labels.artifacts}>
      <h2>{labels.artifacts}</h2>
      <ul className="td-plain">
        {artifacts.map((artifact) => (
          <li key={artifact.artifact_id}>
            <Artifact artifact={artifact} labels={labels} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Artifact({ artifact, labels }: { artifact: ArtifactState; labels: Labels }) {
  const { artifact_id, name, url, media_type, data } = artifact;
  const title = name ?? artifact_id;
  const address = webAddress(url);
  const text = data === null || data === undefined ? null : valueText(data);
  return (
    <>
      <div className="td-call-head">
        {address ? (
          <a href={address.href} rel="noreferrer noopener" target="_blank">
            {title}
          </a>
        ) : (
          <span>{title}</span>
        )}
        <span className="td-muted">
          {[address?.host, media_type, text !== null && size(new Blob([text]).size)].filter(Boolean).join(" · ")}{" "}
          {text !== null && (
            <button type="button" className="td-link" onClick={() => saveText(typeof data === "string" ? data : JSON.stringify(data, null, 2), title, media_type ?? "text/plain")}>
              {labels.save}
            </button>
          )}
        </span>
      </div>
      {text !== null && <Value name={media_type ?? ""} value={data} />}
    </>
  );
}
