import pytest

from netpick.exam import plant
from netpick.exam.run import Run


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A planted exam of the default size, and the truth about it."""
    folder = tmp_path_factory.mktemp("planted") / "run"
    truth = plant(folder)
    return Run(folder), truth


EDGES = {
    "one epoch, no scores": {"epochs": 1, "scores": "none"},
    "no Basic, two classes": {"basic": False, "classes": 2, "epochs": 2},
    "replicates, failures, validation": {
        "replicates": 2, "failed": 2, "diverged": 2, "validation": 50, "epochs": 2, "scores": "last",
    },
    "unfinished": {"pending": 4, "epochs": 2},
}  # fmt: skip


@pytest.fixture(scope="session", params=EDGES, ids=lambda name: name)
def edge(tmp_path_factory, request):
    """A small run in which something is missing or more than usual, and the truth about it."""
    folder = tmp_path_factory.mktemp("edge") / "run"
    truth = plant(folder, 24, 120, **EDGES[request.param])
    return Run(folder), truth
