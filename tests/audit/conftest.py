"""The runs that are audited: planted ones, of two shapes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from audit.raw import Raw
from manifests import unsealed

from netpick.exam import plant
from netpick.exam.run import Run

NAMES = ("shirt", "ankle boot", "bag", "coat", "dress", "T-shirt or top", "sandal", "sneaker", "trousers", "pullover")
SHAPES: dict[str, dict[str, Any]] = {
    "replicates, failures and named classes": {
        "networks": 40, "samples": 120, "replicates": 3, "epochs": 3, "failed": 2, "diverged": 1, "pending": 1,
        "seed": 3,
    },
    "two classes, one training each": {
        "networks": 45, "samples": 120, "classes": 2, "epochs": 2, "validation": 60, "seed": 5, "scores": "last",
    },
}  # fmt: skip


class Audited(NamedTuple):
    """A run as netpick reads it, and as its files have it."""

    run: Run
    raw: Raw


@pytest.fixture(scope="session", params=SHAPES, ids=lambda name: name.split(",")[0])
def audited(tmp_path_factory, request):
    """A planted run; where there are replicates, one network lacks the first of them."""
    folder = tmp_path_factory.mktemp("audited") / "run"
    size = SHAPES[request.param]
    plant(folder, **size)
    if "replicates" in size:
        _name_classes(folder)
        hashes = Raw(folder).table("networks").set_index("name")["hash"]
        for name in ("trainings", "epochs", "predictions"):
            (folder / name / f"{hashes['Basic'][:16]}-0.parquet").unlink()
    return Audited(Run(folder), Raw(folder))


def _name_classes(folder):
    manifest = folder / "run.toml"
    names = "".join(f'    "{name}",\n' for name in NAMES)
    manifest.write_text(re.sub(r"classes = \[.*?\]", f"classes = [\n{names}]", unsealed(manifest), flags=re.DOTALL))
