"""Writes `python/tidings/_schema.py` from the JSON Schemas in `docs/schema`.

    python crates/tidings-python/generate.py            writes the file
    python crates/tidings-python/generate.py --check    fails if the file is not current
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCHEMAS = HERE / "../../docs/schema"
TARGET = HERE / "python/tidings/_schema.py"

HEAD = '''"""A task's state, and the data of the standard events.

Generated from the folder `docs/schema` by `generate.py`: do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Union

'''

#: Definitions that are plain values in Python.
PLAIN = {"Json": "Any", "Data": "dict[str, Any]", "ChildCounts": None}

Schema = dict[str, Any]


class Writer:
    """Turns definitions into Python, each once."""

    def __init__(self, dataclasses: bool, taken: set[str]) -> None:
        self.dataclasses = dataclasses
        self.lines: list[str] = []
        self.taken = taken
        self.definitions: Schema = {}

    def reference(self, name: str) -> str:
        if PLAIN.get(name):
            return str(PLAIN[name])
        definition = self.definitions[name]
        if "enum" in definition:
            return "Literal[" + ", ".join(json.dumps(value) for value in definition["enum"]) + "]"
        if definition.get("type") == "object" and "properties" in definition:
            self.definition(name)
            return name
        return self.kind(definition)

    def kind(self, schema: Schema) -> str:
        if "$ref" in schema:
            return self.reference(schema["$ref"].rsplit("/", 1)[1])
        if "const" in schema:
            return f"Literal[{json.dumps(schema['const'])}]"
        if "enum" in schema:
            return "Literal[" + ", ".join(json.dumps(value) for value in schema["enum"]) + "]"
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self.union([self.kind(option) for option in schema[word]])
        if isinstance(schema.get("type"), list):
            return self.union([self.kind({**schema, "type": kind}) for kind in schema["type"]])
        match schema.get("type"):
            case "string":
                return "str"
            case "integer":
                return "int"
            case "number":
                return "float"
            case "boolean":
                return "bool"
            case "null":
                return "None"
            case "array":
                return f"list[{self.kind(schema.get('items', {}))}]"
            case "object" if isinstance(schema.get("additionalProperties"), dict):
                return f"dict[str, {self.kind(schema['additionalProperties'])}]"
            case "object":
                return "dict[str, Any]"
        return "Any"

    @staticmethod
    def union(kinds: list[str]) -> str:
        kinds = list(dict.fromkeys(kinds))
        return "Any" if "Any" in kinds else " | ".join(kinds)

    def definition(self, name: str, schema: Schema | None = None) -> None:
        if name in self.taken:
            return
        self.taken.add(name)
        schema = schema or self.definitions[name]
        write = self.dataclass if self.dataclasses else self.typed_dict
        self.lines += write(name, schema)

    def typed_dict(self, name: str, schema: Schema) -> list[str]:
        required = set(schema.get("required", []))
        fields = schema.get("properties", {})
        groups = [
            (f"_{name}Required", "TypedDict", [f for f in fields if f in required]),
            (name, f"_{name}Required, total=False", [f for f in fields if f not in required]),
        ]
        if not groups[0][2]:
            groups = [(name, "TypedDict, total=False", list(fields))]
        elif not groups[1][2]:
            groups = [(name, "TypedDict", list(fields))]
        lines = []
        for group, bases, names in groups:
            text = self.text(name, schema) if group == name else schema.get("description", name)
            body = [f"    {f}: {self.kind(fields[f])}\n{self.comment(fields[f])}" for f in names]
            lines.append(f'class {group}({bases}):\n    """{text}"""\n\n' + "".join(body) + "\n")
        return lines

    def dataclass(self, name: str, schema: Schema) -> list[str]:
        body, reads = [], []
        required = set(schema.get("required", []))
        fields = schema["properties"]
        for f in sorted(fields, key=lambda f: f not in required):
            kind = self.kind(fields[f])
            default = "" if f in required else self.default(kind, fields[f])
            body.append(f"    {f}: {kind}{default}\n{self.comment(fields[f])}")
            reads.append(self.read(f, kind, f in required))
        text = self.text(name, schema)
        return [
            f'@dataclass(frozen=True, slots=True)\nclass {name}:\n    """{text}"""\n\n'
            + "".join(body)
            + f"\n    @staticmethod\n    def _of(fields: dict[str, Any]) -> {name}:\n"
            + f'        """Reads what the server sends. Fields that are not known are ignored."""\n'
            + f"        return {name}(**_known({{\n"
            + "".join(reads)
            + "        }))\n\n"
        ]

    @staticmethod
    def default(kind: str, schema: Schema) -> str:
        if kind.startswith("list["):
            return " = field(default_factory=list)"
        if kind.startswith("dict["):
            return " = field(default_factory=dict)"
        return " = " + repr(schema.get("default"))

    def read(self, name: str, kind: str, required: bool) -> str:
        inner = re.fullmatch(r"list\[([A-Z]\w+)\]", kind)
        if inner and inner[1] in self.taken:
            value = f'[{inner[1]}._of(each) for each in fields.get("{name}") or ()]'
            return f'            "{name}": {value},\n'
        whole = re.fullmatch(r"([A-Z]\w+)( \| None)?", kind)
        if whole and whole[1] in self.taken:
            value = f'_maybe({whole[1]}._of, fields.get("{name}"))'
            return f'            "{name}": {value},\n'
        if required:
            return f'            "{name}": fields["{name}"],\n'
        return f'            "{name}": fields.get("{name}", _ABSENT),\n'

    def text(self, name: str, schema: Schema) -> str:
        """Describes a class with its fields. `help` shows nothing else of them."""
        fields = schema["properties"]
        lines = [schema.get("description", name), "", "Attributes:"]
        for f in sorted(fields, key=lambda f: f not in schema.get("required", [])):
            lines.append(f"    {f} ({self.kind(fields[f])}): {fields[f].get('description', '')}".rstrip(": "))
        return "\n    ".join(lines).replace("\n    \n", "\n\n") + "\n    "

    @staticmethod
    def comment(schema: Schema) -> str:
        text = schema.get("description")
        return f'    """{text}"""\n' if text else ""


HELPERS = '''_ABSENT: Any = object()


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not _ABSENT}


