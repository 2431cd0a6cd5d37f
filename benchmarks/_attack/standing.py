"""Faults of the place where the user stands: files there that have the names of modules, and somebody's questions."""

from __future__ import annotations

import random

from .box import Attempt, Box, Kind
from .runs import training

MODULES = ("random", "queue", "numpy", "json", "torch", "joblib", "netpick", "sitecustomize", "usercustomize", "abc")
MODULES += ("pandas", "logging", "tempfile", "pickle", "site", "readline", "templates", "_locale", "secrets", "numba")


def standing(rng: random.Random, box: Box) -> Attempt:
    """Stand in a folder with such files, and give an everyday command."""
    run = box.copy(rng.choice(("planted", "digits")))
    kind = rng.choice(("module", "module", "package", "question"))
    if kind == "question":
        (box.here / "analysis").mkdir()
        names = [rng.choice(("x", "weird", "__init__", "_votes", "scores"))]
        for name in names:
            (box.here / "analysis" / f"{name}.py").write_text('"""Mine?"""\n' + box.payload())
    else:
        names = rng.sample(MODULES, 3)
        for name in names:
            file = box.here / (f"{name}.py" if kind == "module" else f"{name}/__init__.py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(box.payload() + "raise ImportError('not the real one')\n")
    folder, made = str(run), str(box.out / "made")
    command = rng.choice(
        (
            ("status", folder),
            ("ask", folder),
            ("ask", folder, "easy"),
            ("ask", folder, "easy", "--help"),
            ("show", folder, "Basic"),
            ("generate", "smoke", "--limit", "3", "--dataset", "digits", "--run", made),
            ("estimate", folder, "--seconds", "0"),
            ("templates",),
            training(box),
            training(box),
        )
    )
    return Attempt(f"{kind} {', '.join(names)}, {command[0]}", (command,), alone=True)


KINDS = (
    Kind(
        "standing", "files where the user stands that look like modules", standing, 5, ("planted", "digits"), together=1
    ),
)
