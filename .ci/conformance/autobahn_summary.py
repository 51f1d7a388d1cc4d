"""Prints the results of Autobahn, one line per section. Fails if a case has failed."""

import json
import sys
from collections import Counter, defaultdict

SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and performance",
    "10": "Automatic fragmentation",
}
GOOD = ["OK", "NON-STRICT", "INFORMATIONAL"]


def main(path):
    with open(path, encoding="utf-8") as file:
        agents = json.load(file)
    counts, bad = defaultdict(Counter), []
    for cases in agents.values():
        for case, result in cases.items():
            section = case.split(".")[0]
            verdict = result["behavior"]
            # The way of closing counts too. The cases 1.* to 6.* report it in the same words.
            if verdict in GOOD and result["behaviorClose"] not in GOOD:
                verdict = "CLOSE " + result["behaviorClose"]
            counts[section][verdict if verdict in GOOD else "FAILED"] += 1
            if verdict not in GOOD:
                bad.append((case, verdict))
    if not counts:
        sys.exit("Autobahn ran no case")
    columns = GOOD + ["FAILED"]
    print("| section | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for section in sorted(counts, key=int):
        row = [str(counts[section][column]) for column in columns]
        print(f"| {section} {SECTIONS.get(section, '')} | " + " | ".join(row) + " |")
    total = sum(sum(section.values()) for section in counts.values())
    print(f"{total - len(bad)} of {total} cases passed")
    for case, verdict in bad:
        print(f"case {case}: {verdict}")
    sys.exit(1 if bad else 0)


main(sys.argv[1])
