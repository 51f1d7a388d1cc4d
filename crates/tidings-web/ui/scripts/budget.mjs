// Holds what is built to its size, as it goes over the wire when compressed.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

/** KiB after gzip. */
const budgets = {
  "dist/tidings.js": 8,
  "dist/assets/dashboard.js": 90,
  "dist/assets/dashboard.css": 5,
  "dist/index.html": 1,
};

let failed = false;
for (const [file, budget] of Object.entries(budgets)) {
  const size = gzipSync(readFileSync(new URL(`../${file}`, import.meta.url))).length / 1024;
  const over = size > budget;
  failed ||= over;
  console.log(`${file}: ${size.toFixed(2)} KiB of ${budget} KiB${over ? ": TOO LARGE" : ""}`);
}
if (failed) process.exit(1);
