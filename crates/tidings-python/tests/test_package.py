"""The package itself: its help, its imports, its command line."""

from __future__ import annotations

import os
import pydoc
import shutil
import subprocess
import sys
from pathlib import Path

import tidings


def test_help_names_what_there_is() -> None:
    text = pydoc.render_doc(tidings, renderer=pydoc.plaintext)
    for name in tidings.__all__:
        assert getattr(tidings, name).__doc__ or name == "Update", f"{name} has no docstring"
    assert "client.task(" in text and "tidings.tqdm" in text


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
