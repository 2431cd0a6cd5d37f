"""gpu.py and its parts as a fixture, for the tests of both."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    """gpu.py and its parts, as they are run: with their own folder first on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        before = set(sys.modules)
        import gpu
        from _gpu import equality, judged, lanes, part, precision, stand_in, study, table

        parts = {one.NAME: one for one in gpu.PARTS}
        modules = [gpu, equality, judged, lanes, part, precision, stand_in, study, table]
        yield Namespace(**{one.__name__.removeprefix("_gpu."): one for one in modules}, parts=parts)
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("gpu", "_gpu", "_common"):
                del sys.modules[name]
