"""What the benchmarks share: the machine in words, tables, JSON, and the netpick command as a user gives it.

Measures nothing itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from netpick.core import devices as device
from netpick.core import provenance
from netpick.core.errors import NetpickError

# Where there is no terminal, as in a log, lines must not be cut at 80 columns.
console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def machine() -> dict[str, Any]:
    """Return what a measurement depends on besides the code."""
    return {
        "cpu": device.describe("cpu"),
        "cores": device.usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(),
        "command": " ".join(["python", *map(os.path.relpath, sys.argv[:1]), *sys.argv[1:]]),
    }


def print_machine(facts: dict[str, Any]) -> None:
    """Print the machine in two lines, and a warning where others are using it."""
    versions = facts["versions"]
    console.print(
        f"{facts['cpu']}, {facts['memory_gib']} GiB, {facts['system']}; Python {versions['python']}, "
        f"torch {versions['torch']}, netpick {versions['netpick']} ({(facts['git_commit'] or 'no commit')[:10]})\n"
        f"load average of the last minute: {facts['load_average'][0]}",
        soft_wrap=True,
    )
    if facts["load_average"][0] > 0.5:
        console.print("the machine is not quiet: something else is running, times will be too long", style="yellow")


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a head; all columns but the first are numbers and stand to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)


def write_json(path: str | None, value: dict[str, Any]) -> None:
    """Write the results to a file, if one is wanted."""
    if path:
        Path(path).write_text(json.dumps(value, indent=1, default=str) + "\n", encoding="utf-8")
        console.print(f"written: {path}", soft_wrap=True)


def quartiles(values: Iterable[float]) -> list[float]:
    """Return minimum, quartiles and maximum, each one of the values."""
    ordered = sorted(values)
    return [ordered[round(share * (len(ordered) - 1))] for share in (0, 0.25, 0.5, 0.75, 1)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median and, of several values, the range: `1.23 (1.20-1.31)`."""
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of independent differences, and the ends of Student's interval around it."""
    from scipy.stats import t

    mean = float(differences.mean())
    half = float(t.ppf((1 + level) / 2, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5)
    return mean, mean - half, mean + half


def megabytes(size: float) -> str:
    """Return bytes in megabytes of a million."""
    return f"{size / 1e6:,.2f}"


def netpick_command(*args: object) -> list[str]:
    """Return the netpick command as words, run by the Python that runs this script."""
    return [sys.executable, "-m", "netpick.cli", *map(str, args)]


def run_netpick(*args: object, show: bool = False) -> float:
    """Run a netpick command in a fresh process and return its wall time; end the script where it fails."""
    start = time.perf_counter()
    done = subprocess.run(netpick_command(*args), stdout=None if show else subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds = time.perf_counter() - start
    if done.returncode:
        said = (done.stdout or b"").decode(errors="replace").strip()
        sys.exit(f"netpick {' '.join(map(str, args))}: exit code {done.returncode}\n{said}")
    return seconds


def new_parser(module_doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the script's docstring and has the option --json."""
    parser = argparse.ArgumentParser(
        description=module_doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", metavar="FILE", help="write all numbers there too")
    return parser


def new_run_parser(module_doc: str | None, limit: int) -> argparse.ArgumentParser:
    """Return `new_parser` with what a script needs that makes a run of MNIST by the command line and trains it."""
    parser = new_parser(module_doc)
    parser.add_argument("--template", default="thousand-light", help="name or TOML file (thousand-light)")
    parser.add_argument("--limit", type=positive, default=limit, help=f"networks, a share of every family ({limit})")
    parser.add_argument("--dataset", default="mnist", help="data set (mnist)")
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--device", default="cpu", help="as for netpick train (cpu)")
    parser.add_argument("--workers", default="auto", help="as for netpick train (auto)")
    parser.add_argument("--epochs", type=positive, help="another number than the template's")
    parser.add_argument("--folder", type=Path, help="make the run there and leave it; else in a temporary folder")
    return parser


def processor(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that some work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def positive(text: str) -> int:
    """Read a whole number from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main(work: Callable[[], int | None]) -> None:
    """Run a script's work; what netpick refuses is said in one line."""
    try:
        sys.exit(work() or 0)
    except NetpickError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
