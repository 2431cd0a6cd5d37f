"""The time left, against sessions on a simulated clock: workers, what passes between trainings, a queue of results."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from netpick.sessions.forecast.bookkeeping import NOTHING, Bookkeeping, Overheads
from netpick.sessions.forecast.remaining import TimeLeft
from netpick.sessions.forecast.writing import Writing

NONE = (0.0, 0.0)
OFF = 0.15
"""The time left may be off by so much, from the half of a session on."""

SHOWN = 1.0
"""Second: less than that is not shown, so that the last moments are judged by it."""


def session(
    true, predicted, fixed, workers, measured, writing, slower=1.0, between=0.003, startup=3.0, busy=None, merging=NONE
):
    """Train in the order of what is predicted; return (seconds left as said, as it then was) after each training.

    A worker that is free is given the next training at once. Results that have ended are written down together, all
    that there are up to 16, in a first second of `writing` and a second one for each; `slower` times as long while
    workers train, for which the coordinator waits for a core. Once all are trained their files are merged, by `merging`
    in the same way. All that is done for a training takes `busy` times as long, by its place in the order.
    """
    busy = np.ones(len(true)) if busy is None else busy
    order = np.argsort(-predicted, kind="stable")
    true, predicted = true[order], predicted[order]
    keys = [(f"{place:05}", 0) for place in range(len(true))]
    each = [at[0] + at[1] for at in (writing, merging)]
    many = [at[0] / 10 + at[1] for at in (writing, merging)]
    overheads = Overheads(Bookkeeping(each[0], 0.0, each[1], many[0], many[1]))
    left = TimeLeft(dict(zip(keys, predicted.tolist(), strict=True)), fixed, workers, measured, overheads, cores=2)
    free = [startup] * workers
    starts, ends = [], []
    for place, seconds in enumerate(true):
        begun = heapq.heappop(free)
        starts.append((begun if place >= workers else 0.0, keys[place]))
        seconds *= busy[place]
        ends.append((begun + seconds + between * busy[place], keys[place], seconds))
        heapq.heappush(free, ends[-1][0])
    starts.sort(reverse=True)
    ends.sort(reverse=True)
    now, last, said, files = 0.0, max(free), [], 0
    while ends:
        now = max(now, ends[-1][0])
        group = [ends.pop() for _ in range(16) if ends and ends[-1][0] <= now]
        others = busy[int(group[-1][1][0])]
        alone = writing[0] + writing[1] * len(group)
        took = alone * (others - 1 + slower if now < last else others)
        now, files = now + took, files + 1
        while starts and starts[-1][0] <= now:
            left.started(starts[-1][1], starts[-1][0])
            starts.pop()
        left.finished({key: (float(seconds), True) for _, key, seconds in group}, took, now, took - alone)
        said += [(left.seconds(now), now)] * len(group)
    now += busy[-1] * (merging[0] * files + merging[1] * len(true))
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
    ("workers", "slower"), [(1, 1), (2, 1), (2, 2)], ids=["one worker", "two workers", "two workers on all cores"]
)
@pytest.mark.parametrize("writing", [(0.02, 0.0), (0.016, 0.004), (0.0, 0.02)], ids=["a time", "both", "each"])
@pytest.mark.parametrize("basis", ["timed", "rough"])
@pytest.mark.parametrize("kind", KINDS)
def test_from_the_half_on_the_time_left_is_what_follows(kind, workers, basis, writing, slower):
    random = np.random.default_rng(2)
    sizes = KINDS[kind]
    true = sizes * np.exp(random.normal(0, 0.05, len(sizes)))
    # A model that was fitted is off by a third and some; a rough one by a factor of four, with 0.3 s on top of all.
    spread, factor, fixed = (0.15, 1.3, 0.02) if basis == "timed" else (0.3, 4.0, 0.3)
    predicted = factor * sizes * np.exp(random.normal(0, spread, len(sizes))) + fixed
    said = session(true, predicted, fixed, workers, basis == "timed", writing, slower)
    for seconds, follows in said[len(said) // 2 :]:
        if follows > 0:
            assert seconds == pytest.approx(follows, rel=OFF, abs=SHOWN if follows < 6 else 0)
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
    said = session(true, predicted, fixed, 2, basis == "timed", (0.016, 0.004), busy=busy)
    began = said[changes][1]  # seconds before the end
    judged = [(seconds, follows) for seconds, follows in said[:-1] if began - MINUTE > follows > SHOWN]
    assert len(judged) > 50
    for seconds, follows in judged:
        assert seconds == pytest.approx(follows, rel=OFF, abs=SHOWN)


@pytest.mark.parametrize(("before", "after"), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.5)])
def test_so_it_does_where_the_last_are_trainings_of_milliseconds(before, after):
    """What decides is writing them down, many together, and merging their files."""
    random = np.random.default_rng(4)
    sizes = np.sort(np.append(random.lognormal(0.7, 1, 60), random.lognormal(-4, 0.5, 940)))[::-1]
    true = sizes * np.exp(random.normal(0, 0.05, 1000))
    predicted = sizes * np.exp(random.normal(0, 0.15, 1000)) + 0.004
    busy = np.where(np.arange(1000) < 20, before, after)
    said = session(true, predicted, 0.004, 2, True, (0.015, 0.002), 2.0, busy=busy, merging=(0.005, 0.001))
    began = said[20][1]
    judged = [(seconds, follows) for seconds, follows in said if began - 20 > follows > 0]
    assert len(judged) > 500
    for seconds, follows in judged:
        assert seconds == pytest.approx(follows, rel=OFF, abs=SHOWN)


def test_what_a_time_takes_and_each_of_its_trainings_are_told_apart():
    """Without a word of it before; 40 that end at once are then written down as 16, 16 and 8."""
    writing = Writing(NOTHING, 1.0)
    for place, number in enumerate([1, 1, 2, 1, 5, 12, 1, 3, 16]):
        writing.add(number, 0.03 + 0.002 * number, 0.0, float(place))
    writing.learn(10.0)
    assert writing.until_merged([0.0] * 40, 100.0, 1.0) == pytest.approx(3 * 0.03 + 40 * 0.002)
    assert writing.until_merged([0.0, 1.0], 100.0, 1.0) == pytest.approx(1 + 0.032)
    # What was long ago is forgotten.
    for place, number in enumerate([1, 1, 2, 1, 5, 12, 1, 3, 16]):
        writing.add(number, 0.06 + 0.004 * number, 0.0, 40.0 + place)
    writing.learn(50.0)
    assert writing.until_merged([0.0] * 40, 100.0, 1.0) == pytest.approx(3 * 0.06 + 40 * 0.004)
    # Of one at a time nobody could tell: then it is as foreseen, by the factor that they took.
    writing = Writing(Overheads(Bookkeeping(commit=0.011, together=0.002, merge=0.0, merge_together=0.0)), 1.0)
    assert writing.until_merged([0.0] * 16, 100.0, 1.0) == pytest.approx(0.01 + 16 * 0.001)
    for place in range(10):
        writing.add(1, 0.033, 0.0, float(place))
    writing.learn(10.0)
    assert writing.until_merged([0.0] * 16, 100.0, 1.0) == pytest.approx(0.03 + 16 * 0.003)


def test_what_was_waited_for_is_no_part_of_what_is_done_once_the_workers_rest():
    """A third of the time on a core that two workers and as many others had as there are cores: half, without them."""
    writing = Writing(Overheads(Bookkeeping(commit=0.01, together=0.01, merge=0.02, merge_together=0.02)), 1.0)
    assert writing.merging(1.0, 0, 5) == pytest.approx(0.1)
    for place in range(10):
        writing.add(1, 0.03, 0.02, float(place))
    writing.learn(10.0)
    assert writing.merging(1.0, 0, 0) == pytest.approx(2 * 10 * 0.02)
    assert writing.until_merged([0.0], 0.0, 1.0) == pytest.approx(0.02 + 2 * 11 * 0.02)
    assert writing.until_merged([0.0], 9.0, 1.0) == pytest.approx(0.03 + 2 * 11 * 0.02)


MERGED = Overheads(Bookkeeping(0.0, 0.0, 4.0, 0.0, 4.0))
"""Merging the files of a training takes 4 s."""


def test_files_that_are_merged_at_the_end_are_counted_before_and_while_they_are():
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0}, 0.0, 1, measured=True, overheads=MERGED)
    assert left.seconds(0.0) == pytest.approx(28)
    for at, key in ((0.0, ("a", 0)), (10.0, ("b", 0))):
        left.started(key, at)
        left.finished({key: (10.0, True)}, 0.0, at + 10)
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
    left = TimeLeft({("a", 0): 10.0, ("b", 0): 10.0}, 0.0, 1, measured, overheads=MERGED)
    for at, key in ((0.0, ("a", 0)), (20.0, ("b", 0))):
        left.started(key, at)
        left.finished({key: (20.0, True)}, 0.0, at + 20)
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
        left.finished({key: (seconds, True)}, 0.0, now)
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
    left.finished({("a", 0): (1.0, False)}, 0.0, 1.0)
    assert left.seconds(1.0) is None
    left.started(("b", 0), 1.0)
    left.finished({("b", 0): (20.0, True)}, 0.0, 21.0)
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
    said = session(predicted * random.lognormal(0, 0.2, 100), predicted, 0.01, 2, True, (0.016, 0.004), between=0.015)
    off = [seconds / left for seconds, left in said if left > 0.1 * said[0][1]]
    assert min(off) > 0.5
    assert max(off) < 2
