"""Records `tidings watch` beside `tidings demo` as an animated SVG.

    cargo build --release
    python3 docs/images/record.py target/release/tidings docs/images/watch.svg

It starts a real server and a real watcher in a pseudo-terminal, and needs the
package `pyte`, which models the screen of a terminal.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from html import escape

import pyte

COLUMNS, ROWS = 84, 10
SECONDS, EVERY = 12.0, 0.3
WATCHED = ["agent_run", "build_main", "test_001", "quick_01", "quick_02"]
COLOURS = {
    "default": "#e6edf3", "black": "#7d8590", "red": "#ff7b72", "green": "#3fb950", "brown": "#d29922",
    "yellow": "#d29922", "blue": "#58a6ff", "magenta": "#bc8cff", "cyan": "#39c5cf", "white": "#e6edf3",
    "brightblack": "#7d8590",
}


def start_server(binary):
    command = [binary, "demo", "--listen", "127.0.0.1:0", "--log", "warn"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return server, server.stdout.readline().split()[-1]


def start_watcher(binary, url):
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", TIDINGS_URL=url)
        os.execv(binary, [binary, "watch", *WATCHED])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    os.kill(process, signal.SIGWINCH)
    return process, terminal


def frames(terminal):
    """The screen, `EVERY` so many seconds: rows of runs `(text, colour, bold)`."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    begin = time.monotonic()
    shots = []
    while time.monotonic() - begin < SECONDS:
        if select.select([terminal], [], [], 0.05)[0]:
            stream.feed(os.read(terminal, 65536))
        if time.monotonic() - begin >= len(shots) * EVERY:
            shots.append([row_of(screen, number) for number in range(ROWS)])
    return shots


def row_of(screen, number):
    runs = []
    for column in range(COLUMNS):
        cell = screen.buffer[number][column]
        style = (COLOURS.get(cell.fg, "#e6edf3"), cell.bold)
        if runs and runs[-1][1:] == style:
            runs[-1] = (runs[-1][0] + cell.data, *style)
        else:
            runs.append((cell.data, *style))
    last = runs[-1]
    runs[-1] = (last[0].rstrip(), *last[1:])
    return tuple(run for run in runs if run[0])


def line(runs, y):
    spans = ""
    for text, colour, bold in runs:
        weight = ' font-weight="bold"' if bold else ""
        fill = "" if colour == COLOURS["default"] else f' fill="{colour}"'
        spans += f"<tspan{fill}{weight}>{escape(text)}</tspan>" if fill or weight else escape(text)
    return f'<text y="{y}" x="16">{spans}</text>'


def draw(shots):
    """One group for each different screen; CSS shows each for its time."""
    step = 100 / len(shots)
    height = 62 + ROWS * 19
    rules, groups = [], []
    number = 0
    while number < len(shots):
        end = number + 1
        while end < len(shots) and shots[end] == shots[number]:
            end += 1
        begin_at, end_at = number * step, end * step
        name = f"f{number}"
        before = f"0%,{begin_at - 0.01:.2f}%{{visibility:hidden}}" if number else ""
        after = f"{end_at:.2f}%,100%{{visibility:hidden}}" if end < len(shots) else ""
        rules.append(f"@keyframes {name}{{{before}{begin_at:.2f}%,{end_at - 0.01:.2f}%{{visibility:visible}}{after}}}")
        rules.append(f"#{name}{{animation-name:{name}}}")
        rows = "\n".join(line(runs, 66 + row * 19) for row, runs in enumerate(shots[number]) if runs)
        groups.append(f'<g id="{name}" class="frame">\n{rows}\n</g>')
        number = end
    last = groups[-1].split('"')[1]
    command = "$ tidings watch " + " ".join(f"'{word}'" if "*" in word else word for word in WATCHED)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" height="{height}" role="img" xml:space="preserve">\n'
        "<title>A terminal: tidings watch shows live bars of the tasks of tidings demo</title>\n<style>\n"
        "text{fill:#e6edf3;white-space:pre;font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\n"
        f".frame{{visibility:hidden;animation-duration:{SECONDS:g}s;animation-iteration-count:infinite;animation-timing-function:step-end}}\n"
        + "\n".join(rules)
        + f"\n@media (prefers-reduced-motion:reduce){{.frame{{animation:none}}#{last}{{visibility:visible}}}}\n</style>\n"
        f'<rect width="760" height="{height}" rx="8" fill="#0d1117"/>\n'
        f'<text x="16" y="30" fill="#7d8590">{escape(command)}</text>\n' + "\n".join(groups) + "\n</svg>\n"
    )


def main(binary, target):
    server, url = start_server(binary)
    try:
        watcher, terminal = start_watcher(binary, url)
        try:
            shots = frames(terminal)
        finally:
            os.kill(watcher, signal.SIGTERM)
            os.waitpid(watcher, 0)
    finally:
        server.terminate()
        server.wait()
    with open(target, "w", encoding="utf-8") as file:
        file.write(draw(shots))
    print(f"{target}: {len(shots)} frames of {COLUMNS} by {ROWS}")


main(*sys.argv[1:])
