"""The part of the command line that says what things take: estimate.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from netpick.errors import RunError

if TYPE_CHECKING:
    from netpick.estimate import Estimate

console = Console()
app = typer.Typer()


@app.command()
def estimate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    workers: Annotated[str, typer.Option(metavar="auto|N", help="Trainings at the same time.")] = "auto",
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Short for --set recipe.epochs=N.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value, such as recipe.lr=0.001; repeatable."),
    ] = None,
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
    from netpick.session import Listener, Options, estimate_run

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
    )
    found = estimate_run(run, options, seconds, Notes())
    if form == "json":
        typer.echo(found.to_json())
        return
    console.print(found.text, highlight=False, markup=False, soft_wrap=True)
    if found.costliest:
        print_costliest(found)


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

    from netpick.report.words import duration

    table = Table(title="the costliest networks", title_justify="left", header_style="bold")
    for name in ("network", "params", "macs", "time", "share"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in found.costliest:
        time = duration(row["seconds"]) if row["seconds"] >= 10 else f"{row['seconds']:.1f} s"
        share = f"{100 * row['share']:.1f} %"
        table.add_row(row["name"], f"{row['params']:,}", f"{row['macs']:,}", time, share)
    console.print(table)
