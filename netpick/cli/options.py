"""Options and arguments that several commands have: each is written once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from netpick.cli.completion import networks, runs, runs_or_networks
from netpick.cli.screen import Format, say
from netpick.core.errors import RunError
from netpick.sessions.workers.address import Address

NewestRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="Folder of the run; the newest one in ./runs.", autocompletion=runs),
]
RunOrNetwork = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Folder of the run; the newest one in ./runs.",
        autocompletion=runs_or_networks,
    ),
]
Network = Annotated[
    str | None, typer.Argument(metavar="NETWORK", help="Its name; RUN may be left out.", autocompletion=networks)
]
Networks = Annotated[
    list[str] | None, typer.Argument(metavar="NETWORK...", help="Names; RUN may be left out.", autocompletion=networks)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value, such as recipe.lr=0.001; repeatable."),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", help="Where data sets lie; else $NETPICK_DATA, else ./data.")
]

Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda (or all), cuda:1, cuda:0,cuda:2.")]
Workers = Annotated[str, typer.Option(metavar="auto|N", help="Trainings at the same time.")]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Short for --set recipe.epochs=N.")]
Scores = Annotated[str | None, typer.Option(metavar="all|last|none", help="Epochs whose scores are kept.")]
Weights = Annotated[str | None, typer.Option(metavar="last|none", help="Whether final weights are kept.")]
Retry = Annotated[
    list[str] | None, typer.Option(metavar="STATUS", help="Failed, timeout or diverged ones are due again.")
]
Precision = Annotated[
    str | None, typer.Option(metavar="fp32|tf32|bf16|auto", help="Of the arithmetic; short for recipe.precision.")
]
Plan = Annotated[
    str | None,
    typer.Option(metavar="auto|reference|WORDS", help="How it is executed, such as eager/plain; auto chooses."),
]

Modules = Annotated[
    list[str] | None,
    typer.Option("--module", metavar="MODULE", help="Run the code of this module; repeatable."),
]
Trust = Annotated[
    str | None, typer.Option("--trust", metavar="RUN", help="Run the code of all modules that the run names.")
]

Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS|FILE", help="Train over a Dask cluster: tcp://HOST:8786, or its scheduler file."),
]
Commit = Annotated[
    str,
    typer.Option(
        metavar="session|worker", help="Who writes results over a cluster: worker where all see RUN's folder."
    ),
]
TlsCa = Annotated[str | None, typer.Option("--tls-ca", metavar="FILE", help="Authority of the cluster's encryption.")]
TlsCert = Annotated[str | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate to show the cluster.")]
TlsKey = Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="Key of that certificate.")]

Computations = Annotated[list[str] | None, typer.Option(help="Only these computations; repeatable.")]
Against = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Ask another run the same, and compare row by row.", autocompletion=runs),
]
Plot = Annotated[
    str | None, typer.Option("--plot", metavar="FILE", help="Draw the figure into a .svg, .png or .pdf file.")
]
Form = Annotated[Format, typer.Option("--format", help="How to print the table.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Rows of a printed table; csv and json have all.")]
Wide = Annotated[bool, typer.Option("--wide", help="All columns of a table, however wide the terminal is.")]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out result files that can't be read, and name them.")
]


def worker_count(text: str) -> int | Literal["auto"]:
    """Read the value of --workers."""
    if text == "auto":
        return "auto"
    if not re.fullmatch("-?[0-9]{1,9}", text):  # Python reads no number of thousands of digits
        raise RunError(f"--workers: wants auto or a number from 1 on, got '{text:.100}'")
    return int(text)


def cluster(scheduler: str | None, ca: str | None, cert: str | None, key: str | None) -> Address | None:
    """Return where the cluster is that was asked for; raises RunError for files that are not there."""
    if scheduler is None:
        if ca or cert or key:
            raise RunError("--tls-ca, --tls-cert and --tls-key go with --scheduler ADDRESS")
        return None
    for name, path in (("--scheduler", scheduler), ("--tls-ca", ca), ("--tls-cert", cert), ("--tls-key", key)):
        if path is not None and (name != "--scheduler" or path.endswith(".json")) and not Path(path).is_file():
            raise RunError(f"{name}: no file {path}")
    return Address(scheduler, ca, cert, key)


def live_networks(text: str | None) -> int | None:
    """Read the value of --live: None where all that fit are wanted."""
    if text is None or text == "none":
        return None if text is None else 0
    if not text.isdigit():
        raise RunError(f"--live: wants none or a number from 1 on, got '{text}'")
    return int(text)


def run_folder(given: str | None) -> Path:
    """Return the folder of the run that is meant: the newest one, which is then named, where none is given."""
    if given:
        return Path(given)
    from netpick.store.runs import newest_run

    folder = newest_run()
    say(f"run: {folder}", "dim")
    return folder


def is_run(word: str) -> bool:
    """Whether a word means a run's folder, and not a network or a question: it is a folder, or could only be one."""
    return os.path.isdir(word) or "/" in word or "\\" in word


def run_and_names(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the run that is meant, and the names that follow; the newest run where none is named."""
    if words and is_run(words[0]):
        return Path(words[0]), [*words[1:]]
    return run_folder(None), [*words]


def run_and_limits(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the run among constraints such as `--max-params 20000`, wherever it stands, and the constraints."""
    run: str | None = None
    limits: list[str] = []
    number_due = False
    for word in words:
        if run is None and not number_due and not word.startswith("-"):
            run = word
            continue
        limits.append(word)
        number_due = not number_due and "=" not in word
    return run, limits
