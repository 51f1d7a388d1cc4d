"""Runs the first Python block of a page, as it stands, in an environment that has the
package alone, against a server of its own; then checks what the server was told.

    python first_steps.py docs/python.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tidings


def main() -> None:
    block = re.search(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), re.DOTALL)
    assert block, "the page has no Python block"
    command = [os.environ["SERVER_BIN"], "--listen", "127.0.0.1:0", "--log", "error"]
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
            task = tidings.Client(url).wait("render-7", 120)
            assert task.status == "completed", task
            print(f"{task.task_id}: {task.status}, {task.progress} %")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
