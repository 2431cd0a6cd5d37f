"""Links lead somewhere, files that are named exist, decisions are numbered, and the README stays short."""

import re

from pages import GENERATED, PAGES, README, ROOT, needs_pages, text

pytestmark = needs_pages


def slug(heading):
    """Turn a heading into its anchor, as GitHub and MyST do."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", text(page)):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            if there.resolve().relative_to(ROOT).as_posix().startswith(GENERATED):
                continue  # the build, in which every warning is an error, follows these
            assert there.exists(), f"{page}: {target}"
            if anchor:
                content = there.read_text(encoding="utf-8")
                headings = re.findall(r"^#+ (.*)$", content, re.MULTILINE)
                written = re.findall(r'^<a id="([\w-]+)"></a>$', content, re.MULTILINE)
                assert anchor in {*map(slug, headings), *written}, f"{page}: {target}"


def test_files_of_the_project_that_are_named_exist():
    for page in PAGES:
        named = re.findall(r"`((?:netpick|analysis|templates|tests|benchmarks|docs)/[\w./-]*)`", text(page))
        for name in named:
            assert (ROOT / name).exists() or name in ("analysis/deeper.py", "docs/_build/html"), f"{page}: {name}"


def test_the_readme_is_short():
    assert len(text(README).splitlines()) <= 200


def test_decisions_are_numbered_without_gaps_and_say_when_why_and_what_was_measured():
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    assert [int(path.name[:4]) for path in pages] == list(range(1, len(pages) + 1))
    for number, path in enumerate(pages, 1):
        page = path.read_text(encoding="utf-8")
        assert page.startswith(f"# {number:04d}. "), path.name
        assert re.search(r"^- Date: 20\d\d-\d\d-\d\d$", page, re.MULTILINE), path.name
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["Decision", "Reason", "Measured"], path.name
