"""The part of the command line that says what things take: estimate, time.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from netpick.cli import options
from netpick.cli.completion import runs_or_networks
from netpick.cli.screen import Format, console, data, grid, say, show_frame
from netpick.core.errors import RunError, WorkError, listed

if TYPE_CHECKING:
    from netpick.sessions.forecast.estimate import Estimate

app = typer.Typer()


@app.command()
def estimate(
    run: options.NewestRun = None,
    device: options.Device = "auto",
    workers: options.Workers = "auto",
    epochs: options.Epochs = None,
    overrides: options.Overrides = None,
    precision: options.Precision = None,
    plan: options.Plan = None,
    scores: options.Scores = None,
    weights: options.Weights = None,
    data_dir: options.DataDir = None,
    retry: options.Retry = None,
    module: options.Modules = None,
    trust: options.Trust = None,
    scheduler: options.Scheduler = None,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="N", help="What timing some networks may take, 60 at most; 0 for a rough guess."),
    ] = None,
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Say what netpick train with the same options would take: time, disk, memory, the costliest networks."""
    from netpick.sessions import Listener, Options, estimate_run

    class Notes(Listener):
        def note(self, text: str) -> None:
            if form == "table":
                say(f"{text} ...", "dim")

    if seconds is not None and not 0 <= seconds <= 60:
        raise RunError(f"--seconds: wants a number from 0 to 60, got {seconds:g}")
    settings = Options(
        device=device,
        workers=options.worker_count(workers),
        epochs=epochs,
        overrides=overrides or (),
        scores=scores,
        weights=weights,
        data_dir=data_dir,
        retry=retry or (),
        precision=precision,
        plan=plan,
        modules=module or (),
        trust=trust,
        cluster=options.cluster(scheduler, tls_ca, tls_cert, tls_key),
    )
    estimated = estimate_run(options.run_folder(run), settings, seconds, Notes())
    if form == "json":
        data(f"{estimated.to_json()}\n")
        return
    say(estimated.text)
    if estimated.costliest:
        _print_costliest(estimated)


@app.command("time")
def time_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [NETWORK]...",
            help="Folder of the run, the newest one in ./runs; names of networks, or else all.",
            autocompletion=runs_or_networks,
        ),
    ] = None,
    computation: options.Computations = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only N networks, spread over computations and sizes.")
    ] = None,
    devices: Annotated[
        str, typer.Option(metavar="LIST", help="Such as cpu or cpu,cuda,mps; those that are not there are left out.")
    ] = "auto",
    threads: Annotated[str, typer.Option(metavar="LIST", help="Threads on the CPU, such as 1,2.")] = "1",
    seconds: Annotated[float, typer.Option(min=0.05, help="For one network on one device, about.")] = 0.6,
    module: options.Modules = None,
    trust: options.Trust = None,
    busy: Annotated[bool, typer.Option("--busy", help="Measure although other processes use the machine.")] = False,
    data_dir: options.DataDir = None,
    add: Annotated[
        str | None, typer.Option(metavar="FILE", help="Measure nothing; add what a kit measured on another device.")
    ] = None,
    form: options.Form = "table",
    rows: options.Rows = 40,
) -> None:
    """Measure networks alone on an idle device: seconds a step, latency of one input and of each layer, throughput.

    The times go into RUN/timings.parquet, and questions about time use them from then on.
    """
    from netpick.core.words import counted_word, duration
    from netpick.sessions.timing import time_run

    run, networks = options.run_and_names(words or ())
    if add is not None:
        _add_times(run, networks, add, form, rows)
        return
    counts = threads.split(",")
    if not all(re.fullmatch("[0-9]{1,4}", n.strip()) and 1 <= int(n) <= 1024 for n in counts):
        raise RunError(f"--threads: wants numbers from 1 on, such as 1,2, got '{threads:.100}'")

    def on_start(number: int, expected: float) -> None:
        if form == "table":
            say(f"{number} measurements, for about {duration(expected)} ...", "dim")

    timings = time_run(
        run,
        networks,
        computation or (),
        limit,
        devices,
        [int(n) for n in counts],
        seconds,
        data_dir,
        busy,
        on_start,
        modules=module or (),
        trust=trust,
        on_note=lambda text: say(text, "dim", error=True),
    )
    for line in timings.missing:
        say(f"left out: {line}", error=True)
    if timings.skipped:
        say(f"left out: {listed(timings.skipped)}: baselines, which have no training step to time", error=True)
    for name, why in timings.failed:
        say(f"{name}: not timed: {why}", error=True)
    if not timings.rows:
        raise WorkError(f"{run}: no network could be timed")
    if form != "table":
        show_frame(timings.frame(), form)
        return
    overview = timings.overview()
    show_frame(overview.table, rows=rows)
    if overview.text:
        say(overview.text)
    number = counted_word(len(timings.rows), "row")
    say(f"{number} in {run}/timings.parquet: medians, each network alone on {timings.where()}")


def _add_times(run: Path, networks: list[str], file: str, form: Format, rows: int) -> None:
    """Take in what a kit measured, and show it."""
    import pandas as pd

    from netpick.core.words import counted_word
    from netpick.exam import elsewhere
    from netpick.sessions import add_times

    if networks:
        raise RunError(f"--add {file}: says itself which networks it has, got {listed(networks)}: leave them out")
    added = add_times(run, file)
    show_frame(elsewhere(pd.DataFrame(added)), form, rows)
    if form == "table":
        say(f"{counted_word(len(added), 'row')} in {run}/device_times.parquet, apart from this machine's own times")


@app.command()
def distances(run: options.NewestRun = None, data_dir: options.DataDir = None) -> None:
    """Work out how far the test images are from the training images, for the question `representative`."""
    from netpick.sessions import measure_distances

    folder = options.run_folder(run)
    number = measure_distances(folder, data_dir, lambda text: say(text, "dim", error=True))
    say(f"{number:,} rows in {folder}/distances.parquet")


def _print_costliest(estimated: Estimate) -> None:
    from netpick.core.words import duration

    table = grid("the costliest networks")
    for name in ("network", "params", "macs", "time", "share"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in estimated.costliest:
        time = duration(row["seconds"]) if row["seconds"] >= 10 else f"{row['seconds']:.1f} s"
        share = f"{100 * row['share']:.1f} %"
        table.add_row(row["name"], f"{row['params']:,}", f"{row['macs']:,}", time, share)
    console.print(table)
