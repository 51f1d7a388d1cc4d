// @vitest-environment jsdom
/** How artifacts are shown. */

import { expect, test } from "vitest";
import { webAddress } from "../src/panel/address.js";
import { contentOf } from "../src/panel/artifacts/bytes.js";
import { diffTones } from "../src/panel/artifacts/diff.js";
import { kindOf } from "../src/panel/artifacts/kind.js";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

test.each([
  [{ media_type: "image/png", data: PIXEL }, null, { as: "image", src: `data:image/png;base64,${PIXEL}` }],
  [{ media_type: "IMAGE/PNG; q=1", data: `${PIXEL.slice(0, 20)}\n${PIXEL.slice(20)}` }, null, { as: "image", src: `data:image/png;base64,${PIXEL}` }],
  [{ media_type: "image/webp", data: null }, "/files/a.webp", { as: "image", src: "http://localhost:3000/files/a.webp" }],
  // Another server would learn who looks at the image.
  [{ media_type: "image/png", data: null }, "https://elsewhere.example/a.png", { as: "none" }],
  // An SVG can hold a script.
  [{ media_type: "image/svg+xml", data: null }, "/files/a.svg", { as: "none" }],
  [{ media_type: "image/svg+xml", data: "<svg onload=alert(1)>" }, null, { as: "text" }],
  [{ media_type: "image/png", data: '"><script>' }, null, { as: "text" }],
  [{ media_type: "text/x-diff", data: "-a\n+b" }, null, { as: "diff" }],
  [{ media_type: null, data: "--- a\n+++ b\n@@ -1 +1,2 @@\n-a\n+b" }, null, { as: "diff" }],
  [{ media_type: "text/x-diff", data: { not: "a text" } }, null, { as: "text" }],
  [{ media_type: "application/json", data: { a: 1 } }, null, { as: "text" }],
  [{ media_type: null, data: 0 }, null, { as: "text" }],
  [{ media_type: "text/plain", data: "" }, null, { as: "none" }],
])("%j at %s", (artifact, url, kind) => {
  expect(kindOf(artifact, webAddress(url))).toEqual(kind);
});

test("an image is saved as its bytes, and anything else as its text", () => {
  const bytes = contentOf(`${PIXEL.slice(0, 20)}\n${PIXEL.slice(20)}`, true) as Uint8Array;
  expect([...bytes.slice(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  expect(bytes).toHaveLength(70);
  expect(contentOf(PIXEL, false)).toBe(PIXEL);
  expect(contentOf("A", true)).toBe("A");
  expect(contentOf({ a: 1 }, false)).toBe('{\n  "a": 1\n}');
});

test.each([
  ["removed and added lines that look like names of files", "--- a\n+++ b\n@@ -1,2 +1,2 @@\n--- drop the old comment\n+++ plus\n same\n--- c\n+++ d\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file", "file file place removed added - file file place removed -"],
  ["lines without a place", "-a\n+b", "removed added"],
  ["an empty line in a hunk", "@@ -1,3 +1,2 @@\n a\n\n--- b", "place - - removed"],
])("the tones of a diff: %s", (_, text, tones) => {
  expect(diffTones(text.split("\n")).map((tone) => tone ?? "-").join(" ")).toBe(tones);
});
