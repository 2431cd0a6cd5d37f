"""What the site takes from the code: tables of keys, layers, columns and commands, the gallery, the Python reference.

Two mechanisms. A line `{{ name }}` in a page is replaced by the text that `TABLES[name]` makes. And whole pages, one a
question and one a room, are written before the build into folders that git ignores. Nothing of netpick is described
here: what is printed comes from the code that parses, checks or answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netpick_docs import columns, commands, engines, exams, explored, gallery, keys, layers, python_api

TABLES: dict[str, Callable[[], str]] = {
    "keys_of_a_template": keys.of_a_template,
    "keys_of_a_cell": keys.of_a_cell,
    "keys_of_the_recipe": keys.of_the_recipe,
    "keys_of_augment": keys.of_augment,
    "arguments_of_optimizers": keys.of_optimizers,
    "computations": layers.computations,
    "activations": layers.activations,
    "layers": layers.layers,
    "options": layers.options,
    "whole_networks": layers.whole_networks,
    "templates": layers.templates,
    "data_sets": layers.data_sets,
    "engines": engines.engines,
    "compiled": engines.compiled,
    "columns": columns.columns,
    "short_columns": columns.short,
    "commands": commands.commands,
    "rooms": python_api.rooms,
    "cards": gallery.grouped,
    "exams": exams.exams,
}
PLACE = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)


def expanded(text: str) -> str:
    """Return a page with its tables in their places; KeyError where there is no such table."""
    return PLACE.sub(lambda place: TABLES[place[1]]().rstrip("\n"), text)


def write_pages(folder: Path, pages: dict[str, str | bytes]) -> None:
    """Write generated pages and figures into a folder of their own, and remove what was left there by another build."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, content in pages.items():
        data = content.encode() if isinstance(content, str) else content
        if not (folder / name).is_file() or (folder / name).read_bytes() != data:
            (folder / name).write_bytes(data)


def _before_build(app: Any) -> None:
    source = Path(app.srcdir)
    write_pages(source / "gallery" / "questions", gallery.pages())
    write_pages(source / "reference" / "rooms", python_api.pages())
    write_pages(source / "_static" / "explorer", explored.pages())


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = exams.anchored(expanded(source[0]), docname)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", _before_build)
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
