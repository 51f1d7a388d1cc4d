/** The place of a hunk, with the numbers of its lines before and after the change. */
const HUNK = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/;

export type Tone = "place" | "file" | "added" | "removed" | undefined;

/**
 * Returns the tones of the lines of a diff. A hunk says how many lines it has, so a removed line
 * `-- text` is not taken for the name of a file.
 */
export function diffTones(lines: readonly string[]): Tone[] {
  let before = 0;
  let after = 0;
  return lines.map((line) => {
    const inside = before > 0 || after > 0;
    const sign = line[0];
    if (inside && sign !== "\\") {
      if (sign !== "+") before--;
      if (sign !== "-") after--;
    }
    if (!inside) {
      const hunk = HUNK.exec(line);
      if (hunk) [before, after] = [Number(hunk[1] ?? 1), Number(hunk[2] ?? 1)];
      if (line.startsWith("@@")) return "place";
      if (/^(\+\+\+|---) /.test(line)) return "file";
    }
    return sign === "+" ? "added" : sign === "-" ? "removed" : undefined;
  });
}
