// Writes ../src/assets.rs: what of dist/ is embedded, where it is served, and
// what names its content.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const dist = new URL("../dist/", import.meta.url);
const target = new URL("../../src/assets.rs", import.meta.url);

const types = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`.slice(dist.pathname.length).replace(/^\/+/, ""))
  .sort();

const entries = files.map((file) => {
  const type = types[file.split(".").pop()];
  if (!type) throw new Error(`${file}: there is no media type for it in scripts/embed.mjs`);
  const digest = createHash("sha256").update(readFileSync(new URL(file, dist))).digest("base64url").slice(0, 22);
  return `    Asset {
        path: "/${file}",
        content_type: "${type}",
        etag: "\\"${digest}\\"",
        body: include_bytes!("../ui/dist/${file}"),
    },
`;
});

writeFileSync(
  target,
  `//! Made by \`npm run build\` in \`ui/\`: do not edit.

use crate::asset::Asset;

/// What is embedded.
pub(crate) static ASSETS: &[Asset] = &[
${entries.join("")}];
`,
);
