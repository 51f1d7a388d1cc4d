"""A task's state from what a watcher receives: the protocol's reducer.

``Fold`` takes the messages of one task in order. Its ``state`` is the server's own
at that offset, but for what does not fit a snapshot: this keeps outputs whole.
"""

from __future__ import annotations

import copy
from typing import Any

Fields = dict[str, Any]

MAX_ENTRIES = 64
#: Steps, and tool calls, that ended and are kept.
MAX_ENDED = 32

ENDS = {"task_completed": "completed", "task_failed": "failed", "task_cancelled": "cancelled"}
LISTS = (
    "agents", "steps", "tool_calls", "pending_inputs", "pending_commands", "outputs", "artifacts",
)


class Fold:
    """Folds snapshots, events and gaps into the state of one task."""

    def __init__(self) -> None:
        self.state: Fields | None = None

    def message(self, message: Fields) -> None:
        """Takes one message of the task."""
        if "offset" in message:
            if self.state is not None and message["offset"] > self.state["offset"]:
                self.state = reduce(self.state, message)
        elif snapshot := message["data"].get("snapshot"):
            self.state = copy.deepcopy(snapshot)


def reduce(state: Fields, event: Fields) -> Fields:
    """The state after one more event; the given one is not changed."""
    state = copy.deepcopy(state)
    kind, data, at = event["event_type"], event["data"], event["timestamp"]
    state["offset"], state["updated_at"] = event["offset"], at
    # Requests and answers come from those who watch: no sign that the producer lives.
    if kind not in ("command_requested", "input_provided"):
        state["stalled"] = False
    if kind == "task_started":
        _start(state, data, at)
    elif kind == "progress_update":
        _progress(state, data, at)
    elif kind in ENDS:
        _end(state, kind, data, at)
    elif kind == "task_stalled":
        state["stalled"] = True
    elif kind == "output_delta":
        _add_text(state, data, event.get("at"))
    elif kind == "output_completed":
        output = _output(state, data["output_id"], 0)
        output["complete"] = True
        if data.get("text") is not None:
            text = data["text"]
            output.update(start=0, length=len(text.encode()), text=text)
    else:
        _entries(state, kind, data, at)
    for name in LISTS:
        state[name] = state[name][-MAX_ENTRIES:]
    return state


def _start(state: Fields, data: Fields, at: str) -> None:
    if state["status"] not in ("pending", "running"):
        kept = {key: state[key] for key in ("task_id", "run", "name", "parent_task_id", "epoch",
                                            "offset", "updated_at")}
        lists: Fields = {name: [] for name in LISTS}
        state.pop("total", None)
        for key in ("progress", "message", "stage", "progress_at", "finished_at", "result", "error"):
            state[key] = None
        state.update(kept, stalled=False, truncated=False, **lists)
    state["run"] += 1
    state["status"], state["started_at"] = "running", at
    for key in ("name", "parent_task_id", "total"):
        if data.get(key) is not None:
            state[key] = data[key]


def _progress(state: Fields, data: Fields, at: str) -> None:
    state["progress_at"] = at
    total = data["total"] if data.get("total") is not None else state.get("total")
    if data.get("progress") is not None:
        state["progress"] = data["progress"]
    elif data.get("current") is not None and total is not None and total > 0:
        state["progress"] = min(100.0, max(0.0, data["current"] * 100.0 / total))
    for key in ("total", "message", "stage"):
        if data.get(key) is not None:
            state[key] = data[key]


def _end(state: Fields, kind: str, data: Fields, at: str) -> None:
    state["status"], state["finished_at"], state["pending_inputs"] = ENDS[kind], at, []
    for name in ("steps", "tool_calls"):
        for entry in state[name]:
            if entry["state"] == "running":
                entry.update(state="interrupted", ended_at=at)
        state[name] = _bounded(state[name])
    if kind == "task_completed":
        state["progress"], state["result"] = 100.0, data.get("result")
    elif kind == "task_failed":
        error = data["error"]
        state["error"] = {"message": error} if isinstance(error, str) else error
    elif data.get("reason") is not None:
        state["message"] = data["reason"]


def _output(state: Fields, output_id: str, at: int) -> Fields:
    for output in reversed(state["outputs"]):
        if output["output_id"] == output_id:
            return output
    output = {"output_id": output_id, "start": at, "length": at, "text": "", "complete": False}
    state["outputs"].append(output)
    return output


def _add_text(state: Fields, data: Fields, at: int | None) -> None:
    output = _output(state, data["output_id"], at or 0)
    at = output["length"] if at is None else at
    if at > output["length"]:
        # Text is missing in between: what comes after it is what is known.
        output.update(start=at, length=at, text="")
    new = data["text"].encode()[output["length"] - at:]
    output["text"] += new.decode()
    output["length"] += len(new)
    output["complete"] = False


def _bounded(entries: list[Fields]) -> list[Fields]:
    excess = sum(entry["state"] != "running" for entry in entries) - MAX_ENDED
    kept = []
    for entry in entries:
        if entry["state"] != "running" and excess > 0:
            excess -= 1
        else:
            kept.append(entry)
    return kept


def _put(entries: list[Fields], key: str, entry: Fields) -> None:
    for place, known in enumerate(entries):
        if known[key] == entry[key]:
            entries[place] = entry
            return
    entries.append(entry)


def _without(entries: list[Fields], key: str, value: Any) -> list[Fields]:
    return [entry for entry in entries if entry[key] != value]


def _entries(state: Fields, kind: str, data: Fields, at: str) -> None:
    for name, key, started in (("steps", "step_id", "step_started"),
                               ("tool_calls", "tool_call_id", "tool_call_started")):
        if key not in data:
            continue
        if kind == started:
            fields = ("name", "parent_step_id") if name == "steps" else ("tool",)
            entry = {key: data[key], **{field: data.get(field) for field in fields},
                     "state": "running", "started_at": at, "ended_at": None}
            state[name] = _bounded([*_without(state[name], key, data[key]), entry])
        elif kind.startswith(started.removesuffix("started")):
            for entry in state[name]:
                if entry[key] == data[key] and entry["state"] == "running":
                    entry.update(state=kind.removeprefix(started.removesuffix("started")), ended_at=at)
            state[name] = _bounded(state[name])
    if kind == "agent_status_change":
        _put(state["agents"], "agent_id", {"agent_id": data["agent_id"], "status": data["status"],
                                           "message": data.get("message"), "updated_at": at})
    elif kind == "artifact":
        fields = ("artifact_id", "name", "media_type", "url", "data")
        _put(state["artifacts"], "artifact_id", {field: data.get(field) for field in fields})
    elif kind == "input_required":
        _put(state["pending_inputs"], "input_id", {
            "input_id": data["input_id"], "prompt": data["prompt"],
            "schema": data.get("schema"), "requested_at": at,
        })
    elif kind == "input_provided":
        state["pending_inputs"] = _without(state["pending_inputs"], "input_id", data["input_id"])
    elif kind == "command_requested":
        _put(state["pending_commands"], "command_id", {
            "command_id": data["command_id"], "command": data["command"],
            "args": data.get("args"), "by": data["by"], "accepted": False, "requested_at": at,
        })
    elif kind == "command_accepted":
        for command in state["pending_commands"]:
            if command["command_id"] == data["command_id"]:
                command["accepted"] = True
    elif kind in ("command_rejected", "command_completed"):
        left = _without(state["pending_commands"], "command_id", data["command_id"])
        state["pending_commands"] = left
