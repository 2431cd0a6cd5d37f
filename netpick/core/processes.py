"""How the processes that we start begin: with nothing of the folder where the user stands.

What they do is no concern of this module.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Have the processes that are started meanwhile look for modules where this one does, not in the current folder.

    joblib starts its workers by `python -m`, which puts the current folder first: a `random.py` or a `queue.py` there
    would be executed in the place of Python's own, and no worker would start.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
