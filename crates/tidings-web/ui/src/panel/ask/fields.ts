import type { Json, PendingInput } from "../../generated/protocol.js";

/** A part of a form, made from a JSON Schema. Everything that has no kind of its own is `json`: text that the server checks. */
export type Field =
  | { readonly kind: "choices"; readonly choices: readonly Choice[] }
  | { readonly kind: "boolean" }
  | { readonly kind: "text"; readonly long: boolean; readonly format: string | null }
  | { readonly kind: "number"; readonly whole: boolean; readonly min: number | null; readonly max: number | null }
  | { readonly kind: "object"; readonly fields: readonly NamedField[] }
  | { readonly kind: "json" };

export interface Choice {
  readonly value: Json;
  /** A text for people, if the schema has one. */
  readonly title: string | null;
}

/** A property of an object. */
export interface NamedField {
  readonly name: string;
  readonly title: string;
  readonly description: string | null;
  readonly required: boolean;
  /** The first content of the field, in the form that {@link valueOf} reads. */
  readonly initial: string;
  readonly field: Field;
}

/** Texts of more characters than this get more than one line. */
const LINE = 200;

/** Keywords that combine schemas. A form cannot show what they mean. */
const COMBINING = ["$ref", "$dynamicRef", "allOf", "not", "if", "dependentSchemas", "patternProperties", "propertyNames", "minProperties", "unevaluatedProperties"];

type Schema = Record<string, any>;

const isSchema = (schema: unknown): schema is Schema => typeof schema === "object" && schema !== null && !Array.isArray(schema);
const text = (value: unknown) => (typeof value === "string" ? value : null);
const number = (value: unknown) => (typeof value === "number" ? value : null);

/** Returns the choices of a schema that lists its values, or null. */
function choicesOf({ enum: values, const: only, oneOf, anyOf }: Schema): Choice[] | null {
  if (Array.isArray(values) && values.length > 0) return values.map((value) => ({ value, title: null }));
  if (only !== undefined) return [{ value: only, title: null }];
  const options = oneOf ?? anyOf;
  if (!Array.isArray(options) || !options.every((option) => isSchema(option) && option.const !== undefined)) return null;
  return options.map(({ const: value, title }) => ({ value, title: text(title) }));
}

/** Returns the choices that can be answered: `null` alone is no answer, but may be a property of one. */
const answerable = (choices: readonly Choice[], nested: boolean) => (nested ? choices : choices.filter(({ value }) => value !== null));

function fieldOf(schema: unknown, nested: boolean): Field {
  if (!isSchema(schema) || COMBINING.some((word) => word in schema)) return { kind: "json" };
  const choices = choicesOf(schema);
  if (choices) return { kind: "choices", choices: answerable(choices, nested) };
  if ("oneOf" in schema || "anyOf" in schema) return { kind: "json" };
  switch (schema.type) {
    case "boolean":
      return { kind: "boolean" };
    case "string": {
      const format = text(schema.format);
      return { kind: "text", long: !format && !schema.pattern && (number(schema.maxLength) ?? Infinity) > LINE, format };
    }
    case "integer":
    case "number":
      return { kind: "number", whole: schema.type === "integer", min: number(schema.minimum), max: number(schema.maximum) };
    case "object": {
      const { properties, required } = schema;
      if (nested || !isSchema(properties) || Object.keys(properties).length === 0) return { kind: "json" };
      const needed = new Set(Array.isArray(required) ? required : []);
      return { kind: "object", fields: Object.entries(properties).map(([name, property]) => named(name, property, needed.has(name))) };
    }
    default:
      return { kind: "json" };
  }
}

function named(name: string, schema: unknown, required: boolean): NamedField {
  const { title, description, default: known } = isSchema(schema) ? schema : {};
  const field = fieldOf(schema, true);
  return { name, title: text(title) ?? name, description: text(description), required, initial: initialOf(field, known), field };
}

/** Returns how a value stands in a field. */
function initialOf(field: Field, value: Json | undefined): string {
  if (value === undefined) return "";
  switch (field.kind) {
    case "choices": {
      const at = field.choices.findIndex((choice) => JSON.stringify(choice.value) === JSON.stringify(value));
      return at < 0 ? "" : String(at);
    }
    case "text":
      return typeof value === "string" ? value : "";
    case "boolean":
    case "number":
      return String(value);
    default:
      return JSON.stringify(value, null, 2);
  }
}

