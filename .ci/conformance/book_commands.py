"""Runs the code blocks of pages as a reader would, in the order of the page.

Blocks in `sh` and `python` must succeed. Blocks in `js` run in Node.js and must print
a line. An `html` block is a page: a browser opens it at the end, from the origin that
`python3 -m http.server` serves, and the page must print a line.

A block that starts a server is a terminal of its own. The server runs until the end of
the page, on a free port, and the blocks that follow use it. A page that starts none
uses the server on the given port. Two commands are not run as they stand:

* `cargo run --release -- …` would build everything a second time, with optimisation.
  The binary that is built already gets the same arguments.
* `bash .ci/test` runs this script itself. Its syntax is checked.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
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


def browse(address):
    """Opens a page in a browser until it prints a line."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not browser:
        return "there is no browser: install chromium, or set CHROMIUM"
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={profile}"]
        running = subprocess.Popen([browser, *options, address], stderr=subprocess.PIPE, text=True)
        late = threading.Timer(DEADLINE, running.kill)
        late.start()
        said = []
        for line in running.stderr:
            if "CONSOLE" in line:
                said.append(line)
            if said and " task_started " in said[-1]:
                break
        else:
            said.append("the page did not print the event")
        late.cancel()
        running.kill()
        running.wait()
        return None if " task_started " in said[-1] else "".join(said)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Page:
    """One page, with the servers that it has started."""

    def __init__(self, port, home):
        self.port, self.home, self.files = port, Path(home), free_port()
        self.servers, self.served, self.saved = [], False, None

    def run(self, kind, block):
        """Runs a block. Returns what failed, or `None`."""
        block = block.replace("localhost:8080", f"localhost:{self.files}")
        if kind == "html":
            self.saved = block
            return None
        command = re.sub(r"^cargo run --release (--package tidings-server )?--", "tidings", block.strip())
        if command == "bash .ci/test":
            return finish(["bash", "-n", ".ci/test"])
        if kind == "sh" and re.match(r"tidings( demo\b| --|$)", command):
            return self.serve(command)
        if kind == "sh" and command == "python3 -m http.server 8080":
            return self.serve_files()
        block = block.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        os.environ["TIDINGS_URL"] = f"http://127.0.0.1:{self.port}"
        return {"sh": shell, "python": lambda text: finish([sys.executable, "-c", text]), "js": script}[kind](block)

    def serve(self, command):
        command = re.sub(r" --listen \S+", "", command) + " --listen 127.0.0.1:0"
        server = subprocess.Popen(command.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.servers.append(server)
        line = server.stdout.readline()
        if not line:
            return server.stderr.read()
        # The rest of both outputs is of no use, and must not fill the pipes.
        for pipe in (server.stdout, server.stderr):
            threading.Thread(target=pipe.read, daemon=True).start()
        self.port = line.strip().rsplit(":", 1)[1]
        return None

    def serve_files(self):
        self.served = True
        command = [sys.executable, "-m", "http.server", str(self.files), "--directory", str(self.home)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.servers.append(server)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.files)) == 0:
                    return None
            time.sleep(0.1)
        return "the files are not served"

    def open(self):
        """Opens the saved page, if there is one. Returns what failed, or `None`."""
        if self.saved is None:
            return None
        if not self.served:
            return "no command of this page serves the html block"
        text = self.saved.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        (self.home / "page.html").write_text(text, encoding="utf-8")
        return browse(f"http://localhost:{self.files}/page.html")

    def stop(self):
        for server in self.servers:
            server.kill()
            server.wait()


def run(name, port):
    """Runs the blocks of a page. Returns their number."""
    text = Path(name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(sh|python|html|js)\n(.*?)^```", text, re.M | re.S)
    with tempfile.TemporaryDirectory() as home:
        page = Page(port, home)
        try:
            for kind, block in blocks:
                failure = page.run(kind, block)
                if failure is not None:
                    sys.exit(f"{name}: this failed:\n{block}\n{failure}")
            failure = page.open()
            if failure is not None:
                sys.exit(f"{name}: this page failed:\n{page.saved}\n{failure}")
        finally:
            page.stop()
    return len(blocks)


def main(port, *pages):
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    for name in pages:
        count = run(name, port)
        print(f"{name}: {count} blocks of code work")
        if count == 0:
            sys.exit(f"{name} has no code to run")


main(*sys.argv[1:])
