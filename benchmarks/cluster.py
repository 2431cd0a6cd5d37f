"""What a cluster costs beside the training: a real Dask scheduler and many workers that sleep instead of training.

A training of so many predicted seconds is a sleep of that time, divided by `--faster`: so the scheduler has more to do
in a second than in earnest. Workers are real ones of Dask, many in a few processes. Trainings go the same way as in
`netpick train --scheduler`: packed, handed out, collected by `cluster_stream`; nothing is written into a run.

What is measured: processor seconds of the session and of the scheduler by training and by bundle, messages between them
and the workers, the wall time beside what sleeping alone would take, and the memory of both as it goes on. It should
be flat: what grows with trainings that have ended is a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json

from netpick.core.metrics import evaluate
from netpick.core.recipe import Recipe
from netpick.core.result import EpochResult, TrainingResult
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster import connected
from netpick.sessions.workers.cluster_stream import stream
from netpick.sessions.workers.task import Task
from netpick.training.job import Job
from netpick.training.plan import Plan

SPREAD = 1.0
"""Of the predicted seconds, which are distributed log-normally, two minutes at most."""

MARKS = (0.005, 0.02, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the trainings after which the memory is shown."""


def doze(task: Task) -> TrainingResult:
    """Sleep instead of training; the result has scores of as many samples as the task's `params` say."""
    began = datetime.now(UTC)
    time.sleep(task.memory / 1e6)
    result = task.job.result("done", began, task.memory / 1e6)
    if not task.params:
        return result
    scores = np.random.default_rng(task.job.seed).normal(size=(task.params, 10)).astype(np.float32)
    split = evaluate("test", scores, np.zeros(task.params, np.int64), 0.0)
    return result.with_(epochs=(EpochResult(1, 0.0, 0.0, None, (split,)),))


def tasks_of(args: argparse.Namespace) -> list[Task]:
    """Return the trainings, the longest first; `memory` has the microseconds to sleep."""
    random = np.random.default_rng(0)
    seconds = np.minimum(args.median * np.exp(SPREAD * random.normal(size=args.trainings)), 120)
    recipe, plan = Recipe(), Plan()
    tasks = []
    for number, long in enumerate(sorted(seconds.tolist(), reverse=True)):
        layers = (
            layer("Flatten"),
            layer("Linear", in_features=784, out_features=16 + number),
            layer("ReLU"),
            layer("Linear", in_features=16 + number, out_features=10),
            layer("LogSoftmax", dim=1),
        )
        job = Job(NetworkSpec(f"LinearReLU_{number}", "Linear", "ReLU", layers), recipe, number, plan)
        tasks.append(Task(job, "", memory=round(1e6 * long / args.faster), params=args.samples))  # type: ignore[arg-type]
    return tasks


