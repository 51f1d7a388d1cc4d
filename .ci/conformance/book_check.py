"""Checks the book: every page is listed, and every link has a target.

The rendered book holds the files below `docs` alone, so a page links to any other
file by the repository's address, and the file must exist. Diagrams are committed
drawings: mdBook would print a mermaid block as code. A block of code after
`<!-- from FILE -->` is an excerpt of that file, which CI compiles and tests.
"""

import re
import sys
from pathlib import Path


REPOSITORY = re.compile(r"https://github\.com/tidings-rs/tidings/(?:blob|tree)/main/([^#)]+)")


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


def excerpts(page, root):
    """Says which blocks marked `<!-- from FILE -->` are no part of that file."""
    text = page.read_text(encoding="utf-8")
    for source, block in re.findall(r"<!-- from (\S+) -->\n+```\w*\n(.*?)^```", text, re.M | re.S):
        lines = [line.strip() for line in (root / source).read_text(encoding="utf-8").splitlines()]
        # A line of three dots stands for lines that the page leaves out.
        for part in re.split(r"^\s*(?://|#)? ?…$", block, flags=re.M):
            wanted = [line.strip() for line in part.strip().splitlines()]
            if not any(lines[at : at + len(wanted)] == wanted for at in range(len(lines))):
                yield f"{page.relative_to(root)}: this is not in {source}:\n{part.strip()}"


# Quoted by the page on troubleshooting, and not Tidings' own words.
FOREIGN = {"connecting", "blocked by CORS policy", "unexpected argument"}


def quotes(book, root):
    """Says which messages the page on troubleshooting quotes that no program has."""
    page = book / "guides" / "troubleshooting.md"
    sources = [path.read_text(encoding="utf-8") for path in root.glob("crates/*/src/**/*.rs")]
    # A long text goes on in the next line of the source.
    known = re.sub(r"\\\n\s*", "", "\n".join(sources))
    for quoted in set(re.findall(r'"([^"\n]+)"', without_code(page.read_text(encoding="utf-8")))) - FOREIGN:
        if any(part.strip() not in known for part in quoted.split("…")):
            yield f"{page.relative_to(root)}: no program says “{quoted}” any more"


def main(book):
    book = Path(book).resolve()
    root = book.parent
    pages = {path.resolve() for path in book.rglob("*.md")} - {book / "SUMMARY.md"}
    summary = (book / "SUMMARY.md").read_text(encoding="utf-8")
    listed = [(book / target).resolve() for target in re.findall(r"\]\(([^)]+\.md)\)", summary)]
    bad = [f"SUMMARY.md lists {page.name} twice" for page in set(listed) if listed.count(page) > 1]
    bad += [f"SUMMARY.md lists {page}, which is not there" for page in listed if page not in pages]
    bad += [f"SUMMARY.md does not list {page.relative_to(book)}" for page in sorted(pages - set(listed))]
    bad += quotes(book, root)
    links = 0
    for page in sorted(pages | {root / "README.md"}):
        text = page.read_text(encoding="utf-8")
        where = page.relative_to(root)
        if "```mermaid" in text:
            bad.append(f"{where}: a mermaid block is printed as code; draw it in docs/images/draw.py")
        bad += excerpts(page, root)
        found = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
        found += re.findall(r"(?:src|srcset)=\"([^\"]+)\"", without_code(text))
        for target in found:
            if re.match(r"[a-z]+:", target):
                inside = REPOSITORY.match(target)
                links += bool(inside)
                if inside and not (root / inside[1]).exists():
                    bad.append(f"{where}: {target} is not in the repository")
                continue
            links += 1
            path, _, anchor = target.partition("#")
            leads = (page.parent / path).resolve() if path else page
            if page != root / "README.md" and not leads.is_relative_to(book):
                bad.append(f"{where}: {target} is not part of the book; use the repository's address")
            elif page != root / "README.md" and leads.is_dir():
                bad.append(f"{where}: {target} is a folder, which the rendered book cannot show")
            elif not leads.exists():
                bad.append(f"{where}: {target} leads nowhere")
            elif anchor and leads.suffix == ".md" and anchor not in anchors(leads.read_text(encoding="utf-8")):
                bad.append(f"{where}: {target} has no such heading")
    if bad:
        sys.exit("\n".join(bad))
    print(f"{len(pages)} pages, {links} links within the repository: all lead somewhere")


main(sys.argv[1])
