import { useMemo } from "react";
import type { ArtifactState } from "../../generated/protocol.js";
import { webAddress } from "../address.js";
import type { Labels } from "../labels.js";
import { save } from "../save.js";
import { plain } from "../log/Ansi.js";
import { contentOf, size } from "./bytes.js";
import { kindOf } from "./kind.js";
import { View } from "./View.js";

/** The artifacts of a task. This module is loaded only for a task that has some. */
export default function List({ artifacts, labels }: { artifacts: readonly ArtifactState[]; labels: Labels }) {
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
  const title = plain(name ?? artifact_id);
  const address = webAddress(url);
  const kind = kindOf(artifact, address);
  const content = useMemo(() => (data === null || data === undefined ? null : contentOf(data, kind.as === "image")), [data, kind.as]);
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
          {[address?.host, media_type && plain(media_type), content !== null && size(new Blob([content]).size)].filter(Boolean).join(" · ")}{" "}
          {content !== null && (
            <button type="button" className="td-link" onClick={() => save(content, title, media_type ?? "text/plain")}>
              {labels.save}
            </button>
          )}
        </span>
      </div>
      <View kind={kind} data={data} title={title} labels={labels} />
    </>
  );
}
