"""What the warm server has loaded, and what a fork of it does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

os.environ |= {"NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "COLUMNS": "200"}

import importlib

import joblib
import torch

import netpick.cli.app

LOADED = (
    "matplotlib.pyplot",
    "sklearn.datasets",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "safetensors.numpy",
    "rich.table",
)
LOADED += tuple(
    f"netpick.{name}"
    for name in (
        "analysis.best", "analysis.scores", "cli.progress", "cli.summary", "exam.run", "exam.marks", "exam.first_look",
        "report.explorer", "report.figures", "report.page", "report.publication", "sessions.generate",
        "sessions.session", "sessions.timing", "sessions.workers.process", "training.engines",
    )
)  # fmt: skip
"""What commands import when they come to it."""

for name in LOADED:
    importlib.import_module(name)
torch.optim.SGD([torch.zeros(1)])  # makes torch load its compiler
torch.set_num_threads(1)


def give(words: list[str], log: str, pooled: str, folder: str) -> None:
    """Be a netpick command: its output goes into a file; `pooled` is another back end of joblib's for its workers."""
    os.setsid()
    if folder:
        os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    code: Any = 1
    try:
        with joblib.parallel_config(backend=pooled) if pooled else contextlib.nullcontext():
            netpick.cli.app.main(words)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001  what a user would see
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    threading._shutdown()  # type: ignore[attr-defined]  # as any command that ends: it waits for its workers
    os._exit(code)


def call(answer: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call a function and send back what it gives."""
    os.setsid()
    try:
        answer.send((True, work(*arguments)))
    except BaseException:  # noqa: BLE001  said by who waits for it
        answer.send((False, traceback.format_exc()))
