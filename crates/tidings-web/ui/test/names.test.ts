/** Exported names do not shadow a global of the language, of Node.js or of a page. */

import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

/** Returns the names that the compiler's own libraries declare. */
function globals(): Set<string> {
  // TypeScript's libraries are next to its compiler, whose place depends on the machine.
  const require = createRequire(import.meta.url);
  const name = `@typescript/typescript-${process.platform}-${process.arch}`;
  const folder = join(dirname(createRequire(require.resolve("typescript/package.json")).resolve(`${name}/package.json`)), "lib");
  const found = new Set<string>();
  for (const file of readdirSync(folder).filter((name) => /^lib\.(dom|es\d+|esnext)[\w.]*\.d\.ts$/.test(name))) {
    for (const [, declared] of readFileSync(join(folder, file), "utf8").matchAll(/^(?:declare )?(?:interface|type|var|class|function) (\w+)/gm)) found.add(declared!);
  }
  return found;
}

test("no exported name shadows a global, and none is a number of another", () => {
  const known = globals();
  expect(known.size).toBeGreaterThan(1_000);
  const text = ["generated/protocol.ts", "types.ts", "options.ts", "status.ts", "error.ts", "cursor.ts", "websocket.ts"].map((file) => readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8")).join("\n");
  const names = [...text.matchAll(/^export (?:declare )?(?:interface|type|class|function|const) (\w+)/gm)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(50);
  expect(names.filter((name) => known.has(name) || /\d$/.test(name))).toEqual([]);
});
