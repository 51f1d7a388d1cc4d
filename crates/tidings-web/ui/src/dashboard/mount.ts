/** Returns the path under which the server of a script is mounted: empty, or such as `/tidings`. */
export function mountOf(script: string): string {
  return /^(.*)\/assets\/[^/]+$/.exec(new URL(script).pathname)?.[1] ?? "";
}

/** The path under which the server of this page is mounted. Its scripts are in `assets` below it. */
export const MOUNT = mountOf(import.meta.url);
