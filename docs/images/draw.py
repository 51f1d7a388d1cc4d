"""Draws the diagrams of the book: python3 docs/images/draw.py [--check]

Each is an SVG on a ground of its own, so it can be read on a light and on a dark
page. `--check` fails if a committed drawing is not what this script draws.
"""

import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
STYLE = """
.ground{fill:#fff;stroke:#d0d7de}.box{fill:#f6f8fa;stroke:#8c959f}.mark{fill:#ddf4ff;stroke:#0969da}
.good{fill:#dafbe1;stroke:#1a7f37}.gap{fill:#fff8c5;stroke:#9a6700;stroke-dasharray:5 4}
text{font:14px system-ui,sans-serif;fill:#1f2328}.small{font-size:12px;fill:#59636e}.mono{font-family:ui-monospace,monospace;font-size:13px}
.line{stroke:#59636e;fill:none;stroke-width:1.5}.dash{stroke-dasharray:5 4}.head{fill:#59636e}
@media (prefers-color-scheme:dark){
.ground{fill:#0d1117;stroke:#3d444d}.box{fill:#151b23;stroke:#656c76}.mark{fill:#121d2f;stroke:#4493f8}
.good{fill:#12261e;stroke:#3fb950}.gap{fill:#272115;stroke:#d29922}
text{fill:#f0f6fc}.small{fill:#9198a1}.line{stroke:#9198a1}.head{fill:#9198a1}}
"""


