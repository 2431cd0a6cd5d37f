"""The part of the command line that says whether a run can be trusted: check, verify.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netpick.cli import options
from netpick.cli.screen import console, say, sentence
from netpick.core.errors import WorkError

if TYPE_CHECKING:
    from netpick.sessions.verification import Verification

app = typer.Typer()

SHOWN = 20
"""Faults that are printed; of the others it is said how many they are."""


@app.command()
def check(run: options.NewestRun = None) -> None:
    """Read every file of a run whole, and say what has rotted or is missing."""
    from netpick.sessions import check_run

    folder = options.run_folder(run)
    _tell(check_run(folder), str(folder))


@app.command()
def verify(
    run: options.NewestRun = None,
    retrain: Annotated[
        int, typer.Option("--retrain", metavar="K", min=0, help="Train K of its networks again, and compare.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Which ones; else drawn anew each time.")] = None,
    device: options.Device = "auto",
    workers: options.Workers = "auto",
    data_dir: options.DataDir = None,
    module: options.Modules = None,
    trust: options.Trust = None,
) -> None:
    """Say whether a run is what it says: its files whole, its numbers worked out anew, K trainings done again."""
    from netpick.cli.progress import ProgressListener
    from netpick.sessions import Options, verify_run

    settings = Options(
        device=device,
        workers=options.worker_count(workers),
        data_dir=data_dir,
        modules=module or (),
        trust=trust,
    )
    folder = options.run_folder(run)
    with ProgressListener(console) as listener:
        shown = console.is_terminal
        verified = verify_run(
            folder,
            settings,
            retrain,
            seed,
            listener.note,
            listener.progress if shown else lambda text, done, total: None,
        )
    _tell(verified, str(folder))


def _tell(verified: Verification, folder: str) -> None:
    """Print what was found; raises WorkError where something does not hold."""
    for line in verified.said:
        sentence(line)
    for line in verified.faults[:SHOWN]:
        say(f"fault: {line}", "red", error=True)
    if more := verified.faults[SHOWN:]:
        say(f"fault: and {len(more)} more", "red", error=True)
    if verified.faults:
        raise WorkError(f"{folder} is not what it says: {len(verified.faults)} faults, told above")
    sentence("All of it holds.")
