"""Runs the commands of pages as a reader would, against the server on a port.

The reader's first command starts the server. Here the server is already running.
"""

import re
import subprocess
import sys


def main(port, *pages):
    for page in pages:
        with open(page, encoding="utf-8") as file:
            blocks = re.findall(r"^```(sh|python)\n(.*?)^```", file.read(), re.M | re.S)
        count = 0
        for kind, text in blocks:
            if text.startswith("cargo run"):
                continue
            text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            # If the server refuses a command, the page is wrong.
            command = ["bash", "-euc", 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n' + text]
            if kind == "python":
                command = [sys.executable, "-c", text]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode != 0:
                sys.exit(f"{page}: this failed:\n{text}\n{done.stdout}{done.stderr}")
            count += 1
        print(f"{page}: {count} blocks of commands work")
        if count == 0:
            sys.exit(f"{page} has no commands")


main(*sys.argv[1:])
