"""The pages of whole exams, which `netpick report` writes as Markdown: which there are, and anchors for the site."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "exam"
ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>$', re.MULTILINE)


def anchored(text: str, page: str) -> str:
    """Write HTML's anchors as targets of MyST, which follows no others, and knows those of all pages by one name."""
    names = ANCHOR.findall(text)
    if not names:
        return text
    stem = page.rpartition("/")[2]
    links = re.compile(rf"\]\(#({'|'.join(map(re.escape, names))})\)")
    return links.sub(rf"](#{stem}-\1)", ANCHOR.sub(rf"({stem}-\1)=", text))


def exams() -> str:
    """Return links to the pages that there are, and their place in the contents."""
    pages = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
    if not pages:
        return "No page is written yet."
    titles = (path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in pages)
    links = [f"- [{title}]({path.name})" for path, title in zip(pages, titles, strict=True)]
    return "\n".join([*links, "", "```{toctree}", ":hidden:", "", *(path.stem for path in pages), "```"])
