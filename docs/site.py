#!/usr/bin/env python3
"""Lays the documents out for MkDocs, which makes a searchable site of them.

  site.py DIRECTORY    writes DIRECTORY/mkdocs.yml and DIRECTORY/pages

The pages keep their places in the project, so that links between them hold; files they link to are
copied beside them. A block's second word, which is for the tests, is left out.
"""
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def title(path):
    return re.search(r"^# (.*)$", path.read_text(), re.M)[1].replace("`", "")


def linked(page):
    """The files of the project that a page links to."""
    for target in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve()
        if file.is_file() and file.is_relative_to(ROOT):
            yield file


def main(directory):
    pages = directory / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    documents = sorted((ROOT / "docs").rglob("*.md")) + [ROOT / "README.md"]
    known, copied = set(documents), set()
    for page in documents:  # grows by the pages that are linked to
        for file in linked(page):
            if file.suffix == ".md" and file not in known:
                known.add(file)
                documents.append(file)
            copied.add(file)
    for file in sorted(copied | known):
        to = pages / file.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        if file in known:
            to.write_text(re.sub(r"^```(\w+) \w+$", r"```\1", file.read_text(), flags=re.M))
        else:
            shutil.copyfile(file, to)

    def entry(page):
        return {title(page): page.relative_to(ROOT).as_posix()}

    # The order in which README.md names the documents, then the others.
    named = [f for f in linked(ROOT / "README.md") if f.suffix == ".md"]
    order = list(dict.fromkeys(named + sorted(known - {ROOT / "README.md"})))
    top = [f for f in order if f.parent == ROOT / "docs"]
    nav = [{"plait": "README.md"}] + [entry(f) for f in top]
    for folder in sorted({f.parent for f in known} - {ROOT, ROOT / "docs"}):
        inside = sorted((f for f in known if f.parent == folder), key=lambda f: (f.name != "README.md", f.name))
        nav.append({folder.relative_to(ROOT).as_posix().removeprefix("docs/"): [entry(f) for f in inside]})
    settings = (ROOT / "docs" / "mkdocs.yml").read_text()
    (directory / "mkdocs.yml").write_text(f"{settings}nav: {json.dumps(nav)}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
