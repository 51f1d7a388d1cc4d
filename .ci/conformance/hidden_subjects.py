"""Counts words that hide the subject of a sentence, page by page.

`hidden.txt` holds the exact number that each page may have of each. More fail,
and so do fewer: then `.ci/words --write` lowers the number for good.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = Path(__file__).with_name("hidden.txt")

# At the start of a sentence, a list item or a cell of a table.
START = r"(?:^|(?<=[.!?:;|] )|(?<=\*\* )|(?<=\* ))"
HIDING = {
    "Who …": START + r"Who\b(?! (?:am|are|can|does|is|may)\b[^.]*\?)",
    "What … (no question)": START + r"What\b(?![^.!|]*\?)",
    "Whatever": r"\b[Ww]hatever\b",
    "Whoever": r"\b[Ww]hoever\b",
    "Of a/the/what …": START + r"Of (?:a|an|the|these|those|what|which|several|all)\b",
    "whom": r"\b[Ww]hom\b",
    "of which": r"\bof which\b",
    "those who/that": r"\b[Tt]hose (?:who|that)\b",
    "somebody who": r"\b(?:[Ss]omebody|[Nn]obody|[Ee]verybody|[Aa]nybody) who\b",
    "of its/one's own": r"\bof (?:one's|our) own\b",
    "by itself": r"\bby (?:itself|themselves)\b",
    "is … doing": r"\bis the [a-z']+(?: and the [a-z']+)? doing\b",
    "what is said": r"\bwhat is (?:said|rare|left|behind|free|missed|due)\b",
    ", else": r", else\b(?! if)",
    "as ever": r"\bas ever\b",
    "of yours/theirs": r"\bof (?:yours|ours|theirs|his|hers)\b",
    "goes on": r"\b(?:goes?|went|going) on\b",
    "may come in": r"\bmay come in\b|\blet in\b",
}
HIDING = {name: re.compile(pattern, re.M) for name, pattern in HIDING.items()}


def pages():
    book = [path for path in (ROOT / "docs").rglob("*.md")]
    # The API's pages are generated, and the changelog is history.
    left_out = {ROOT / "docs" / "api", ROOT / "docs" / "CHANGELOG.md"}
    return [ROOT / "README.md"] + sorted(path for path in book if not left_out & {path, *path.parents})


def prose(path):
    """The text of a page without code, links' addresses and generated tables."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    text = re.sub(r"<!-- options: .*?<!-- end of options -->", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->|<[a-z/][^>]*>", "", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"`[^`\n]*`", "CODE", text)


def counts():
    found = {}
    for path in pages():
        text = prose(path)
        for name, pattern in HIDING.items():
            number = len(pattern.findall(text))
            if number:
                found[path.relative_to(ROOT).as_posix(), name] = number
    return found


def comments():
    """Prints how many such words the comments of each crate have, and where; not checked."""
    for crate in sorted((ROOT / "crates").iterdir()):
        places = []
        for path in sorted(crate.rglob("*.rs")):
            code = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            found = ((number, re.match(r" *//[/!]? ?(.*)$", line)) for number, line in code)
            lines = [(number, comment[1]) for number, comment in found if comment]
            text = re.sub(r"`[^`\n]*`", "CODE", "\n".join(line for _, line in lines))
            for name, pattern in HIDING.items():
                for match in pattern.finditer(text):
                    number, line = lines[text.count("\n", 0, match.start())]
                    places.append(f"\t{path.relative_to(ROOT)}:{number}\t{name}\t{line}")
        print(f"{len(places)}\t{crate.name}")
        print(*places, sep="\n", end="\n" if places else "")


def show(found):
    return "".join(f"{page}\t{name}\t{number}\n" for (page, name), number in sorted(found.items()))


def advise(path):
    """Prints the long sentences of a page, and the words that hide a subject."""
    text = prose(path)
    plain = re.sub(r"\]|\[|\*\*|^#.*$", "", text, flags=re.M)
    for unit in re.split(r"\n\s*\n|\n(?=[*|>]|\d+\. )|(?<=[.!?]) | \| |\|", plain):
        words = re.findall(r"[\w'’/.,-]*\w[\w'’/.,-]*", unit)
        if len(words) > 25:
            print(f"{len(words)}\t{' '.join(unit.split())}")
    for name, pattern in HIDING.items():
        for match in pattern.finditer(text):
            print(f"{name}\t…{text[match.start() : match.end() + 50]!r}")


def check(found):
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    allowed = {(page, name): int(number) for page, name, number in (line.split("\t") for line in lines)}
    bad = []
    for key in sorted(set(found) | set(allowed)):
        now, before = found.get(key, 0), allowed.get(key, 0)
        if now > before:
            bad.append(f"{key[0]}: “{key[1]}” {now} times, {before} allowed: name the subject instead")
        elif now < before:
            bad.append(f"{key[0]}: “{key[1]}” only {now} times now: lower the number with .ci/words --write")
    if bad:
        sys.exit("\n".join(bad))
    print(f"{len(pages())} pages, {sum(found.values())} words that hide a subject, as many as are allowed")


def main(wish=None, *names):
    if wish is None:
        check(counts())
    elif wish == "--write":
        ALLOWED.write_text(show(counts()), encoding="utf-8")
    elif wish == "--comments":
        comments()
    elif wish == "--long":
        for name in names:
            advise(Path(name))
    else:
        sys.exit(f"{wish}: see the head of .ci/words")


main(*sys.argv[1:])
