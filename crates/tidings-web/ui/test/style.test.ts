/** All styles of the panel are below `.tidings`, so that an application's page keeps its own style. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Returns the preludes of the outermost rules of a style sheet, including those in at-rules. */
function preludes(css: string): string[] {
  const found: string[] = [];
  const text = css.replace(/\/\*[\s\S]*?\*\//g, "");
  let depth = 0;
  /** The depth at which rules are still outermost, because at-rules such as `@media` only group them. */
  let outermost = 0;
  let from = 0;
  const groups: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === ";" && depth === outermost) from = at + 1;
    if (text[at] === "{") {
      const prelude = text.slice(from, at).trim();
      if (depth === outermost) {
        found.push(prelude);
        if (/^@(media|container|supports|layer)/.test(prelude)) {
          groups.push(depth);
          outermost++;
        }
      }
      depth++;
      from = at + 1;
    } else if (text[at] === "}") {
      depth--;
      if (groups.at(-1) === depth) {
        groups.pop();
        outermost--;
      }
      from = at + 1;
    }
  }
  return found;
}

/** Splits a list of selectors at its commas, but not at commas in parentheses. */
const selectors = (prelude: string) => prelude.split(/,(?![^(]*\))/).map((selector) => selector.trim());

const FILES = ["panel.css", "theme.css", "output/output.css", "ask.css", "tree/tree.css", "log/log.css"];

test.each(FILES)("%s: every selector begins with .tidings", (file) => {
  const all = preludes(readFileSync(new URL(`../src/panel/${file}`, import.meta.url), "utf8"));
  expect(all.length).toBeGreaterThan(0);
  const rules = all.filter((prelude) => !prelude.startsWith("@"));
  expect(rules.flatMap(selectors).filter((selector) => !/^\.tidings\b/.test(selector))).toEqual([]);
  const others = all.filter((prelude) => prelude.startsWith("@"));
  expect(others.filter((rule) => !/^@(media|container|keyframes td-)/.test(rule))).toEqual([]);
});

test("the check sees what is global", () => {
  expect(preludes(":root { a: b } @media x { [data-theme] { c: d } .tidings { .e { f: g } } } @keyframes y { from { h: i } }")).toEqual([":root", "@media x", "[data-theme]", ".tidings", "@keyframes y"]);
});
