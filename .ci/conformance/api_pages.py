"""Renders OpenAPI and AsyncAPI documents as pages of the book.

    python3 .ci/conformance/api_pages.py PORT docs/api           writes the pages
    python3 .ci/conformance/api_pages.py PORT docs/api --check   says which are stale

The documents are those of the server that listens on the port, so the pages are
of the types. They are Markdown: nothing is asked of anyone by whoever reads them.
"""

import json
import sys
import urllib.request
from pathlib import Path

NOTE = "<!-- Made by .ci/conformance/api_pages.py: run `bash .ci/book --write`. -->\n"


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def cell(text):
    return " ".join(str(text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def anchor(name):
    return name.lower().replace(" ", "-")


class Document:
    def __init__(self, document):
        self.document = document

    def find(self, node):
        """Returns the node, or the node that it refers to."""
        while "$ref" in node:
            at = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                at = at[part.replace("~1", "/").replace("~0", "~")]
            node = at
        return node

    def kind(self, schema):
        """Returns a schema in a few words, with links to named schemas."""
        if schema is True or not schema:
            return "anything"
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            return f"[{name}](#{anchor(name)})"
        if "const" in schema:
            return f"`{json.dumps(schema['const'])}`"
        if "enum" in schema:
            return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                kinds = [self.kind(part) for part in schema[word]]
                return (" and " if word == "allOf" else " or ").join(dict.fromkeys(kinds))
        kind = schema.get("type", "anything")
        if isinstance(kind, list):
            return " or ".join(kind)
        if kind == "array":
            return f"array of {self.kind(schema.get('items', True))}"
        bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in schema]
        if "maxLength" in schema:
            bounds.append(f"at most {schema['maxLength']} characters")
        return ", ".join([kind, *bounds])

    def fields(self, schema):
        rows = []
        required = schema.get("required", [])
        for name, field in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required):
            about = field.get("description", "") if isinstance(field, dict) else ""
            always = "yes" if name in required else ""
            rows.append(f"| `{name}` | {cell(self.kind(field))} | {always} | {cell(about)} |")
        return ["| field | type | always | what |", "|---|---|---|---|", *rows, ""] if rows else []

    def schema(self, schema):
        out = []
        if "description" in schema:
            out += [cell(schema["description"]), ""]
        variants = [part for word in ("oneOf", "anyOf") for part in schema.get(word, [])]
        for part in variants:
            whole = part.get("properties")
            if not whole:
                out += [f"* {cell(self.kind(part))}" + (f": {cell(part['description'])}" if part.get("description") else "")]
                continue
            title = part.get("title") or next((self.kind(field) for field in whole.values() if "const" in field), "one of")
            out += [f"**{title}** {cell(part.get('description'))}".rstrip(), "", *self.fields(part)]
        out += ["", *self.fields(schema)]
        if not variants and not schema.get("properties"):
            out += [f"Type: {cell(self.kind({key: value for key, value in schema.items() if key != 'description'}))}", ""]
        return out

    def schemas(self):
        out = ["## Types", ""]
        for name, schema in sorted(self.document["components"]["schemas"].items()):
            out += [f"### {name}", "", *self.schema(schema)]
        return out


def http(document):
    api = Document(document)
    out = ["# HTTP API", "", NOTE, document["info"]["description"], "", "The same for programs: `GET /api/openapi.json`.", ""]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "post", "delete", "put", "patch"):
                continue
            out += [f"## {method.upper()} {path}", "", f"{operation.get('summary', '')}.", ""]
            if operation.get("description"):
                out += [operation["description"], ""]
            given = [api.find(part) for part in [*methods.get("parameters", []), *operation.get("parameters", [])]]
            if given:
                out += ["| parameter | in | type | what |", "|---|---|---|---|"]
                out += [f"| `{part['name']}` | {part['in']} | {cell(api.kind(part['schema']))} | {cell(part.get('description'))} |" for part in given]
                out += [""]
            for media, body in api.find(operation.get("requestBody", {})).get("content", {}).items():
                out += [f"Body, as `{media}`: {api.kind(body.get('schema', True))}", ""]
            out += ["| status | what | body |", "|---|---|---|"]
            for status, response in operation["responses"].items():
                response = api.find(response)
                bodies = [f"`{media}`: {cell(api.kind(body.get('schema', True)))}" for media, body in response.get("content", {}).items()]
                out += [f"| {'others' if status == 'default' else status} | {cell(response.get('description'))} | {'; '.join(bodies)} |"]
            out += [""]
    return "\n".join(out + api.schemas())


def websocket(document):
    api = Document(document)
    out = ["# WebSocket API", "", NOTE, document["info"]["description"], "", "The same for programs: `GET /api/asyncapi.json`. What it means is in [protocol](../protocol.md).", ""]
    for channel in document["channels"].values():
        out += [f"## {channel['address']}", "", f"{channel.get('title', '')}. {channel.get('description', '')}".strip(), ""]
        query = channel.get("bindings", {}).get("ws", {}).get("query", {}).get("properties", {})
        if query:
            out += ["| parameter | type | what |", "|---|---|---|"]
            out += [f"| `{name}` | {cell(api.kind(field))} | {cell(field.get('description'))} |" for name, field in query.items()] + [""]
    asked = {ref["$ref"].rsplit("/", 1)[-1] for operation in document["operations"].values() if operation["action"] == "receive" for ref in operation["messages"]}
    for title, mine in (("What clients send", True), ("What the server sends", False)):
        out += [f"## {title}", ""]
        for name, message in document["components"]["messages"].items():
            if (name in asked) == mine:
                about = message.get("summary", "")
                payload = message.get("payload", {})
                out += [f"### Message {name}", "", *([about, ""] if about else [])]
                if "$ref" in payload:
                    out += [f"Payload: {api.kind(payload)}", ""]
                else:
                    out += api.schema(payload)
    return "\n".join(out + api.schemas())


def main(port, folder, check):
    folder = Path(folder)
    pages = {
        "http.md": http(fetch(port, "/api/openapi.json")),
        "websocket.md": websocket(fetch(port, "/api/asyncapi.json")),
    }
    stale = []
    for name, text in pages.items():
        # Keep at most one blank line at a time, and one line break at the end.
        lines = [line.rstrip() for line in text.split("\n")]
        kept = [line for at, line in enumerate(lines) if line or at == 0 or lines[at - 1]]
        text = "\n".join(kept).rstrip() + "\n"
        path = folder / name
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}: run `bash .ci/book --write`")
    print(f"{len(pages)} pages of the API: {'fresh' if check else 'written'}")


main(sys.argv[1], sys.argv[2], "--check" in sys.argv)
