"""The warm process that all cases are forked from: the runs that they copy are made, what they import is imported."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from .box import Kind, make_bases
from .runs import QUESTIONS


def warm(kinds: Iterable[Kind], bases: Path) -> None:
    """Make the runs that cases copy, and import once for all cases what netpick's commands import.

    Both are done in processes of their own, so that no threads of libraries are left in this one.
    """
    kinds = tuple(kinds)
    heavy = any(kind.torch for kind in kinds)
    importlib.import_module("netpick.cli")
    # Typer builds all of the commands anew for each that is given: most of the time of a case that is refused.
    typer_main = importlib.import_module("typer.main")
    vars(typer_main)["get_command"] = functools.lru_cache(typer_main.get_command)
    if heavy:
        importlib.import_module("torch").set_num_threads(1)
    bases.mkdir(parents=True, exist_ok=True)
    names = {base for kind in kinds for base in kind.bases}
    _in_a_fork(lambda: _prepare(bases, names, heavy), bases / "prepare.log")
    for module in (bases / "modules").read_text().split():
        with suppress(Exception):
            importlib.import_module(module)


def _prepare(bases: Path, names: set[str], heavy: bool) -> None:
    """Make the runs, give the commands once on what is not spoilt, and write down what was imported for them."""
    from netpick.cli import main

    before = set(sys.modules)
    run, out = str(bases / "planted"), bases / "rehearsal"
    out.mkdir()
    make_bases(bases, names)
    for question in QUESTIONS:
        importlib.import_module(f"netpick.analysis.{question}")
    commands = [["status", run], ["show", run, "Basic"], ["pick", run], ["ask", run, "nothing"]]
    commands += [["ask", run, "weird", "--plot", str(out / "plot.svg")]]
    commands += [["export", run, "Basic", "--to", str(out / "net.py")]]
    if "digits" in names:
        commands += [["estimate", str(bases / "digits"), "--seconds", "0", "--device", "cpu"]]
    elif heavy:
        commands += [["generate", "smoke", "--dataset", "digits", "--limit", "1", "--run", str(out / "made")]]
    for command in commands:
        with suppress(SystemExit):
            main(command)
    # netpick imports torchvision in a way of its own, without its compiled part
    there = [n for n in sys.modules if n not in before and "main__" not in n and not n.startswith("torchvision")]
    (bases / "modules").write_text("\n".join(there))


def _in_a_fork(work: Callable[[], None], log: Path) -> None:
    """Do something in another process, so that no threads of libraries are left in this one."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with open(log, "wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  said by who waits for it
            os.write(2, traceback.format_exc().encode())
        os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit(f"a run to attack can't be made: {log.read_text(errors='replace')[-1500:]}")