def _maybe(read: Any, value: Any) -> Any:
    return None if value is None else read(value)


'''


def error_class(definitions: Schema) -> None:
    """A snapshot's error is always the object; only producers may write plain text."""
    options = definitions["TaskError"].get("anyOf", [])
    for option in options:
        if option.get("type") == "object":
            definitions["TaskError"] = {**option, "description": "Why a task failed."}


def snapshot(taken: set[str]) -> str:
    schema = json.loads((SCHEMAS / "task-snapshot.json").read_text())
    writer = Writer(True, taken)
    writer.definitions = schema["$defs"]
    error_class(writer.definitions)
    writer.definition("TaskSnapshot", schema)
    return "\n".join(writer.lines)


def event_data(taken: set[str]) -> str:
    schema = json.loads((SCHEMAS / "event-data.json").read_text())
    writer = Writer(False, taken)
    writer.definitions = schema["$defs"]
    names = []
    for option in schema["oneOf"]:
        data = option["properties"]["data"]
        if "$ref" not in data or data["$ref"].endswith("/Data"):
            continue
        name = data["$ref"].rsplit("/", 1)[1]
        writer.definitions[name + "Data"] = writer.definitions[name]
        writer.definition(name + "Data")
        names.append((option["properties"]["event_type"]["const"], name + "Data"))
    unique = list(dict.fromkeys(name for _, name in names))
    text = "#: The data of a standard event.\nEventData = Union[\n"
    classes = [name for name in sorted(taken) if not name.startswith("_")]
    exported = "\n__all__ = [\n" + "".join(f'    "{name}",\n' for name in ["EventData", *classes]) + "]\n"
    union = text + "".join(f"    {name},\n" for name in unique) + "]\n"
    return "\n".join(writer.lines) + "\n" + union + exported


def main() -> int:
    taken: set[str] = set()
    text = HEAD + HELPERS + snapshot(taken) + "\n" + event_data(taken)
    if "--check" not in sys.argv:
        TARGET.write_text(text)
        return 0
    if not TARGET.exists() or TARGET.read_text() != text:
        print(f"{TARGET.name} is not what docs/schema says: run {sys.argv[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
