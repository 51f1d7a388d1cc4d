"""Runs the first Python block of each page, as it stands, in an environment that has
`tidings[server]` alone, against its server; then checks what the server was told.

    python first_steps.py README.md docs/python.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tidings


def run(page: Path) -> None:
    block = re.search(r"```py(?:thon)?\n(.*?)```", page.read_text(), re.DOTALL)
    assert block, f"{page} has no Python block"
    # The command line of the package finds the binary that its wheel has brought.
    command = [sys.executable, "-m", "tidings", "serve", "--listen", "127.0.0.1:0", "--log", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = server.stdout.readline().strip().rsplit(":", 1)[1]
            url = f"http://127.0.0.1:{port}"
            with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
                file.write(block[1])
                file.flush()
                environment = {**os.environ, "TIDINGS_URL": url}
                subprocess.run([sys.executable, file.name], env=environment, check=True, timeout=120)
            with tidings.Client(url) as client:
                (started,) = client.tasks(timeout=120).tasks
                task = client.wait(started.task_id, 120)
            assert task.status == "completed", task
            print(f"{page}: {task.task_id} {task.status}, {task.progress} %")
        finally:
            server.kill()


def main() -> None:
    for page in sys.argv[1:]:
        run(Path(page))


if __name__ == "__main__":
    main()
