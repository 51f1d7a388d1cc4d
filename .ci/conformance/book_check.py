"""Checks the book: every page is listed, and every link has a target.

It refuses what mdBook would refuse, for machines without mdBook. It also finds
relative links and anchors without a target, which mdBook does not notice.
"""

import re
import sys
from pathlib import Path


def anchors(text):
    """Returns the ids that mdBook and GitHub both give to headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        heading = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


def without_code(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def main(book):
    book = Path(book).resolve()
    root = book.parent
    pages = {path.resolve() for path in book.rglob("*.md")} - {book / "SUMMARY.md"}
    summary = (book / "SUMMARY.md").read_text(encoding="utf-8")
    listed = [(book / target).resolve() for target in re.findall(r"\]\(([^)]+\.md)\)", summary)]
    bad = [f"SUMMARY.md lists {page.name} twice" for page in set(listed) if listed.count(page) > 1]
    bad += [f"SUMMARY.md lists {page}, which is not there" for page in listed if page not in pages]
    bad += [f"SUMMARY.md does not list {page.relative_to(book)}" for page in sorted(pages - set(listed))]
    links = 0
    for page in sorted(pages | {root / "README.md"}):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
            if re.match(r"[a-z]+:", target):
                continue
            links += 1
            path, _, anchor = target.partition("#")
            leads = (page.parent / path).resolve() if path else page
            where = page.relative_to(root)
            if not leads.exists():
                bad.append(f"{where}: {target} leads nowhere")
            elif anchor and leads.suffix == ".md" and anchor not in anchors(leads.read_text(encoding="utf-8")):
                bad.append(f"{where}: {target} has no such heading")
    if bad:
        sys.exit("\n".join(bad))
    print(f"{len(pages)} pages, {links} links within the repository: all lead somewhere")


main(sys.argv[1])
