"""What the shell completes: runs, questions and networks. Says nothing, and fails in silence: nobody has asked yet."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import typer


def runs(incomplete: str) -> list[str]:
    """Return the runs in ./runs that begin so."""
    return _beginning(incomplete, [str(file.parent) for file in sorted(Path("runs").glob("*/run.toml"))])


def questions(incomplete: str) -> list[str]:
    """Return the questions that begin so; the user's own are not imported."""
    from netpick.exam.questions import aliases, names, own_files

    return _beginning(incomplete, [*names(), *aliases(), *own_files()])


def runs_or_questions(incomplete: str) -> list[str]:
    """Return what can come first after `ask`."""
    return [*runs(incomplete), *questions(incomplete)]


def networks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the networks that begin so, of the run that is named before, or else of the newest."""
    from netpick.store.folder import Store
    from netpick.store.runs import newest_run

    with contextlib.suppress(Exception):
        given = ctx.params.get("first") or ctx.params.get("run")
        folder = given if given and os.path.isfile(Path(given) / "run.toml") else newest_run()
        return _beginning(incomplete, Store.open(folder).catalogue.column("name").to_pylist())
    return []


def runs_or_networks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what can come first where a network is wanted."""
    return [*runs(incomplete), *networks(ctx, incomplete)]


def _beginning(incomplete: str, words: list[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
