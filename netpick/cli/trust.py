"""The part of the command line that passes runs on, and says whether one can be trusted: publish, check, verify.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netpick.cli import options
from netpick.cli.screen import console, say, sentence
from netpick.core.errors import RunError, WorkError

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


@app.command()
def publish(
    run: options.NewestRun = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="New folder of the data set.")] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="Its licence, such as cc-by-4.0.")
    ] = None,
    creator: Annotated[str | None, typer.Option(metavar="NAME", help="Who is to be named; you, by your login.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="images|weights", help="Leave these out; repeatable.")
    ] = None,
) -> None:
    """Write a run as a data set: merged tables, a card, Croissant metadata, checksums; Run(FOLDER) opens it."""
    import getpass

    from netpick.core.words import counted_word, size
    from netpick.report import publish_run

    if to is None or license_name is None:
        raise RunError("wants --to FOLDER, a new one, and --license NAME, such as cc-by-4.0 or mit")
    left_out = set(without or ())
    if unknown := left_out - {"images", "weights"}:
        raise RunError(f"--without: wants images or weights, got '{min(unknown)}'")
    published = publish_run(
        options.run_folder(run),
        to,
        license_name,
        creator or getpass.getuser(),
        images="images" not in left_out,
        weights="weights" not in left_out,
    )
    say(f"{published.folder}: {counted_word(published.files, 'file')}, {size(published.bytes)}")
    say(f"what others do with it: {published.folder}/README.md")


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
