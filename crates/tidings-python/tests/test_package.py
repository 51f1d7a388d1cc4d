"""The package itself: its help, its imports, its command line."""

from __future__ import annotations

import os
import pickle
import pydoc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tidings


def test_help_names_what_there_is() -> None:
    text = pydoc.render_doc(tidings, renderer=pydoc.plaintext)
    for name in tidings.__all__:
        assert getattr(tidings, name).__doc__ or name == "Update", f"{name} has no docstring"
    assert "client.task(" in text and "tidings.tqdm" in text


def test_help_describes_every_field_with_its_type() -> None:
    public = [getattr(module, name) for module in (tidings, tidings.types) for name in module.__all__]
    described = [each for each in public if isinstance(each, type) and each.__annotations__]
    assert tidings.Event in described and tidings.types.LogData in described
    for each in described:
        for field in each.__annotations__:
            assert f"    {field} (" in (each.__doc__ or ""), f"{each.__name__}.{field}"


def test_a_public_name_says_where_it_is_public() -> None:
    assert repr(tidings.Refused) == "<class 'tidings.Refused'>"
    assert pickle.loads(pickle.dumps(tidings.Refused("forbidden", "no"))).code == "forbidden"
    assert tidings.aio.Client.__module__ == "tidings.aio"


def test_a_framework_is_imported_only_when_it_is_used() -> None:
    script = (
        "import sys, tidings; "
        "print([m for m in ('tqdm','celery','fastapi','langchain_core') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:/usr/bin:/bin"}
    command = [sys.executable, "-m", "tidings", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_server_is_found_or_named(tmp_path: Path) -> None:
    assert shutil.which("tidings", path="/usr/bin:/bin") is None
    missing = run(tmp_path, "--version")
    assert missing.returncode == 127 and "pip install tidings[server]" in missing.stderr
    (tmp_path / "tidings").symlink_to(os.environ["SERVER_BIN"])
    found = run(tmp_path, "--version")
    assert found.returncode == 0 and found.stdout.startswith("tidings ")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the module has another interface")
def test_a_sub_interpreter_is_refused_by_name() -> None:
    """In a process of its own: Python 3.12 crashes at the end of a process with sub-interpreters."""
    script = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
interpreters.run_string(interpreters.create(), '''
try:
    import tidings
except ImportError as error:
    print(error, flush=True)
''')
import tidings
print(tidings.Client("http://127.0.0.1:9").status, flush=True)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    refused, status = ran.stdout.splitlines()
    assert refused.startswith("tidings does not work in a sub-interpreter"), ran
    assert status == "idle", ran


@pytest.mark.parametrize(
    "setting",
    [
        {"token": "two\nlines"},
        {"token": "t\ud800"},
        {"token": b"bytes"},
        {"max_pending": -1},
        {"max_pending_bytes": 10**30},
        {"exit_timeout": -1.0},
        {"exit_timeout": float("nan")},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_at_once(setting: dict[str, Any]) -> None:
    for make in (tidings.Client, tidings.aio.Client):
        with pytest.raises(ValueError):
            make("http://127.0.0.1:9", **setting)
    with pytest.raises(TypeError):
        tidings.Client("http://127.0.0.1:9", max_pending=1.5)  # type: ignore[arg-type]
