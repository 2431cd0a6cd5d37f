"""The pages of the documentation as the tests here read them: texts, blocks of code, tables."""

import re
import shlex
from pathlib import Path

import pytest

from netpick_docs import expanded

ROOT = Path(__file__).parents[2]
README, CONTRIBUTING, TEMPLATE, MEASURED = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/howto/template.md",
    "docs/explanation/measured.md",
)
GENERATED = ("docs/_build", "docs/gallery/questions", "docs/reference/rooms")
SITE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if not path.relative_to(ROOT).as_posix().startswith(GENERATED)
)
PAGES = (README, CONTRIBUTING, "CHANGELOG.md", "runs/README.md", "benchmarks/README.md", *SITE)
needs_pages = pytest.mark.skipif(not (ROOT / README).is_file(), reason="the documentation is not installed")


def text(page):
    """Return a page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


def built(page):
    """Return a page with the tables that are made from the code."""
    return expanded(text(page))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def shell_commands(page):
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            for command in re.split(r"&&", line.partition("  #")[0]):
                if command.strip():
                    yield shlex.split(command)


def tables(page_text):
    """Return all tables of a text, each as a list of rows of cells, headings first."""
    plain = re.sub(r"^```.*?^```$", "", page_text, flags=re.MULTILINE | re.DOTALL)
    out = []
    for found in re.findall(r"(?:^\|.*\n)+", plain, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in found.splitlines()]
        assert set("".join(rows[1])) <= set("-: ")
        out.append([rows[0], *rows[2:]])
    return out


def table(page, heading, number=0):
    """Return the rows of one of the tables under a heading, each as a list of cells."""
    section = re.split(rf"^#+ {re.escape(heading)}$", built(page), maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", re.sub(r"^```.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL), flags=re.M)[0]
    return tables(section)[number][1:]


def words(cell):
    return re.findall(r"`([^`]*)`", cell)
