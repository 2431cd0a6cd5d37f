"""The time left, against sessions on a simulated clock: workers, what passes between trainings, a queue of results."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from netpick.sessions.forecast.remaining import TimeLeft

OFF = 0.15
"""The time left may be off by so much, from the half of a session on."""

SHOWN = 1.0
"""Second: less than that is not shown, so that the last moments are judged by it."""


def session(
    true, predicted, fixed, workers, measured, commit, commit_alone=None, between=0.003, startup=3.0, busy=None
):
    """Train in the order of what is predicted; return (seconds left as said, as it then was) after each training.

    A worker that is free is given the next training at once, and results are written down one after the other, for
    `commit` seconds; for `commit_alone` where no worker trains any more, so that the coordinator waits for no core.
    All that is done for a training takes `busy` times as long, by its place in the order.
    """
    busy = np.ones(len(true)) if busy is None else busy
    order = np.argsort(-predicted, kind="stable")
    true, predicted = true[order], predicted[order]
    keys = [(f"{place:05}", 0) for place in range(len(true))]
    left = TimeLeft(dict(zip(keys, predicted.tolist(), strict=True)), fixed, workers, measured)
    free = [startup] * workers
    starts, ends = [], []
    for place, seconds in enumerate(true):
        begun = heapq.heappop(free)
        starts.append((begun if place >= workers else 0.0, keys[place]))
        seconds *= busy[place]
        ends.append((begun + seconds + between * busy[place], keys[place], seconds))
        heapq.heappush(free, ends[-1][0])
    starts.sort(reverse=True)
    now, last, said = 0.0, max(free), []
    for end, key, seconds in sorted(ends):
        now = max(now, end)
        waits = commit_alone is not None and now < last
        took = (commit if waits or commit_alone is None else commit_alone) * busy[int(key[0])]
        waited = commit - commit_alone if waits else 0.0
        now += took
        while starts and starts[-1][0] <= now:
            left.started(starts[-1][1], starts[-1][0])
            starts.pop()
        left.finished(key, float(seconds), took, True, now, waited)
        said.append((left.seconds(now), now))
    return [(seconds, now - moment) for seconds, moment in said]


RANDOM = np.random.default_rng(1)
KINDS = {
    "tiny ones, equal": np.full(1001, 0.004),
    "small ones, equal": np.full(300, 0.1),
    "large first": np.sort(RANDOM.lognormal(0, 1.2, 300))[::-1],
    "mixed": RANDOM.lognormal(-3, 1.5, 600),
    "resumed: what is left is small": np.sort(RANDOM.lognormal(-3, 1.5, 600))[:250],
}


@pytest.mark.parametrize(
    ("workers", "commits"),
    [(1, (0.02, None)), (2, (0.02, None)), (2, (0.05, 0.02))],
    ids=["one worker", "two workers", "two workers on all cores"],
)
@pytest.mark.parametrize("basis", ["timed", "rough"])
@pytest.mark.parametrize("kind", KINDS)
def test_from_the_half_on_the_time_left_is_what_follows(kind, workers, basis, commits):
    random = np.random.default_rng(2)
    sizes = KINDS[kind]
    true = sizes * np.exp(random.normal(0, 0.05, len(sizes)))
    # A model that was fitted is off by a third and some; a rough one by a factor of four, with 0.3 s on top of all.
    spread, factor, fixed = (0.15, 1.3, 0.02) if basis == "timed" else (0.3, 4.0, 0.3)
    predicted = factor * sizes * np.exp(random.normal(0, spread, len(sizes))) + fixed
    said = session(true, predicted, fixed, workers, basis == "timed", *commits)
    for seconds, follows in said[len(said) // 2 : -1]:
        assert seconds == pytest.approx(follows, rel=OFF, abs=SHOWN if follows < 5 else 0)
        assert seconds > 0
    assert said[-1] == (None, 0)


MINUTE = 60.0


@pytest.mark.parametrize(("before", "after"), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.5)])
@pytest.mark.parametrize(
    ("number", "size", "changes", "basis"),
    [(1500, 0.3, 400, "rough"), (1001, 1.0, 300, "timed"), (200, 8.0, 60, "timed")],
)
def test_within_a_minute_the_time_left_follows_what_others_do_on_the_machine(
    number, size, changes, basis, before, after
):
    random = np.random.default_rng(3)
    sizes = size * np.sort(random.lognormal(0, 0.8, number))[::-1]
    true = sizes * np.exp(random.normal(0, 0.05, number))
    spread, factor, fixed = (0.1, 1.2, 0.02) if basis == "timed" else (0.15, 4.0, 0.3)
    predicted = factor * sizes * np.exp(random.normal(0, spread, number)) + fixed
    busy = np.where(np.arange(number) < changes, before, after)
    said = session(true, predicted, fixed, 2, basis == "timed", 0.02, busy=busy)
    began = said[changes][1]  # seconds before the end
    judged = [(seconds, follows) for seconds, follows in said[:-1] if began - MINUTE > follows > SHOWN]
    assert len(judged) > 50
    for seconds, follows in judged:
        assert seconds == pytest.approx(follows, rel=OFF, abs=SHOWN)


def test_files_that_are_merged_at_the_end_are_counted_before_and_while_they_are():
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0}, 0.0, 1, measured=True, merge=8.0)
    assert left.seconds(0.0) == pytest.approx(28)
    for at, key in ((0.0, ("a", 0)), (10.0, ("b", 0))):
        left.started(key, at)
        left.finished(key, 10.0, 0.0, True, at + 10)
    assert left.seconds(20.0) == pytest.approx(8)  # all is trained, and it is not over
    # It comes on half as fast as was said: a quarter in 4 s, where 12 s will follow and 6 were said.
    left.merged(0.0, 20.0)
    left.merged(0.25, 24.0)
    assert 6 < left.seconds(24.0) < 12
    left.merged(0.9, 34.4)
    assert left.seconds(34.4) == pytest.approx(1.6, rel=0.1)
    left.merged(1.0, 36.0)
    assert left.seconds(36.0) is None


@pytest.mark.parametrize(("measured", "merging"), [(True, 16), (False, 8)])
def test_a_machine_on_which_all_takes_longer_than_it_was_timed_to_take_merges_slower_too(measured, merging):
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0}, 0.0, 1, measured, merge=8.0)
    for at, key in ((0.0, ("a", 0)), (20.0, ("b", 0))):
        left.started(key, at)
        left.finished(key, 20.0, 0.0, True, at + 20)
    assert left.seconds(40.0) == pytest.approx(merging)
    left.merged(0.0, 40.0)
    assert left.seconds(40.0) == pytest.approx(merging)


def lefts(predicted, workers, measured, took, fixed=0.0):
    """The time left after the first trainings took as long as is said, one after another."""
    keys = [(str(place), 0) for place in range(len(predicted))]
    left, now = TimeLeft(dict(zip(keys, predicted, strict=True)), fixed, workers, measured), 0.0
    for key, seconds in zip(keys, took, strict=False):
        left.started(key, now)
        now += seconds
        left.finished(key, seconds, 0.0, True, now)
    return left.seconds(now)


def test_a_calibrated_model_says_the_time_left_at_once_and_a_rough_one_waits():
    assert lefts([10.0] * 4, 2, True, []) == pytest.approx(20)
    assert lefts([10.0] * 4, 2, False, []) is None


def test_the_time_left_follows_what_the_finished_ones_took():
    # A rough model's size counts for nothing: 30 s where 10 were said, and two more to go on one worker.
    assert lefts([10.0] * 4, 1, False, [30, 30]) == pytest.approx(60)
    # A calibrated one counts for a twentieth of what is due, here 2 seconds: (20 * 3 + 2) / (20 + 2) times 20.
    assert lefts([10.0] * 4, 1, True, [30, 30]) == pytest.approx(62 / 22 * 20)


def test_what_ends_early_says_nothing_of_the_prediction():
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0, ("c", 0): 10.0}, 0.0, 1, measured=False)
    left.started(("a", 0), 0.0)
    left.finished(("a", 0), 1.0, 0.0, whole=False, now=1.0)
    assert left.seconds(1.0) is None
    left.started(("b", 0), 1.0)
    left.finished(("b", 0), 20.0, 0.0, whole=True, now=21.0)
    assert left.seconds(21.0) == pytest.approx(20)


def test_what_is_being_trained_counts_less_and_less():
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0}, 0.0, 2, measured=True)
    left.started(("a", 0), 0.0)
    left.started(("b", 0), 0.0)
    assert left.seconds(4.0) == pytest.approx(6)
    # Longer than was predicted: nearly through, but not less than nothing.
    assert left.seconds(30.0) == pytest.approx(0.5)


def test_a_large_training_that_is_overdue_is_not_taken_for_time_between_trainings():
    """Of 100 whose times are foreseen within a fifth, some take as long as dozens of others."""
    random = np.random.default_rng(3)
    predicted = random.lognormal(0.3, 1.4, 100) + 0.05
    said = session(predicted * random.lognormal(0, 0.2, 100), predicted, 0.01, 2, True, 0.02, between=0.015)
    off = [seconds / left for seconds, left in said if left > 0.1 * said[0][1]]
    assert min(off) > 0.5
    assert max(off) < 2
