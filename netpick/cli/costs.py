"""The part of the command line that says what things take: estimate, time.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from netpick.core.errors import RunError, WorkError, listed

if TYPE_CHECKING:
    from netpick.sessions.forecast.estimate import Estimate

console = Console()
app = typer.Typer()


@app.command()
def estimate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.")],
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda (or all), cuda:1, cuda:0,cuda:2.")] = "auto",
    workers: Annotated[str, typer.Option(metavar="auto|N", help="Trainings at the same time.")] = "auto",
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Short for --set recipe.epochs=N.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value, such as recipe.lr=0.001; repeatable."),
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="WORD", help="As for netpick train.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="As for netpick train.")] = None,
    scores: Annotated[str | None, typer.Option(metavar="all|last|none", help="Epochs whose scores are kept.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="last|none", help="Whether final weights are kept.")] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where data sets lie; else $NETPICK_DATA, else ./data.")
    ] = None,
    retry: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Count failed, timeout or diverged ones as due.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="N", help="What timing some networks may take, 60 at most; 0 for a rough guess."),
    ] = None,
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Say what netpick train with the same options would take: time, disk, memory, the costliest networks."""
    from netpick.sessions.session import Listener, Options, estimate_run

    class Notes(Listener):
        def note(self, text: str) -> None:
            if form == "table":
                console.print(f"{text} ...", highlight=False, style="dim", soft_wrap=True)

    if seconds is not None and not 0 <= seconds <= 60:
        raise RunError(f"--seconds: wants a number from 0 to 60, got {seconds:g}")
    options = Options(
        device=device,
        workers=worker_count(workers),
        epochs=epochs,
        overrides=overrides or (),
        scores=scores,
        weights=weights,
        data_dir=data_dir,
        retry=retry or (),
        precision=precision,
        plan=plan,
    )
    found = estimate_run(run, options, seconds, Notes())
    if form == "json":
        typer.echo(found.to_json())
        return
    console.print(found.text, highlight=False, markup=False, soft_wrap=True)
    if found.costliest:
        print_costliest(found)


@app.command("time")
def time_(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.")],
    networks: Annotated[list[str] | None, typer.Argument(metavar="[NETWORK]...", help="Names; all networks.")] = None,
    computation: Annotated[list[str] | None, typer.Option(help="Only these computations; repeatable.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only N networks, spread over computations and sizes.")
    ] = None,
    devices: Annotated[
        str, typer.Option(metavar="LIST", help="Such as cpu or cpu,cuda,mps; those that are not there are left out.")
    ] = "auto",
    threads: Annotated[str, typer.Option(metavar="LIST", help="Threads on the CPU, such as 1,2.")] = "1",
    seconds: Annotated[float, typer.Option(min=0.05, help="For one network on one device, about.")] = 0.6,
    busy: Annotated[bool, typer.Option("--busy", help="Measure although other processes use the machine.")] = False,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where data sets lie; else $NETPICK_DATA, else ./data.")
    ] = None,
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How to print it.")] = "table",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows of a printed table; csv and json have all.")] = 40,
) -> None:
    """Measure networks alone on an idle device: seconds a step, latency of one input, throughput of a batch.

    The times go into RUN/timings.parquet, and questions about time use them from then on.
    """
    from netpick.core.words import duration
    from netpick.sessions.timing import compare, time_run

    counts = threads.split(",")
    if not all(n.strip().isdigit() and 1 <= int(n) <= 1024 for n in counts):
        raise RunError(f"--threads: wants numbers from 1 on, such as 1,2, got '{threads}'")
    plain = form == "table"

    def on_start(number: int, expected: float) -> None:
        if plain:
            console.print(f"{number} measurements, for about {duration(expected)} ...", style="dim", highlight=False)

    found = time_run(
        run,
        networks or (),
        computation or (),
        limit,
        devices,
        [int(n) for n in counts],
        seconds,
        data_dir,
        busy,
        on_start,
    )
    for line in found.missing:
        Console(stderr=True).print(f"left out: {line}", highlight=False, markup=False, soft_wrap=True)
    if found.skipped:
        names = f"{listed(found.skipped)}: baselines, which have no training step to time"
        Console(stderr=True).print(f"left out: {names}", highlight=False, markup=False, soft_wrap=True)
    for name, why in found.failed:
        Console(stderr=True).print(f"{name}: not timed: {why}", highlight=False, markup=False, soft_wrap=True)
    _print_times(run, found.rows, form, rows, compare)


def _print_times(run: str, found: list[dict[str, Any]], form: Any, rows: int, compare: Any) -> None:
    import pandas as pd

    from netpick.cli.ask import open_run, print_frame
    from netpick.core.words import counted_word as counted

    if not found:
        raise WorkError(f"{run}: no network could be timed")
    frame = pd.DataFrame(found)
    macs = dict(zip(*(open_run(run).networks[name].tolist() for name in ("name", "macs")), strict=True))
    shown = frame.assign(macs=frame["network"].map(macs), step_ms=1e3 * frame["step_seconds"])
    shown = shown.assign(latency_ms=1e3 * frame["latency"])
    several = len(frame[["device", "threads"]].drop_duplicates()) > 1
    if form != "table":
        print_frame(frame, form, rows)
        return
    if several:
        both = compare(frame, macs)
        print_frame(both.table, form, rows)
        console.print(both.text, highlight=False, markup=False, soft_wrap=True)
    else:
        columns = ["network", "macs", "step_ms", "latency_ms", "throughput"]
        print_frame(shown[columns].sort_values("step_ms", ignore_index=True), form, rows)
    console.print(
        f"{counted(len(frame), 'row')} in {run}/timings.parquet: medians, each network alone on {_where(frame)}",
        highlight=False,
        soft_wrap=True,
    )


def _where(frame: Any) -> str:
    names = (frame["device"] + " (" + frame["device_name"] + ")").unique()
    return ", ".join(names)


def worker_count(text: str) -> int | Literal["auto"]:
    """Read the value of --workers."""
    if text == "auto":
        return "auto"
    if not text.lstrip("-").isdigit():
        raise RunError(f"--workers: wants auto or a number from 1 on, got '{text}'")
    return int(text)


def print_costliest(found: Estimate) -> None:
    """Print the costliest networks."""
    from rich.table import Table

    from netpick.core.words import duration

    table = Table(title="the costliest networks", title_justify="left", header_style="bold")
    for name in ("network", "params", "macs", "time", "share"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in found.costliest:
        time = duration(row["seconds"]) if row["seconds"] >= 10 else f"{row['seconds']:.1f} s"
        share = f"{100 * row['share']:.1f} %"
        table.add_row(row["name"], f"{row['params']:,}", f"{row['macs']:,}", time, share)
    console.print(table)
