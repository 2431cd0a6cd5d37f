"""The part of the command line that looks after runs: import, relabel, list, status, compact, remove.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from netpick.cli import options
from netpick.cli.screen import console, printable, say, sentence, show_frame
from netpick.core.advice import command
from netpick.core.errors import RunError, listed

app = typer.Typer()

WATCH_SECONDS = 2.0
"""Between two looks of `status --watch`."""


@app.command("list")
def list_(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where the runs lie.")] = "runs",
    form: options.Form = "table",
) -> None:
    """List the runs in a folder: data set, networks, how far each has come, size."""
    import pandas as pd

    from netpick.core.words import size
    from netpick.store.runs import states

    found = states(folder)
    if not found:
        say(f"no run in {folder}: {command('generate', 'smoke')} makes one")
        return
    rows = [
        {
            "run": printable(str(run.path)),
            "data": run.dataset,
            "networks": run.networks,
            "state": run.state,
            "size": size(run.bytes) if form == "table" else run.bytes,
            "generated": run.created.strftime("%Y-%m-%d %H:%M") if run.created else "",
        }
        for run in found
    ]
    show_frame(pd.DataFrame(rows), form, rows=len(rows))


@app.command()
def status(
    run: options.NewestRun = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every other second; Ctrl-C ends that.")] = False,
) -> None:
    """Say how far a run has come; works while it is being trained."""
    folder = options.run_folder(run)
    while watch:
        console.clear()
        summarise(folder, status=True)
        if not _is_trained(folder):
            return
        time.sleep(WATCH_SECONDS)
    summarise(folder, status=True)


@app.command("import")
def import_(
    predictions: Annotated[
        str, typer.Argument(metavar="FILE", help="Answers, .csv or .parquet: a row an answer, or a column a network.")
    ],
    run: Annotated[
        str | None, typer.Option("--run", help="Folder of the run, new or of such imports; runs/NAME of the file.")
    ] = None,
    students: Annotated[
        str | None, typer.Option(metavar="FILE", help="A row a network: params, macs, ..., computation, what you like.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Columns sample and label, where FILE has no column label.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME|none", help="Data set whose test samples were answered, by number.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Images of the samples, each named after its own.")
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a run of answers that classifiers from elsewhere gave, or add some to such a run; all questions ask it."""
    from netpick.core.words import counted_word
    from netpick.sessions import import_run

    made = import_run(predictions, run, students, labels, dataset, images, data_dir)
    for note in made.notes:
        say(f"note: {note}")
    samples = counted_word(made.samples, "sample")
    sentence(f"{made.store.path}: {counted_word(len(made.networks), 'network')} with answers to {samples}")
    say(f"next: {command('ask', made.store.path)}")


@app.command()
def relabel(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.", autocompletion=options.runs)],
    fixes: Annotated[str, typer.Argument(metavar="FILE", help="As netpick ask RUN suspects --to FILE writes it.")],
    to: Annotated[str, typer.Option("--run", metavar="FOLDER", help="Folder of the new run.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the answers, where they can't be shared.")] = False,
) -> None:
    """Make a run of the same answers with labels put right: all that follows from labels is counted anew."""
    from netpick.core.words import counted_word
    from netpick.sessions import relabel_run

    made = relabel_run(run, fixes, to, copy)
    each = listed(f"{counted_word(number, 'label')} of {split}" for split, number in made.changed.items())
    sentence(f"{made.folder}: the answers of {run}, with {each} changed, of {made.samples:,} in all")
    say(f"next: {command('ask', made.folder, 'best', '--against', run)}")


@app.command()
def compact(run: options.NewestRun = None) -> None:
    """Merge a run's many small Parquet files into few large ones."""
    from netpick.store.folder import Store

    store = Store.open(options.run_folder(run))
    with store.lock():
        for table, (before, after) in store.compact().items():
            say(f"{store.path}/{table}: {before} files before, {after} now")


@app.command()
def remove(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.", autocompletion=options.runs)],
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Remove a run, results and all, after asking; a folder with files of yours in it is left alone."""
    from netpick.store.removal import check_removable
    from netpick.store.removal import remove as remove_run
    from netpick.store.runs import state

    folder = Path(run)
    if not os.path.isdir(folder):
        raise RunError(f"no run at {run}: {command('list')} says which there are")
    check_removable(folder)
    held = state(folder)
    if not yes:
        say(f"{folder}: {held.networks} networks for {held.dataset or 'nothing known'}, {held.state}")
        if not typer.confirm("Remove it, with all its results?"):
            say("nothing was removed")
            raise typer.Exit(1)
    remove_run(folder)
    folder.rmdir()
    say(f"removed: {folder}")


def summarise(folder: Path, status: bool = False) -> None:
    """Print what a run has come to."""
    from netpick.cli.summary import activity, print_summary, where
    from netpick.exam.run import Run
    from netpick.store.folder import Store

    store = Store.open(folder)
    run = Run(folder)
    print_summary(run, Counter(run.trainings["status"]))
    events = store.events()
    if store.imported:
        say(f"imported from {listed(store.imported.get('files', []))}")
    elif run.relabelled:
        say(f"the answers of another run by other labels: {run.relabelled}")
    elif status and len(run.trainings) and not any(event["event"] == "begin" for event in events):
        say(f"what its sessions did is not known: {store.path}/events.jsonl is missing, or can't be read")
    elif status:
        for line in activity(events, store.in_use()):
            say(line)
    say(where(run))


def _is_trained(folder: Path) -> bool:
    from netpick.store.locking import in_use

    return in_use(folder)
