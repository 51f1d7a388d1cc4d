// Writes src/generated/protocol.ts from the JSON Schemas in docs/schema, which are generated from
// the Rust types. With --check it writes nothing, and fails if the file would change.

import { readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const schemas = new URL("../../../../docs/schema/", import.meta.url);
const target = new URL("../src/generated/protocol.ts", import.meta.url);

const read = (name) => JSON.parse(readFileSync(new URL(name, schemas), "utf8"));

/** Uses a title as the name of its type, or as the description if it is a sentence. */
function named(name, schema) {
  const { title, ...rest } = schema;
  const description = rest.description ?? (title && title !== name ? title : undefined);
  return description ? { ...rest, description } : rest;
}

/** Definitions that would shadow a global of the language or of a web page. */
const renamed = { Error: "RequestError", Event: "EventRecord", Data: "Fields", Reference: "Ref" };

/** Returns the schema with renamed references, and with types where JSON Schema is vague. */
function mapped(schema) {
  if (Array.isArray(schema)) return schema.map(mapped);
  if (schema === null || typeof schema !== "object") return schema;
  const entries = Object.entries(schema).map(([key, value]) => {
    if (key !== "$ref") return [key, mapped(value)];
    const name = value.split("/").at(-1);
    return [key, `#/$defs/${renamed[name] ?? name}`];
  });
  const { $ref, ...beside } = Object.fromEntries(entries);
  if (!$ref) return beside;
  // If a description stood next to a reference, the generator would copy the whole definition.
  return Object.keys(beside).length > 0 ? { ...beside, allOf: [{ $ref }] } : { $ref };
}

/** Returns one schema with the definitions of all schemas. */
function merged() {
  const $defs = {};
  for (const file of ["server-message", "client-message", "task-snapshot", "event-data", "new-event"]) {
    const { $defs: own, $schema, ...root } = read(`${file}.json`);
    for (const [name, schema] of Object.entries({ ...own, [root.title]: root })) {
      $defs[renamed[name] ?? name] = named(name, mapped(schema));
    }
  }
  // A choice of required fields has no meaning in TypeScript, and would make the type open.
  delete $defs.ProgressUpdate.anyOf;
  // Objects of the application, and any other JSON.
  $defs.Fields = { tsType: "Record<string, unknown>" };
  $defs.Json = { ...$defs.Json, tsType: "unknown" };
  $defs.Ref = { ...$defs.Ref, tsType: "unknown" };
  return { title: "Protocol", $defs, type: "object", additionalProperties: false };
}

const banner = `/* Made from docs/schema by \`npm run types\`: do not edit. */`;

const text = await compile(merged(), "Protocol", {
  additionalProperties: false,
  bannerComment: banner,
  unreachableDefinitions: true,
  strictIndexSignatures: true,
  unknownAny: true,
  enableConstEnums: false,
});
// Remove the empty root, and the generator's remarks about references.
const clean = text
  .replace(/export interface Protocol \{\}\n/, "")
  .replace(/\n \* This interface was referenced by [\s\S]*?\n \* via the `definition` "[^"]+"\.(?=\n)/g, "")
  .replace(/\/\*\*\n \*\/\n/g, "")
  .replace(/ \*\n \*\//g, " */");

const codes = read("close-codes.json").codes.filter(({ reconnect }) => reconnect !== "backoff").map(({ code, reconnect }) => `  ${code}: "${reconnect}",\n`).join("");
const closeCodes = `${banner}

import type { Reconnect } from "./protocol.js";

/** The action after a close code. After any code that is not listed, clients reconnect with backoff. */
export const AFTER_CLOSE: Readonly<Record<number, Reconnect>> = {
${codes}};
`;

const outputs = [
  [target, clean],
  [new URL("../src/generated/close-codes.ts", import.meta.url), closeCodes],
];
for (const [file, text] of outputs) {
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error(`${file.pathname} is stale: run \`npm run types\``);
    process.exit(1);
  }
}
if (process.argv.includes("--check")) console.log("types are fresh");
