"""Runs the code blocks of pages as a reader would, against the server on a port.

Blocks in `sh` and `python` must succeed. Blocks in `js` and the module scripts of
`html` run in Node.js and must print a line. Blocks that start with `cargo run` are
left out, because the server runs already.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

DEADLINE = 300
BIN = Path(__file__).resolve().parents[2] / "target" / "debug"
NODE = ["node", "--no-warnings", "--experimental-websocket", "--experimental-eventsource", "--input-type=module"]


def shell(text):
    # A refusal by the server is a failure of the page.
    refuse = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    return finish(["bash", "-euc", refuse + text])


def finish(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr


def page(text):
    return script("\n".join(re.findall(r'<script type="module">(.*?)</script>', text, re.S)))


def script(text):
    """Runs a script until its first line: a watcher never ends by itself."""
    with tempfile.TemporaryDirectory() as home:
        module = re.search(r'from "(http://[^"]+)"', text)
        if module:
            file = Path(home) / "module.mjs"
            file.write_bytes(urllib.request.urlopen(module[1], timeout=10).read())
            text = text.replace(module[1], file.as_uri())
        running = subprocess.Popen([*NODE, "--eval", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        late = threading.Timer(DEADLINE, running.kill)
        late.start()
        line = running.stdout.readline()
        late.cancel()
        running.kill()
        errors = running.communicate()[1]
        return None if line.strip() else f"nothing was printed; {errors}"


RUNNERS = {"sh": shell, "python": lambda text: finish([sys.executable, "-c", text]), "html": page, "js": script}


def main(port, *pages):
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    os.environ["TIDINGS_URL"] = f"http://127.0.0.1:{port}"
    for name in pages:
        text = Path(name).read_text(encoding="utf-8")
        count = 0
        for kind, block in re.findall(r"^```(sh|python|html|js)\n(.*?)^```", text, re.M | re.S):
            if block.startswith("cargo run"):
                continue
            block = block.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            failure = RUNNERS[kind](block)
            if failure is not None:
                sys.exit(f"{name}: this failed:\n{block}\n{failure}")
            count += 1
        print(f"{name}: {count} blocks of code work")
        if count == 0:
            sys.exit(f"{name} has no code to run")


main(*sys.argv[1:])
