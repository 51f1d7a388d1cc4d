"""Draws the samples of a soak as one SVG, with one small chart per column."""

import csv
import sys

WIDTH, HEIGHT, LEFT, GAP = 720, 110, 70, 40
CHARTS = [
    ("process_resident_memory_bytes", "resident memory, MiB", 1 / 1048576),
    ("tidings_memory_bytes", "logs, MiB", 1 / 1048576),
    ("process_open_fds", "file descriptors", 1),
    ("tidings_runtime_tasks", "runtime tasks", 1),
    ("tidings_connections", "connections", 1),
    ("tidings_tasks", "tasks known", 1),
]


def main(source, target):
    with open(source, encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    if len(rows) < 2:
        sys.exit("too few samples to draw")
    end = rows[-1]["seconds"]
    parts = []
    for number, (column, title, scale) in enumerate(CHARTS):
        top = GAP + number * (HEIGHT + GAP)
        values = [row[column] * scale for row in rows]
        most = max(values) * 1.1 or 1
        points = " ".join(
            f"{LEFT + row['seconds'] / end * WIDTH:.1f},{top + HEIGHT - value / most * HEIGHT:.1f}"
            for row, value in zip(rows, values)
        )
        parts.append(
            f'<text x="{LEFT}" y="{top - 6}">{title}</text>'
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>'
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>'
            f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
            f'<polyline points="{points}" fill="none" stroke="#0a6" stroke-width="1.5"/>'
        )
    height = GAP + len(CHARTS) * (HEIGHT + GAP) + 10
    parts.append(f'<text x="{LEFT + WIDTH}" y="{height - 20}" text-anchor="end">{end:.0f} s</text>')
    with open(target, "w", encoding="utf-8") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
            f'font-family="sans-serif" font-size="12" fill="#444">'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
        )
    print(f"plot: {target}")


main(*sys.argv[1:])
