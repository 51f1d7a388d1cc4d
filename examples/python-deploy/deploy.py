"""A deploy script that asks a person before it goes on.

    pip install tidings
    python deploy.py [TASK]               against http://127.0.0.1:8000, or TIDINGS_URL
    tidings get deploy-7                  from elsewhere: shows the open question
    tidings answer deploy-7 go :=true     or on the page /tasks/deploy-7

Exit code: 0 when version 7 was deployed, 2 when somebody said no.
"""

from __future__ import annotations

import sys

import tidings


def main(task_id: str) -> int:
    with tidings.Client() as client, client.task(task_id, name="Deploy version 7") as task:
        task.progress(20, "all tests pass")
        go = task.ask("Deploy version 7 to production?", {"type": "boolean"}, input_id="go")
        if not go:
            task.cancel("somebody does not want this version")
            return 2
        replicas = task.ask(
            "How many replicas?",
            {"type": "integer", "minimum": 1, "maximum": 5},
            input_id="replicas",
        )
        for replica in range(replicas):
            task.progress(20 + 80 * (replica + 1) / replicas, f"replica {replica + 1} runs")
        task.result = {"replicas": replicas}
    print(f"deployed {replicas} replicas")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or ["deploy-7"]))
