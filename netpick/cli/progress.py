"""What one sees while networks are trained: bars on a terminal, a line every so often elsewhere.

A `Listener` of a session; computes nothing but rates.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from netpick.cli.screen import Screen, printable
from netpick.core.result import TrainingResult
from netpick.core.words import counted, duration, percent
from netpick.sessions.listener import Listener, Start
from netpick.sessions.workers.task import Task
from netpick.training import Job

LINE_SECONDS = 15.0
"""Between two lines where there is no terminal."""


class ProgressListener(Listener):
    """Shows the progress on a console; use as a context manager."""

    def __init__(self, console: Screen) -> None:
        self.console, self.watches = console, console.is_terminal
        self.statuses: Counter[str] = Counter()
        self.running: dict[tuple[str, int], tuple[Job, float]] = {}
        self.best: tuple[float, str] | None = None
        self.live: Live | None = None
        self.side: Progress | None = None
        self.clock = self.last_line = time.monotonic()
        self.done = 0
        self.left: float | None = None
        self.looked = -1.0
        self.merged = ""
        self.start: Start | None = None
        self.bar = Progress(TextColumn("networks"), BarColumn(None), MofNCompleteColumn(), console=console)

    def __enter__(self) -> ProgressListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_side()
        if self.live:
            self.live.stop()

    def begin(self, start: Start) -> None:
        """Say what is about to happen, and show the bars."""
        self.start, self.statuses = start, Counter(start.finished)
        self.clock = self.last_line = time.monotonic()
        recipe = start.recipe
        already = f", {sum(start.finished.values())} there already" if start.finished else ""
        epochs = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''} of {recipe.optimizer}"
        swept = f", {', '.join(start.swept)} swept" if start.swept else ""
        workers = f"{start.workers} worker{'s' if start.workers > 1 else ''}"
        self.console.say(
            f"{start.due} of {start.total} trainings to do{already}: {epochs}, batch size {recipe.batch_size}"
            f"{swept}, on {', '.join(start.devices)} with {workers}"
        )
        if start.due:
            for text in (start.estimate.time_text, start.estimate.disk_text, start.estimate.memory_text):
                self.console.sentence(text)
        if self.console.is_terminal and start.due:
            self.task = self.bar.add_task("networks", total=start.total, completed=sum(start.finished.values()))
            self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    def started(self, task: Task) -> None:
        """Note what a worker does now."""
        self.running[task.key] = (task.job, time.monotonic())

    def finished(self, result: TrainingResult) -> None:
        """Count a result; where there is no terminal, print a line every so often."""
        self.running.pop((result.hash, result.replicate), None)
        self.statuses[result.status] += 1
        self.done += 1
        assert self.start is not None
        tested = [split.accuracy for epoch in result.epochs[-1:] for split in epoch.splits if split.split == "test"]
        if tested and result.status == "done" and (self.best is None or tested[0] > self.best[0]):
            self.best = tested[0], result.network
        if result.status != "done":
            self.console.say(f"{result.network}: {result.status}: {result.error}")
        if self.live:
            self.bar.update(self.task, advance=1)
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            total = sum(self.statuses.values())
            self.console.say(f"{total} of {self.start.total} networks ({self._rates()})")

    def progress(self, text: str, done: int, total: int) -> None:
        """Show a bar of its own until all is done; where there is no terminal, a line every so often."""
        if not total:
            self.console.say(text)
            return
        if self.console.is_terminal:
            if self.side is None:
                columns = (TextColumn("{task.description}", markup=False), BarColumn(None), MofNCompleteColumn())
                self.side = Progress(*columns, console=self.console, transient=True)
                self.side.add_task(printable(text), total=total)
                self.side.start()
            self.side.update(self.side.tasks[0].id, completed=done)
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            self.console.say(f"{text}: {done} of {total}")
        if done >= total:
            self._end_side()
            self.console.say(f"{text}: {total} done", "dim")

    def merging(self, share: float, left: float | None) -> None:
        """Say that files are merged, and what is left of that: at its begin, and every so often."""
        text = "merging the small files into large ones"
        if share:
            text += f", {percent(share, 0)} done"
        if left is not None:
            text += f", {duration(max(1.0, left))} left"
        self.merged = text if share < 1 else ""
        if not self.live and share < 1 and (not share or time.monotonic() - self.last_line > LINE_SECONDS):
            self.last_line = time.monotonic()
            self.console.say(f"{text} ...", "dim")

    def _end_side(self) -> None:
        if self.side:
            self.side.stop()
            self.side = None

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.say(f"{text} ...", "dim")

    def _rates(self) -> str:
        """Return status counts, rate and time left."""
        passed = time.monotonic() - self.clock
        words = [counted(self.statuses), f"{60 * self.done / max(passed, 1e-9):.0f} a minute"]
        if (left := self.seconds_left()) is not None:
            words.append(f"{duration(max(1.0, left))} left")
        if self.best is not None:
            words.append(f"best so far {self.best[1]} with {percent(self.best[0])}")
        return ", ".join(words)

    def seconds_left(self) -> float | None:
        """Return the seconds until all is done, or None where nothing can be said yet; asks once a second."""
        assert self.start is not None
        now = time.monotonic()
        if now - self.looked >= 1:
            self.looked, self.left = now, self.start.left.seconds(now)
        return None if self.left is None else max(0.0, self.left - (now - self.looked))

    def _render(self) -> Group:
        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        for job, since in sorted(self.running.values(), key=lambda pair: pair[1])[:16]:
            epoch = Text(f"epoch {min(_finished(job) + 1, job.recipe.epochs)} of {job.recipe.epochs}", "dim")
            name = Text(printable(job.spec.name))
            table.add_row(Text("  training", "dim"), name, epoch, Text(duration(now - since), "dim"))
        return Group(self.bar, Text(self.merged or self._rates()), table)


def _finished(job: Job) -> int:
    """Return how many epochs of a training are done, as far as it says so."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(job.sign or "").read_text("ascii"))
    return 0
