"""The explorer that is embedded in its page: of the planted exam that the gallery is made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from netpick.exam import plant
from netpick.exam.run import Run
from netpick.report.explorer.page import write_explorer
from netpick_docs.gallery import SIZE


def pages() -> dict[str, str | bytes]:
    """Plant the exam, and return its page."""
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder) / "planted", **SIZE)
        page = Path(folder) / "explore.html"
        write_explorer(Run(Path(folder) / "planted"), page)
        return {page.name: page.read_bytes()}
