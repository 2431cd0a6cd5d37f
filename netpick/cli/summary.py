"""What a run has come to, on one screen: statuses, the best networks beside Basic, accuracy by epoch, what to do next.

Renders what other modules have computed; computes nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from netpick.cli.screen import say, show_frame
from netpick.core.result import STATUSES
from netpick.core.words import BEST, counted, duration

if TYPE_CHECKING:
    from netpick.exam.run import Run


def print_summary(run: Run, statuses: Counter[str]) -> None:
    """Print what one wants to see when a run is over, or so far."""
    from netpick.exam import basic, leading, questions, students
    from netpick.exam.tables import in_words

    total = run.wanted
    finished = sum(statuses.values())
    say(f"{run.path}: {finished} of {total} trainings finished: {counted(statuses)}", "bold")
    if not statuses["done"]:
        return
    if said := _answers_left_out(run):
        say(said)
    frame = students(run)
    reference = basic(frame)
    columns = ["name", "params", "memory", "ops", "macs", "seconds", "accuracy"]
    best = leading(frame, BEST)[columns].round({"seconds": 2}).dropna(axis=1, how="all")
    title = f"The best {min(BEST, len(frame))} of {len(frame)} networks" + (f", and {reference}" if reference else "")
    show_frame(best.rename(columns={"name": "network"}), shares=["accuracy"], suggested=reference or "", title=title)
    if len(frame) > 1:
        say(f"the first of {len(frame)} is flattered by luck: the question `best` says by how much", "dim")
    scores = questions.ask(run, "scores").table
    show_frame(in_words(scores), title="Networks at or above an accuracy, by epoch")


def _answers_left_out(run: Run) -> str:
    """Say how many networks have answered each training sample that they did not learn; "" without folds."""
    folds = int(run.recipe.get("folds", 0))
    if not folds:
        return ""
    done = run.trainings.loc[run.trainings["status"] == "done", "fold"]
    answers = done.value_counts().reindex(range(folds), fill_value=0)
    span = " to ".join(f"{n:,}" for n in sorted({int(answers.min()), int(answers.max())}))
    return (
        f"each of {len(run.labels('left_out')):,} training samples was left out by {span} trainings, and answered: the "
        "split left_out"
    )


def where(run: Run) -> str:
    """Return where the Parquet lies and how to read it."""
    return (
        f"Parquet, in {run.path}: networks, samples, trainings, epochs, predictions\n"
        f"  pandas.read_parquet({f'{run.path}/predictions'!r})\n"
        f"  netpick.Run({str(run.path)!r})"
    )


def activity(events: list[dict[str, Any]], in_use: bool) -> list[str]:
    """Return lines that say what the last session of a run did, or what the one that goes on does now.

    Parameters
    ----------
    events : the run's event log
    in_use : whether a process is training the run now
    """
    begins = [i for i, event in enumerate(events) if event.get("event") == "begin"]
    if not begins:
        return ["nothing has been trained yet"]
    session = events[begins[-1] :]
    hand: dict[tuple[str, int], tuple[str, datetime]] = {}
    ended, said = 0, session[0]
    for event in session:
        key = (event.get("network", ""), event.get("replicate", 0))
        if event.get("event") == "start":
            hand[key] = event.get("worker", ""), datetime.fromisoformat(event["time"])
        elif event.get("event") in STATUSES:
            hand.pop(key, None)
            ended += 1
        if "left" in event:
            said = event
    first, last = (datetime.fromisoformat(session[i]["time"]) for i in (0, -1))
    passed = ((datetime.now(UTC) if in_use else last) - first).total_seconds()
    line = f"{ended} of {session[0].get('due', 0)} due{_in(passed)}"
    if not in_use:
        how = "the last session is over" if session[-1]["event"] == "end" else "the last session was stopped"
        return [f"nothing is training it now; {how}: {line}"]
    now = datetime.now(UTC)
    left = ""
    if "left" in said:
        rest = said["left"] - (now - datetime.fromisoformat(said["time"])).total_seconds()
        left = f", about {duration(max(1.0, rest))} left"
    of = f" of {session[0]['cluster']}" if "cluster" in session[0] else ""
    lines = [f"training now, on {session[0].get('workers', '?')} workers{of}: {line}{left}"]
    return lines + _in_hand(hand, now)


def _in_hand(hand: Mapping[tuple[str, int], tuple[str, datetime]], now: datetime) -> list[str]:
    """Return a line for each training that goes on, or for each worker of a cluster, which has many to do."""
    of_worker: dict[str, list[tuple[str, datetime]]] = {}
    lines = []
    for (name, _), (worker, since) in hand.items():
        if worker:
            of_worker.setdefault(worker, []).append((name, since))
        else:
            lines.append(f"  training {name}{_in((now - since).total_seconds(), 'for')}")
    for worker, named in sorted(of_worker.items()):
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        lines.append(f"  {worker} has {named[0][0]}{more}{_in((now - named[0][1]).total_seconds(), 'for')}")
    return lines


def _in(seconds: float, word: str = "in") -> str:
    """Return how long something took; nothing where the clock was set back in the meantime."""
    return f" {word} {duration(seconds)}" if seconds >= 0 else ""
