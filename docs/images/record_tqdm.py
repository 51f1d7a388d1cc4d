"""Pictures one loop at one moment: its bar of `tidings.tqdm` in a terminal, and its panel in a browser.

    python3 docs/images/record_tqdm.py target/release/tidings docs/images/tqdm.png

It starts a real server, a real program in a pseudo-terminal, and Chromium (or $CHROMIUM). It needs
the packages `tidings`, `tqdm`, `websockets`, and `pyte`, which models the screen of a terminal. The
program stops in the middle, so that both sides show the same moment.
"""

import base64
import fcntl
import html
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte
from websockets.sync.client import connect

COLUMNS, ROWS = 76, 6
DEADLINE = 60.0
PROGRAM = """\
import time
from tidings.tqdm import tqdm

for day in tqdm(range(30), desc="Render", task_id="render-7"):
    for frame in tqdm(range(24), desc=f"day {day + 1}", leave=False):
        time.sleep(0.02)
"""
#: The program waits at this place for ever.
PAUSE = """
        if (day, frame) == (19, 15):
            import signal
            time.sleep(0.2)
            signal.pause()
"""
TERMINAL, PANEL = 660, (700, 470)


def start_server(binary):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--log", "warn"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().split()[-1]


def start_program(url):
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", TIDINGS_URL=url, COLUMNS=str(COLUMNS))
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM + PAUSE])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return process, terminal


def screen_at_pause(terminal):
    """The rows of the terminal, when nothing has come for a second after the middle."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            stream.feed(os.read(terminal, 65536))
        elif any("day 20" in row for row in screen.display):
            return [row.rstrip() for row in screen.display if row.strip()]
    raise SystemExit(f"the program did not come to its middle: {screen.display}")


class Browser:
    """Chromium without a window, told what to do by the DevTools protocol."""

    def __init__(self, profile):
        names = ("chromium", "chromium-browser", "google-chrome")
        binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([binary, *options], stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.process.stderr if "DevTools listening on" in line)
        self.socket = connect(line.split()[-1], max_size=None)
        self.asked, self.session = 0, None

    def ask(self, method, **params):
        self.asked += 1
        session = {} if self.session is None else {"sessionId": self.session}
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": params, **session}))
        while (answer := json.loads(self.socket.recv(DEADLINE))).get("id") != self.asked:
            pass
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    def picture(self, url, size, condition):
        """Returns a page as PNG, when a condition in JavaScript is true."""
        target = self.ask("Target.createTarget", url=url)
        attached = self.ask("Target.attachToTarget", flatten=True, **target)
        self.session = attached["sessionId"]
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        deadline = time.monotonic() + DEADLINE
        while not self.ask("Runtime.evaluate", expression=condition)["result"].get("value"):
            if time.monotonic() > deadline:
                raise SystemExit(f"not in time: {condition} of {url}")
            time.sleep(0.1)
        taken = self.ask("Page.captureScreenshot", format="png")
        self.session = None
        return base64.b64decode(taken["data"])

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()


def page(rows, panel):
    code = "\n".join(f"  {line}" for line in PROGRAM.splitlines())
    return f"""<!doctype html><meta charset="utf-8"><title>tqdm</title><style>
body {{ margin: 0; padding: 16px; display: flex; gap: 16px; background: #d0d7de; align-items: stretch }}
pre {{ margin: 0; box-sizing: border-box; width: {TERMINAL}px; padding: 16px; border-radius: 8px;
  background: #0d1117; color: #e6edf3; font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace }}
i {{ color: #7d8590; font-style: normal }} img {{ border-radius: 8px; width: {PANEL[0]}px }}
</style><pre><i>$ cat render.py</i>
{html.escape(code)}

<i>$ python render.py</i>
{html.escape(chr(10).join(rows))}</pre><img src="data:image/png;base64,{base64.b64encode(panel).decode()}">"""


def main(binary, target):
    server, url = start_server(binary)
    try:
        program, terminal = start_program(url)
        try:
            rows = screen_at_pause(terminal)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                connected = "!!document.querySelector('.td-dot[data-state=connected]')"
                loaded = "[...document.images].length && [...document.images].every(i => i.complete)"
                browser = Browser(Path(folder, "profile"))
                try:
                    panel = browser.picture(f"{url}/tasks/render-7", PANEL, connected)
                    both = Path(folder, "both.html")
                    both.write_text(page(rows, panel), encoding="utf-8")
                    size = (TERMINAL + PANEL[0] + 48, PANEL[1] + 32)
                    Path(target).write_bytes(browser.picture(both.as_uri(), size, loaded))
                finally:
                    browser.close()
        finally:
            os.kill(program, signal.SIGKILL)
            os.waitpid(program, 0)
    finally:
        server.terminate()
        server.wait()
    print("\n".join(rows))


main(*sys.argv[1:])
