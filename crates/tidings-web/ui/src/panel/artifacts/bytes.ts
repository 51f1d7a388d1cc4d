import type { Json } from "../../generated/protocol.js";

/** Formats a size in bytes: 12 B, 3.4 kB, 1.2 MB. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Returns what is saved of an artifact's data: the bytes of an image, which are in the data as base64, or the text. */
export function contentOf(data: Json, isImage: boolean): string | Uint8Array<ArrayBuffer> {
  if (typeof data !== "string") return JSON.stringify(data, null, 2);
  if (!isImage) return data;
  try {
    return Uint8Array.from(atob(data.replace(/\s/g, "")), (char) => char.charCodeAt(0));
  } catch {
    return data;
  }
}
