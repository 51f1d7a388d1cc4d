/** The vectors of docs/conformance, which are for every language. */

import { readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { afterClose } from "../src/close.js";
import type { OutputState, Reconnect, TaskSnapshot } from "../src/generated/protocol.js";
import { reduce } from "../src/reduce.js";
import type { TidingsEvent } from "../src/types.js";

function vectors<T>(name: string): T[] {
  const file = new URL(`../../../../docs/conformance/${name}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { vectors: T[] }).vectors;
}

let ran = 0;
afterAll(() => console.log(`${ran} conformance vectors`));

/** Returns an output from the place from which the server keeps it. */
function from(output: OutputState, start: number): string {
  const bytes = new TextEncoder().encode(output.text).subarray(start - output.start);
  return new TextDecoder().decode(bytes);
}

function same(state: TaskSnapshot, expected: TaskSnapshot): void {
  // An unknown total is left out by the server, and undefined here.
  const plain = JSON.parse(JSON.stringify(state)) as TaskSnapshot;
  expect({ ...plain, outputs: [] }).toEqual({ ...expected, outputs: [] });
  expect(plain.outputs.map(({ output_id, length, complete }) => ({ output_id, length, complete }))).toEqual(
    expected.outputs.map(({ output_id, length, complete }) => ({ output_id, length, complete })),
  );
  plain.outputs.forEach((output, at) => expect(from(output, expected.outputs[at]!.start)).toBe(expected.outputs[at]!.text));
}

type Reduce = { name: string; start: TaskSnapshot; events: TidingsEvent[]; snapshot: TaskSnapshot };

describe("events are reduced to a snapshot", () => {
  test.each(vectors<Reduce>("reduce"))("$name", ({ start, events, snapshot }) => {
    same(events.reduce(reduce, start), snapshot);
    ran++;
  });
});

type Message = TidingsEvent | { event_type: string; data: { snapshot?: TaskSnapshot } };

describe("messages are folded into a state", () => {
  test.each(vectors<{ name: string; messages: Message[]; state: TaskSnapshot }>("fold"))("$name", ({ messages, state }) => {
    let folded: TaskSnapshot | undefined;
    for (const message of messages) {
      if (!("offset" in message)) folded = (message.data as { snapshot?: TaskSnapshot }).snapshot ?? folded;
      else if (folded && message.offset > folded.offset) folded = reduce(folded, message);
    }
    same(folded!, state);
    ran++;
  });
});

type Close = { name: string; going_away: { reconnect: Reconnect } | null; code: number; then: Reconnect };

describe("a close is followed by what the table says", () => {
  test.each(vectors<Close>("close"))("$name", ({ going_away, code, then }) => {
    expect(going_away?.reconnect ?? afterClose(code)).toBe(then);
    ran++;
  });
});
