/** Forms made from JSON Schemas, and the answers that are read from them. */

import { describe, expect, test } from "vitest";
import { choiceText } from "../src/panel/ask/Control.js";
import { formOf, initialValues, refusal, Unreadable, valueOf } from "../src/panel/ask/fields.js";
import { ENGLISH } from "../src/panel/labels.js";

const form = (schema: any, choices?: any[]) => formOf({ schema, choices: choices ?? null });

test.each([
  [null, { kind: "text", long: true }],
  [{ type: "string", maxLength: 20 }, { kind: "text", long: false }],
  [{ type: "string", format: "date" }, { kind: "text", format: "date", long: false }],
  [{ type: "integer", minimum: 1, maximum: 9 }, { kind: "number", whole: true, min: 1, max: 9 }],
  [{ type: "number" }, { kind: "number", whole: false, min: null }],
  [{ type: "boolean" }, { kind: "boolean" }],
  [{ enum: ["a", 2] }, { kind: "choices", choices: [{ value: "a", title: null }, { value: 2, title: null }] }],
  [{ oneOf: [{ const: 1, title: "One" }, { const: 2 }] }, { kind: "choices", choices: [{ value: 1, title: "One" }, { value: 2, title: null }] }],
  [{ type: "array", items: { type: "string" } }, { kind: "json" }],
  [{ type: ["string", "null"] }, { kind: "json" }],
  [{ allOf: [{ type: "string" }] }, { kind: "json" }],
  [{ oneOf: [{ type: "string" }, { type: "number" }] }, { kind: "json" }],
  [{ type: "object" }, { kind: "json" }],
  [true, { kind: "text" }],
  [false, { kind: "json" }],
  ["nonsense", { kind: "json" }],
])("%j is a form of its kind", (schema, expected) => {
  expect(form(schema)).toMatchObject(expected);
});

test("choices of the question come before its schema", () => {
  expect(form({ type: "string" }, ["yes", "no"])).toMatchObject({ kind: "choices", choices: [{ value: "yes" }, { value: "no" }] });
});

const ORDER = {
  type: "object",
  required: ["count", "size"],
  properties: {
    count: { type: "integer", title: "How many", description: "At most five.", default: 2 },
    size: { enum: ["small", "large"], default: "large" },
    gift: { type: "boolean" },
    note: { type: "string" },
    extra: { type: "object", properties: { deep: { type: "string" } } },
  },
};

describe("an object", () => {
  const order = form(ORDER);

  test("has a field for each property, with what is known of it", () => {
    expect(order).toMatchObject({
      kind: "object",
      fields: [
        { name: "count", title: "How many", description: "At most five.", required: true, initial: "2" },
        { name: "size", title: "size", required: true, initial: "1" },
        { name: "gift", required: false, field: { kind: "boolean" } },
        { name: "note", field: { kind: "text" } },
        { name: "extra", field: { kind: "json" } },
      ],
    });
    expect(initialValues(order, ORDER)).toEqual({ count: "2", size: "1", gift: "", note: "", extra: "" });
  });

  test("has the values that were written, and leaves out what was not", () => {
    expect(valueOf(order, { count: "3", size: "0", gift: "true", extra: '{"deep":"x"}' })).toEqual({ count: 3, size: "small", gift: true, extra: { deep: "x" } });
    expect(valueOf(order, { count: "3", size: "0", note: " " })).toEqual({ count: 3, size: "small" });
  });

  test.each([
    [{ size: "0" }, "count", "missing"],
    [{ count: "many", size: "0" }, "count", "whole"],
    [{ count: "1", size: "0", extra: "{" }, "extra", "json"],
  ])("%j cannot be read", (written: Record<string, string>, field, why) => {
    expect(() => valueOf(order, written)).toThrow(expect.objectContaining({ field, why }));
  });
});

test.each([
  ["integer", "9007199254740991", 9007199254740991],
  ["integer", " -12 ", -12],
  ["number", "1.50", 1.5],
  ["number", "-.5e3", -500],
  ["number", "0.1", 0.1],
  ["number", "0.00", 0],
])("a field for %s reads %j", (type, written, value) => {
  expect(valueOf(form({ type }), { "": written })).toBe(value);
});

test.each([
  ["integer", "9007199254740993", "whole"],
  ["integer", "1.5", "whole"],
  ["integer", "0x10", "whole"],
  ["number", "0x10", "number"],
  ["number", "Infinity", "number"],
  ["number", "1e999", "number"],
  ["number", "9007199254740993", "digits"],
  ["number", "0.12345678901234567890", "digits"],
  ["array", '["1e400 \\" 9007199254740993", 9007199254740993]', "digits"],
])("a field for %s refuses %j and does not change it", (type, written, why) => {
  expect(() => valueOf(form({ type }), { "": written })).toThrow(expect.objectContaining({ why }));
});

test("JSON keeps its numbers, and texts that look like some", () => {
  const written = '[1.0, -2.50e1, 0, "9007199254740993", "a\\"9007199254740993"]';
  expect(valueOf(form({ type: "array" }), { "": written })).toEqual([1, -25, 0, "9007199254740993", 'a"9007199254740993']);
});

test("null is no choice of an answer, but of a property", () => {
  expect(form({ enum: [null, "a"] })).toMatchObject({ choices: [{ value: "a" }] });
  expect(form({ oneOf: [{ const: null }, { const: "a" }] })).toMatchObject({ choices: [{ value: "a" }] });
  expect(form(null, [null, "a"])).toMatchObject({ choices: [{ value: "a" }] });
  const nested = form({ type: "object", properties: { x: { enum: [null, "a"] } } });
  expect(valueOf(nested, { x: "0" })).toEqual({ x: null });
});

test.each([
  ["", '""'],
  [" ", '" "'],
  ["\u202egnp.exe", "gnp.exe"],
  [{ deep: 1 }, '{"deep":1}'],
])("the choice %j can be read", (value, shown) => {
  expect(choiceText({ value, title: null }, ENGLISH)).toBe(shown);
  expect(choiceText({ value, title: "" }, ENGLISH)).toBe(shown);
});

test("a single field is read by its kind; nothing is no answer", () => {
  expect(valueOf(form({ type: "number" }), { "": "1.5" })).toBe(1.5);
  expect(valueOf(form({ type: "boolean" }), { "": "false" })).toBe(false);
  expect(valueOf(form({ type: "array" }), { "": "[1, 2]" })).toEqual([1, 2]);
  expect(valueOf(form(null), { "": "as it is " })).toBe("as it is ");
  expect(initialValues(form({ type: "string", default: "x" }), { type: "string", default: "x" })).toEqual({ "": "x" });
  for (const written of ["", "  ", "null"]) expect(() => valueOf(form({ type: "array" }), { "": written })).toThrow(Unreadable);
});

test.each([
  ["the value does not answer `n`: at /count: 9 is greater than 5", "count", "9 is greater than 5"],
  ["the value does not answer `n`: at /a~1b/0: no", "a/b", "no"],
  ['the value does not answer `n`: "x" is a required property', null, '"x" is a required property'],
  ["the question `n` was answered by ada", null, "the question `n` was answered by ada"],
])("the server's reason %j", (message, field, reason) => {
  expect(refusal(message)).toEqual({ field, reason });
});
