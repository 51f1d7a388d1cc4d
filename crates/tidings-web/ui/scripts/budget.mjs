// Checks that the built files stay within their budgets, measured compressed as on the wire.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const root = new URL("../", import.meta.url);
const kib = (bytes) => gzipSync(bytes).length / 1024;

/** Returns the size of a file of dist/, whatever hash is in its name. */
function built(folder, pattern) {
  const name = readdirSync(new URL(`dist/${folder}`, root)).find((name) => pattern.test(name));
  return kib(readFileSync(new URL(`dist/${folder}${name}`, root)));
}

/** Returns the size of a part of the package after bundling it as an application does, without React. */
async function bundled(entry) {
  const made = await build({
    root: fileURLToPath(root),
    configFile: false,
    logLevel: "error",
    publicDir: false,
    build: {
      write: false,
      target: "es2023",
      lib: { entry, formats: ["es"], fileName: "entry" },
      rolldownOptions: { external: [/^react($|\/)/, /^react-dom($|\/)/], output: { minify: true } },
    },
  });
  const { output } = [made].flat()[0];
  const chunks = new Map(output.map((file) => [file.fileName, file]));
  // Dynamic imports, such as Markdown, are loaded only when they are needed, so they do not count.
  const loaded = new Set();
  const load = (name) => {
    const chunk = chunks.get(name);
    if (!chunk || loaded.has(chunk)) return;
    loaded.add(chunk);
    chunk.imports.forEach(load);
  };
  output.filter((file) => file.isEntry).forEach((file) => load(file.fileName));
  return kib([...loaded].map(({ code }) => code).join("\n"));
}

/** The measured parts, and their budgets in KiB after gzip. */
const budgets = [
  ["client", 8.5, () => built("", /^tidings\.js$/)],
  ["hook, client included", 11, () => bundled("src/react/useTask.ts")],
  ["panel, hook included", 20, () => bundled("src/panel/index.ts")],
  ["dashboard, React included", 110, () => built("assets/", /^dashboard.*\.js$/)],
  ["dashboard's style", 8, () => built("assets/", /^dashboard.*\.css$/)],
  ["page", 1, () => built("", /^index\.html$/)],
];

let failed = false;
for (const [name, budget, measure] of budgets) {
  const size = await measure();
  const over = size > budget;
  failed ||= over;
  console.log(`${name}: ${size.toFixed(2)} KiB of ${budget} KiB${over ? ": TOO LARGE" : ""}`);
}
if (failed) process.exit(1);
