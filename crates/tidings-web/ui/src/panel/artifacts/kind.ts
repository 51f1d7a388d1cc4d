import type { ArtifactState } from "../../generated/protocol.js";
import type { WebAddress } from "../address.js";

/** How an artifact is shown. */
export type Kind = { readonly as: "image"; readonly src: string } | { readonly as: "diff" | "text" | "none" };

/** Images that a browser draws and that run no script. */
const IMAGE = /^image\/(png|jpeg|gif|webp|avif)$/;

/** A line that begins the changes of a file in a diff. */
const HUNK = /^@@ -\d+(,\d+)? \+\d+(,\d+)? @@/m;

/**
 * Returns how to show an artifact. An image is drawn if it is in the data, or if it comes from the
 * page's own server: another server would learn who looks at it.
 */
export function kindOf({ media_type, data }: Pick<ArtifactState, "media_type" | "data">, address: WebAddress | null): Kind {
  const type = (media_type ?? "").split(";")[0]!.trim().toLowerCase();
  if (IMAGE.test(type)) {
    if (typeof data === "string" && /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(data)) return { as: "image", src: `data:${type};base64,${data.replace(/\s/g, "")}` };
    if (data == null && address && address.host === null) return { as: "image", src: address.href };
  }
  if (data === null || data === undefined || data === "") return { as: "none" };
  if (typeof data === "string" && (/^text\/x-(diff|patch)$/.test(type) || HUNK.test(data))) return { as: "diff" };
  return { as: "text" };
}
