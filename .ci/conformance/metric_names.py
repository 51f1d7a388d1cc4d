"""Checks that alerts and dashboard use only metrics that the server has.

It also writes the dashboard's queries as rules, so that promtool can parse them.
"""

import json
import re
import sys
from pathlib import Path


def main(scrape, rules, docs):
    known = set()
    for line in Path(scrape).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            known.add(re.match(r"[a-z_]+", line).group())
    dashboard = json.loads(Path(docs, "grafana.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    texts = {
        "grafana.json": "\n".join(queries),
        "alerts.yml": "\n".join(
            re.findall(r"expr: (.*)", Path(docs, "alerts.yml").read_text(encoding="utf-8"))
        ),
        "metrics.md": "\n".join(
            re.findall(r"^\| `([a-z_]+)", Path(docs, "metrics.md").read_text(encoding="utf-8"), re.M)
        ),
    }
    unknown = [
        f"{file}: there is no metric {name}"
        for file, text in texts.items()
        for name in sorted(set(re.findall(r"\b(?:tidings|process)_[a-z_]+", text)))
        if name not in known and not any(f"{name}_{end}" in known for end in ("bucket", "total"))
    ]
    undocumented = [
        f"metrics.md: {name} is not there"
        for name in sorted(known)
        if re.sub(r"_(bucket|sum|count)$", "", name) not in texts["metrics.md"].split()
    ]
    if unknown or undocumented:
        sys.exit("\n".join(unknown + undocumented))
    with open(rules, "w", encoding="utf-8") as file:
        file.write("groups:\n  - name: dashboard\n    rules:\n")
        for number, query in enumerate(queries):
            query = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
            file.write(f"      - record: dashboard:query_{number}\n        expr: {json.dumps(query)}\n")
    print(f"{len(known)} series names, {len(queries)} queries of the dashboard: all known")


main(*sys.argv[1:])