async def work_for(file: str, number: int) -> None:
    """Be so many workers, until the scheduler goes."""
    from distributed import Worker

    workers = [Worker(scheduler_file=file, nthreads=1, memory_limit=0) for _ in range(number)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


def start(stack: ExitStack, args: argparse.Namespace, folder: Path) -> tuple[psutil.Process, str]:
    """Start a scheduler and the processes of the workers; return the scheduler's process and address."""

    def process(*words: str) -> psutil.Process:
        out = subprocess.DEVNULL if not args.verbose else None
        said = {**os.environ, "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": str(args.log_length)}
        child = subprocess.Popen([sys.executable, *words], stdout=out, stderr=out, env=said)
        stack.callback(child.wait)
        stack.callback(child.terminate)
        return psutil.Process(child.pid)

    file = folder / "scheduler.json"
    words = ("--port", "0", "--no-dashboard", "--no-jupyter", "--scheduler-file", str(file))
    scheduler = process("-m", "dask", "scheduler", "--host", "127.0.0.1", *words)
    while not file.is_file():
        time.sleep(0.1)
    each = -(-args.workers // args.processes)
    for first in range(0, args.workers, each):
        process(__file__, "--work-for", str(file), "--workers", str(min(each, args.workers - first)))
    return scheduler, str(file)


def messages(dask_scheduler: Any = None) -> tuple[int, int]:
    """Return the messages, and the bytes of them, that a scheduler has sent to workers and to the session."""
    comms = [*dask_scheduler.stream_comms.values(), *dask_scheduler.client_comms.values()]
    return sum(comm.message_count for comm in comms), sum(comm.byte_count for comm in comms)


def spent(process: psutil.Process) -> float:
    """Return the processor seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Send all trainings through a cluster, and look at what that takes."""
    tasks = tasks_of(args)
    seconds = {task.key: task.memory * args.faster / 1e6 for task in tasks}
    marks = sorted({max(1, round(share * len(tasks))) for share in MARKS})
    rows: list[dict[str, float]] = []
    own = psutil.Process()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scheduler, file = start(stack, args, Path(folder))
        with connected(Address(file)) as cluster:
            while len(cluster.workers()) < args.workers:
                time.sleep(0.2)
            before, clock = (spent(own), spent(scheduler)), time.monotonic()
            for ended, _ in enumerate(stream(cluster, tasks, seconds, work=doze), 1):
                if ended in marks:
                    rows.append(
                        {
                            "ended": ended,
                            "seconds": time.monotonic() - clock,
                            "session_mib": own.memory_info().rss / 2**20,
                            "scheduler_mib": scheduler.memory_info().rss / 2**20,
                            "keys": cluster.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)),
                        }
                    )
                    console.print("{ended:,} ended after {seconds:.0f} s".format(**rows[-1]))
            wall = time.monotonic() - clock
            session, of_scheduler = (
                now - then for now, then in zip((spent(own), spent(scheduler)), before, strict=True)
            )
            count, size = cluster.client.run_on_scheduler(messages)
    return {
        "trainings": len(tasks),
        "workers": args.workers,
        "faster": args.faster,
        "wall": wall,
        "ideal": sum(task.memory for task in tasks) / 1e6 / args.workers,
        "session_ms": 1e3 * session / len(tasks),
        "scheduler_ms": 1e3 * of_scheduler / len(tasks),
        "messages": count / len(tasks),
        "message_bytes": size / len(tasks),
        "memory": rows,
    }


def work() -> int:
    """Measure and print."""
    args = arguments().parse_args()
    if args.work_for:
        asyncio.run(work_for(args.work_for, args.workers))
        return 0
    facts = machine()
    print_machine(facts)
    found = measure(args)
    console.print(
        f"{found['trainings']:,} trainings on {found['workers']} workers, {found['faster']:g} times as fast as "
        f"predicted: {found['wall']:.0f} s, {found['ideal']:.0f} s of it asleep"
    )
    console.print(
        f"a training: {found['session_ms']:.2f} ms of the session's processor, {found['scheduler_ms']:.2f} ms of the "
        f"scheduler's, {found['messages']:.2f} messages from the scheduler with {found['message_bytes']:.0f} bytes"
    )
    head = ["trainings ended", "seconds", "session MiB", "scheduler MiB", "keys of the scheduler"]
    keys = ["ended", "seconds", "session_mib", "scheduler_mib", "keys"]
    print_table("memory as it goes on", head, [[f"{row[key]:,.0f}" for key in keys] for row in found["memory"]])
    write_json(args.json, {"machine": facts, **found})
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = new_parser(__doc__)
    parser.add_argument("--trainings", type=positive, default=100_000, help="(100000)")
    parser.add_argument("--workers", type=positive, default=100, help="(100)")
    parser.add_argument("--processes", type=positive, default=4, help="that the workers live in (4)")
    parser.add_argument("--median", type=float, default=0.5, help="of the predicted seconds (0.5)")
    parser.add_argument("--faster", type=float, default=10.0, help="than predicted everything goes (10)")
    parser.add_argument("--samples", type=int, default=0, help="whose scores a result carries, 40 bytes each (0)")
    parser.add_argument("--log-length", type=int, default=1000, help="messages Dask keeps for each worker (1000)")
    parser.add_argument("--verbose", action="store_true", help="let scheduler and workers say what they say")
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main(work)
