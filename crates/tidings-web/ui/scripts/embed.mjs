// Compresses the files in dist/, and writes ../src/assets.rs: the embedded files, their paths, and
// their entity tags. With --check it writes nothing, and fails if a compressed file does not match
// its original. With --into DIRECTORY it works on DIRECTORY/dist and writes DIRECTORY/assets.rs: so
// a check can build everything without taking dist/ away from a compiler that reads it.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from "node:zlib";

const { values: options } = parseArgs({
  options: { check: { type: "boolean" }, into: { type: "string" } },
});
const elsewhere = options.into && pathToFileURL(`${options.into}/`);
const dist = new URL("dist/", elsewhere ?? new URL("../", import.meta.url));
const target = new URL("assets.rs", elsewhere ?? new URL("../../src/", import.meta.url));

const types = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

/** The preferred encoding first. A browser that supports several gets the first. */
const encodings = [
  {
    name: "br",
    compress: (bytes) =>
      brotliCompressSync(bytes, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
      }),
    decompress: brotliDecompressSync,
  },
  { name: "gzip", compress: (bytes) => gzipSync(bytes, { level: 9 }), decompress: gunzipSync },
];

/** The pages beside index.html: the same page for paths of another depth. */
const pages = { "task.html": "../", "elsewhere.html": "/" };

const read = (file) => readFileSync(new URL(file, dist));

if (!options.check) {
  const page = read("index.html").toString();
  for (const [name, root] of Object.entries(pages)) {
    writeFileSync(new URL(name, dist), page.replaceAll('="./', `="${root}`));
  }
}

const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`.slice(dist.pathname.length).replace(/^\/+/, ""))
  .filter((file) => !/\.(br|gzip)$/.test(file))
  .sort();

if (options.check) {
  for (const file of files) {
    for (const { name, decompress } of encodings) {
      if (!decompress(read(`${file}.${name}`)).equals(read(file))) {
        console.error(`dist/${file}.${name} is not dist/${file}: run \`npm run build\``);
        process.exit(1);
      }
    }
  }
  console.log("what is compressed is what was built");
  process.exit(0);
}

function representation(file, digest, encoding) {
  const tag = encoding ? `${digest}-${encoding}` : digest;
  return `            Representation {
                encoding: ${encoding ? `Some("${encoding}")` : "None"},
                etag: "\\"${tag}\\"",
                body: include_bytes!("../ui/dist/${encoding ? `${file}.${encoding}` : file}"),
            },
`;
}

const entries = files.map((file) => {
  const type = types[file.split(".").pop()];
  if (!type) throw new Error(`${file}: there is no media type for it in scripts/embed.mjs`);
  const bytes = read(file);
  const digest = createHash("sha256").update(bytes).digest("base64url").slice(0, 22);
  for (const { name, compress } of encodings) writeFileSync(new URL(`${file}.${name}`, dist), compress(bytes));
  return `    Asset {
        path: "/${file}",
        content_type: "${type}",
        is_immutable: ${/^assets\/.+-[\w-]{8}\.\w+$/.test(file)},
        representations: &[
${encodings.map(({ name }) => representation(file, digest, name)).join("")}${representation(file, digest, null)}        ],
    },
`;
});

writeFileSync(
  target,
  `//! Made by \`npm run build\` in \`ui/\`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
${entries.join("")}];
`,
);
