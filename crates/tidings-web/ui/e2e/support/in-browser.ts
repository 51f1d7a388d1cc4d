/**
 * As much of Vitest as the conformance tests use, for running them in a page: tests that are run
 * one after the other, comparisons, and a clock that the tests move.
 */

type Run = () => unknown;

const tests: { name: string; run: Run }[] = [];
let groups: { names: string[]; before: Run[]; after: Run[] } = { names: [], before: [], after: [] };

export function describe(name: string, declare: () => void): void {
  const outer = groups;
  groups = { names: [...outer.names, name], before: [...outer.before], after: [...outer.after] };
  declare();
  groups = outer;
}

export function test(name: string, run: Run): void {
  // Hooks of the group may be declared later, but always before the group ends.
  const group = groups;
  tests.push({
    name: [...group.names, name].join(": "),
    run: async () => {
      for (const before of group.before) await before();
      try {
        await run();
      } finally {
        for (const after of group.after) await after();
      }
    },
  });
}

test.each =
  <T extends { name: string }>(list: T[]) =>
  (_: string, run: (each: T) => unknown) =>
    list.forEach((each) => test(each.name, () => run(each)));

export const beforeEach = (run: Run) => void groups.before.push(run);
export const afterEach = (run: Run) => void groups.after.push(run);
/** Only reports the number of vectors, which `runAll` does here. */
export const afterAll = (_: Run) => {};

/** Compares as Vitest's `toEqual` does: a field that is undefined counts as absent. */
function equal(a: any, b: any): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b || Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a) && a.length !== b.length) return false;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((key) => equal(a[key], b[key]));
}

export function expect(got: any, about = "") {
  const check = (holds: boolean, relation: string, wanted: unknown) => {
    if (!holds) throw new Error(`${about} ${JSON.stringify(got)} ${relation} ${JSON.stringify(wanted)}`);
  };
  return {
    toBe: (wanted: unknown) => check(Object.is(got, wanted), "is not", wanted),
    toEqual: (wanted: unknown) => check(equal(got, wanted), "does not equal", wanted),
    toHaveLength: (wanted: number) => check(got.length === wanted, "has another length than", wanted),
    toBeGreaterThanOrEqual: (wanted: number) => check(got >= wanted, "is less than", wanted),
  };
}

const real = { setTimeout, clearTimeout, now: performance.now.bind(performance), date: Date };
let now = 0;
let last = 0;
const timers = new Map<number, { at: number; run: Run }>();

/** Lets promises settle. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await null;
}

export const vi = {
  useFakeTimers(): void {
    now = real.date.now();
    timers.clear();
    const page = globalThis as any;
    page.setTimeout = (run: Run, ms = 0) => {
      timers.set(++last, { at: now + ms, run });
      return last;
    };
    page.clearTimeout = (id: number) => timers.delete(id);
    page.performance.now = () => now;
    page.Date = class extends real.date {
      constructor(...parts: unknown[]) {
        super(...((parts.length > 0 ? parts : [now]) as [number]));
      }
      static override now = () => now;
    };
  },
  useRealTimers(): void {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout, Date: real.date });
    performance.now = real.now;
  },
  async advanceTimersByTimeAsync(ms: number): Promise<void> {
    const end = now + ms;
    await settled();
    for (;;) {
      const due = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, { at, run }] = due;
      timers.delete(id);
      now = Math.max(now, at);
      run();
      await settled();
    }
    now = end;
  },
};

/** Reads a file of the vectors, which are served next to the page. In place of Node's. */
export function readFileSync(file: URL): string {
  const request = new XMLHttpRequest();
  request.open("GET", `/vectors/${file.pathname.split("/").at(-1)}`, false);
  request.send();
  return request.responseText;
}

/** Runs all tests. Returns the number of tests, and what failed. */
async function runAll(): Promise<{ ran: number; failed: string[] }> {
  const failed: string[] = [];
  for (const { name, run } of tests) {
    try {
      await run();
    } catch (error) {
      failed.push(`${name}: ${String(error)}`);
    }
  }
  return { ran: tests.length, failed };
}

Object.assign(globalThis, { runAll });