class Drawing:
    def __init__(self, width, height, title):
        self.size, self.title, self.parts = (width, height), title, []

    def box(self, x, y, width, height, lines, kind="box"):
        """A box with its text centred; the first line is the name, the rest are small."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        lines = lines.split("\n")
        top = y + height / 2 - (len(lines) - 1) * 8 + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + number * 17, line, "middle", "small" if number else "")

    def text(self, x, y, text, anchor="start", kind=""):
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, *points, dash=False, label=None, at=None, anchor="middle"):
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="line{" dash" if dash else ""}" d="{path}" marker-end="url(#head)"/>')
        if label:
            (x1, y1), (x2, y2) = points[0], points[-1]
            x, y = at or ((x1 + x2) / 2, (y1 + y2) / 2 - 6)
            for number, line in enumerate(label.split("\n")):
                self.text(x, y + number * 15, line, anchor, "small")

    def line(self, *points, dash=False):
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="line{" dash" if dash else ""}" d="{path}"/>')

    def svg(self):
        width, height = self.size
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            '<path class="head" d="M0 0 L10 5 L0 10 z"/></marker></defs>\n'
            f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>\n{body}\n</svg>\n'
        )


def log():
    d = Drawing(760, 270, "A log per task, a cursor per subscriber")
    d.box(20, 75, 110, 50, "a producer")
    d.text(190, 55, "the log of task render-7", kind="small")
    for number, name in enumerate(["started", "progress 20", "progress 40", "log"]):
        d.box(190 + number * 105, 75, 105, 50, f"{number + 1}\n{name}", "mark")
    d.arrow((130, 100), (188, 100), label="publish")
    d.arrow((400, 190), (348, 128), dash=True)
    d.arrow((662, 190), (558, 128), dash=True)
    d.box(350, 192, 200, 50, "a watcher that lags\ncursor: 2")
    d.box(565, 192, 180, 50, "a watcher that keeps up\ncursor: 4")
    d.arrow((240, 125), (165, 190), label="is reduced into", at=(150, 160))
    d.box(60, 192, 210, 50, "the snapshot\nrunning, 40 %, offset 4", "good")
    return d


def lag():
    d = Drawing(800, 300, "What a watcher that keeps up and a watcher that lags receive of the same log")
    events = [
        (11, "progress 10"), (12, "log"), (13, "log"), (14, "progress 30"),
        (15, "progress 50"), (16, "output “Hel”"), (17, "output “lo”"), (18, "step ended"),
    ]
    d.text(20, 30, "the log keeps every event", kind="small")
    for number, (offset, name) in enumerate(events):
        d.box(20 + number * 95, 40, 95, 48, f"{offset}\n{name}", "mark")
    d.text(20, 125, "a watcher that keeps up receives every event", kind="small")
    for number, (offset, name) in enumerate(events):
        d.box(20 + number * 95, 135, 95, 48, f"{offset}\n{name}")
    d.text(20, 220, "a watcher that is more than 256 events behind: adjacent updates are merged, log lines become a gap", kind="small")
    d.box(20, 230, 95, 48, "11\nprogress 10")
    d.box(115, 230, 190, 48, "gap 12–13\nreason: conflated", "gap")
    d.box(305, 230, 190, 48, "15, from 14\nprogress 50", "good")
    d.box(495, 230, 190, 48, "17, from 16\noutput “Hello”", "good")
    d.box(685, 230, 95, 48, "18\nstep ended")
    return d


def cluster():
    d = Drawing(780, 360, "Several servers over one Redis")
    d.box(20, 40, 120, 44, "publisher")
    d.box(220, 30, 200, 64, "node A\nchecks the event\nagainst its copy", "mark")
    d.box(220, 250, 200, 64, "node B\nits copy of the task\nserves its watchers", "mark")
    d.box(540, 120, 210, 110, "Redis\noffsets, epochs, events,\nsnapshots, clients\none script appends", "good")
    d.box(20, 260, 120, 44, "watchers")
    d.box(20, 130, 120, 44, "watchers")
    d.arrow((140, 62), (218, 62), label="1 publish")
    d.arrow((420, 62), (640, 62), (640, 118), label="2 append", at=(530, 54))
    d.arrow((540, 160), (320, 160), (320, 97), label="3 offset, or “another node was first”", at=(432, 178))
    d.arrow((640, 230), (640, 282), (422, 282), label="4 the event, to each node\nthat watches the task", at=(532, 258))
    d.arrow((220, 282), (142, 282), label="5")
    d.arrow((240, 94), (240, 152), (142, 152), label="5", at=(190, 145))
    d.text(20, 342, "A node that misses a message sees the hole by the next offset, and reads the missing events from Redis.", kind="small")
    return d


def life():
    d = Drawing(760, 220, "The states of a task")
    d.box(30, 85, 120, 44, "pending")
    d.box(290, 85, 120, 44, "running", "mark")
    for number, (state, kind) in enumerate([("completed", "good"), ("failed", "gap"), ("cancelled", "box")]):
        y = 20 + number * 65
        d.box(590, y, 130, 44, state, kind)
        d.arrow((410, 107), (440, y + 22), (588, y + 22), label=f"task_{state}", at=(515, y + 15))
    d.arrow((150, 107), (288, 107), label="task_started")
    d.arrow((655, 194), (655, 206), (350, 206), (350, 131), dash=True, label="task_started: a new run", at=(450, 198))
    return d


def back():
    d = Drawing(760, 350, "A browser loses the network and comes back")
    left, right = 150, 610
    d.box(left - 65, 15, 130, 36, "browser", "mark")
    d.box(right - 65, 15, 130, 36, "server", "mark")
    d.line((left, 51), (left, 335), dash=True)
    d.line((right, 51), (right, 335), dash=True)
    steps = [
        (1, 82, "GET /ws/tasks/render-7"),
        (-1, 112, "connection_established: epoch a1, offset 2, snapshot"),
        (-1, 142, "event 3"),
        (0, 158, "the network is gone; events 4 and 5 are published"),
        (1, 222, "GET /ws/tasks/render-7?since=a1:3"),
        (-1, 252, "connection_established: recovered"),
        (-1, 282, "events 4 and 5, in one write"),
        (-1, 312, "event 6, live"),
    ]
    for way, y, label in steps:
        if way == 0:
            d.box(left + 30, y, right - left - 60, 34, label, "gap")
        else:
            ends = [(left, y), (right, y)] if way > 0 else [(right, y), (left, y)]
            d.arrow(*ends, label=label)
    return d


def crates():
    d = Drawing(860, 590, "The crates and their dependencies")

    def crate(x, y, name, what, kind="box", width=150):
        d.box(x, y, width, 48, f"{name}\n{what}", kind)

    crate(260, 20, "tidings-server", "the binary", "mark")
    crate(60, 110, "tidings-otlp", "spans to a collector")
    crate(260, 110, "tidings-node", "a whole server, as a library", "mark", 200)
    crate(670, 110, "tidings-cli", "watch, run, publish, bench", width=170)
    crate(20, 200, "tidings-describe", "OpenAPI, AsyncAPI")
    crate(20, 290, "tidings-transport", "WebSocket, SSE, REST", "mark")
    crate(190, 290, "tidings-metrics", "Prometheus text", width=130)
    crate(330, 290, "tidings-auth", "tokens and keys", width=110)
    crate(195, 380, "tidings-connections", "sessions, resume, inboxes", "mark", 180)
    crate(400, 380, "tidings-store", "tasks on disk", width=110)
    crate(520, 380, "tidings-redis", "several nodes", width=110)
    crate(460, 200, "tidings-web", "dashboard, client", width=120)
    crate(590, 200, "tidings-tls", "certificates", width=100)
    crate(700, 200, "tidings-client", "watch, publish", "mark", 140)
    crate(700, 290, "tidings-tracing", "spans as tasks", width=140)
    crate(330, 455, "tidings-bus", "logs, cursors, the pass, retention", "mark", 230)
    crate(650, 425, "tidings-scope", "a task that a program does", width=190)
    crate(650, 505, "tidings-protocol", "ids, events, rules", "mark", 190)
    crate(480, 20, "tidings-python", "the Python package", "mark", 140)
    d.arrow((335, 68), (335, 108))
    d.arrow((300, 68), (160, 108), dash=True)
    d.arrow((395, 68), (735, 108))
    d.arrow((620, 36), (850, 36), (850, 215), (842, 215))
    d.arrow((100, 158), (12, 180), (12, 300), (18, 306))
    d.arrow((290, 158), (120, 198))
    d.arrow((300, 158), (150, 288))
    d.arrow((330, 158), (260, 288))
    d.arrow((360, 158), (385, 288))
    d.arrow((412, 158), (447, 260), (447, 378))
    d.arrow((432, 158), (453, 260), (540, 378))
    d.arrow((440, 158), (510, 198))
    d.arrow((460, 140), (630, 198))
    d.arrow((95, 248), (95, 288))
    d.arrow((110, 338), (220, 378))
    d.arrow((255, 338), (270, 378))
    d.arrow((380, 338), (330, 378))
    d.arrow((320, 428), (370, 453))
    d.arrow((455, 428), (455, 453))
    d.arrow((565, 428), (520, 453))
    d.arrow((560, 472), (648, 455))
    d.arrow((745, 473), (745, 503))
    d.arrow((755, 158), (765, 198))
    d.arrow((770, 290), (770, 250))
    d.arrow((840, 230), (850, 250), (850, 390), (800, 423))
    d.text(20, 540, "An arrow means “depends on”; the dashed one is a feature.", kind="small")
    d.text(20, 557, "Arrows that others imply are left out.", kind="small")
    d.text(20, 574, "The facade “tidings” re-exports the libraries, most of them as features.", kind="small")
    return d


def main(*arguments):
    stale = []
    drawn = crates().svg()
    for crate in (HERE.parents[1] / "crates").iterdir():
        if f">{crate.name}<" not in drawn and crate.name not in ("tidings", "tidings-testkit"):
            sys.exit(f"the drawing of the crates lacks {crate.name}")
    for draw in (log, lag, cluster, life, back, crates):
        path, text = HERE / f"drawing-{draw.__name__}.svg", draw().svg()
        if arguments == ("--check",):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"not fresh: {', '.join(stale)}; run python3 docs/images/draw.py")


main(*sys.argv[1:])
