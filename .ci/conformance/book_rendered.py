"""Follows every link and picture of the rendered book, as a browser would."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.targets, self.languages = set(), [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        wanted = {"a": "href", "link": "href", "img": "src", "script": "src"}.get(tag)
        if wanted and attributes.get(wanted):
            self.targets.append(attributes[wanted])
        if tag == "code":
            self.languages.update((attributes.get("class") or "").split())


def main(book):
    book = Path(book).resolve()
    # print.html repeats all pages; 404.html is served from any depth.
    paths = [path for path in sorted(book.rglob("*.html")) if path.name not in ("print.html", "404.html", "toc.html")]
    pages = {path: Page(path) for path in paths}
    bad, links = [], 0
    for path, page in pages.items():
        where = path.relative_to(book)
        if "language-mermaid" in page.languages:
            bad.append(f"{where}: a diagram is printed as code")
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            leads = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not leads.is_file():
                bad.append(f"{where}: {target} leads nowhere")
            elif parts.fragment and leads in pages and unquote(parts.fragment) not in pages[leads].ids:
                bad.append(f"{where}: {target} has no such heading")
    if bad or not links:
        sys.exit("\n".join(bad) or "the book has no links")
    print(f"{len(pages)} rendered pages, {links} links and pictures: all lead somewhere")


main(sys.argv[1])