/** Returns the form of a question: its choices, what its schema describes, or a line of text if it has neither. */
export function formOf({ choices, schema }: Pick<PendingInput, "choices" | "schema">): Field {
  if (choices?.length) return { kind: "choices", choices: answerable(choices.map((value) => ({ value, title: null })), false) };
  if (schema === null || schema === undefined || schema === true) return { kind: "text", long: true, format: null };
  return fieldOf(schema, false);
}

/** The text in the field is no value of the field's kind. */
export class Unreadable extends Error {
  constructor(
    readonly why: "missing" | "number" | "whole" | "digits" | "json",
    /** The name of the property, if the form is that of an object. */
    readonly field: string | null,
  ) {
    super(why);
  }
}

/** A number as people write it: no other base, and no `Infinity`. */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;

/** Returns the digits of a decimal number and their place, however it is written. */
function digitsOf(number: string): string {
  const [mantissa = "", exponent = "0"] = number.toLowerCase().replace(/^[+-]/, "").split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  return kept && `${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}

/** Returns whether a number has the same digits after it was read. */
const isKept = (number: string) => digitsOf(number) === digitsOf(String(Number(number)));

/** Reads what was written into a field. Returns undefined if nothing was. */
function read(field: Field, written: string, name: string | null): Json | undefined {
  if (field.kind === "boolean") return written === "true" ? true : written === "false" ? false : undefined;
  if (written.trim() === "") return undefined;
  switch (field.kind) {
    case "choices":
      return field.choices[Number(written)]?.value;
    case "number": {
      const number = written.trim();
      const value = Number(number);
      if (field.whole && !(/^[+-]?\d+$/.test(number) && Number.isSafeInteger(value))) throw new Unreadable("whole", name);
      if (!DECIMAL.test(number) || !Number.isFinite(value)) throw new Unreadable("number", name);
      if (!isKept(number)) throw new Unreadable("digits", name);
      return value;
    }
    case "json": {
      let value;
      try {
        value = JSON.parse(written) as Json;
      } catch {
        throw new Unreadable("json", name);
      }
      const numbers = written.replace(/"(?:[^"\\]|\\.)*"/g, '""').match(/-?\d[\d.eE+-]*/g) ?? [];
      if (!numbers.every(isKept)) throw new Unreadable("digits", name);
      return value;
    }
    default:
      return written;
  }
}

/**
 * Returns the answer that was written into a form, by the names of its fields. A form of one field
 * has the name "". Whether the answer fits the schema is for the server to say.
 *
 * Throws {@link Unreadable} if it cannot be read.
 */
export function valueOf(form: Field, written: Readonly<Record<string, string>>): Json {
  if (form.kind !== "object") {
    const value = read(form, written[""] ?? "", null);
    if (value === undefined || value === null) throw new Unreadable("missing", null);
    return value;
  }
  const values = form.fields.flatMap(({ name, required, field }): [string, Json][] => {
    const value = read(field, written[name] ?? "", name);
    if (value === undefined && required) throw new Unreadable("missing", name);
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(values);
}

/** Returns what is in the fields of a form at first. */
export function initialValues(form: Field, schema: Json): Record<string, string> {
  if (form.kind === "object") return Object.fromEntries(form.fields.map(({ name, initial }) => [name, initial]));
  return { "": isSchema(schema) ? initialOf(form, schema.default) : "" };
}

/**
 * Reads the server's reason for refusing an answer, as in `… at /count: 9 is greater than 5`. Returns
 * the property that it is about, or null, and the reason itself.
 */
export function refusal(message: string): { field: string | null; reason: string } {
  const reason = message.replace(/^the value does not answer `[^`]*`: /, "");
  const at = /^at \/((?:[^/:~]|~[01])+)(?:\/[^:]*)?: (.*)$/s.exec(reason);
  if (!at) return { field: null, reason };
  return { field: at[1]!.replaceAll("~1", "/").replaceAll("~0", "~"), reason: at[2]! };
}
