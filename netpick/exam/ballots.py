"""The students' last answers and scores, as arrays, and the votes that they come to, as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from netpick.core.result import LEFT_OUT
from netpick.core.threads import ahead
from netpick.exam.answered import HOLES
from netpick.exam.checks import done, need_network
from netpick.exam.marks import attempts
from netpick.store.reader import Reader

FEW = 0.1
"""Below this share of the networks, answers are read for them alone; else for all, once."""
HELD, PIECE = 2**30, 2**27
"""Bytes of scores that are read for all networks at once, and kept; and of those that are read at a time where they are
more, or each network answered some samples alone."""


def first_replicates(run: Reader, split: str = "test") -> dict[str, int]:
    """Return the replicate whose answers stand for each student: the first that is done; in catalogue order."""
    names = attempts(run, split).index.astype(str).tolist()
    lowest = done(run).groupby("network")["replicate"].min()
    first = dict(zip(names, lowest.loc[names].tolist(), strict=True))
    present = {(name, r) for r in set(first.values()) for name in run.network_names(split=split, replicate=r)}
    return {name: r for name, r in first.items() if (name, r) in present}


def first_trainings(run: Reader, names: Iterable[str], split: str = "test") -> pd.DataFrame:
    """Return the trainings whose answers stand for these students, in their order."""
    which = first_replicates(run, split)
    rows = done(run).set_index(["network", "replicate"], drop=False)
    return rows.loc[[(name, which[name]) for name in names]].reset_index(drop=True)


def folds_of(run: Reader, names: Sequence[str], split: str) -> tuple[np.ndarray, dict[int, np.ndarray | slice]]:
    """Return the fold that each student answered, and the samples of each fold; all in one where all answered all."""
    if split != LEFT_OUT:
        return np.zeros(len(names), int), {0: slice(None)}
    fold = first_trainings(run, names, split)["fold"].to_numpy(int)
    rows = run.samples[run.samples["split"] == split].sort_values("sample")["fold"].to_numpy(int)
    return fold, {int(one): np.flatnonzero(rows == one) for one in np.unique(fold)}


def _gather(read: Callable[..., np.ndarray], which: dict[str, int], split: str) -> np.ndarray:
    """Read the last answers of networks by name and replicate, into rows of that order."""
    replicates = sorted(set(which.values()))
    if len(replicates) < 2:  # all but always: no copy of a large array
        return read(split=split, networks=list(which), replicate=min(replicates, default=0))
    out: np.ndarray | None = None
    names = list(which)
    for replicate in replicates:
        rows = [i for i, name in enumerate(names) if which[name] == replicate]
        part = read(split=split, networks=[names[i] for i in rows], replicate=replicate)
        if out is None:
            out = np.empty((len(names), *part.shape[1:]), part.dtype)
        out[rows] = part
    assert out is not None
    return out


def _last(
    run: Reader, what: str, read: Callable[..., np.ndarray], names: Iterable[str] | None, split: str
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, last answers and labels; all are read once and kept, a few that are named by themselves."""
    which = first_replicates(run, split)
    key, labels, everyone = (what, split), run.labels(split), list(which)
    wanted = everyone
    if names is not None:
        wanted = list(names)
        for name in wanted:
            if name not in which:
                need_network(run, name)
        wanted = [name for name in wanted if name in which]  # the others' files can't be read
        few = len(wanted) <= max(2, FEW * len(which)) or not _held(run, what, len(which), len(labels))
        if few and not run.has_kept(key):
            return wanted, _gather(read, {name: which[name] for name in wanted}, split), labels
    if not _held(run, what, len(which), len(labels)):
        return everyone, _gather(read, which, split), labels
    whole = run.once(key, lambda: _gather(read, which, split))
    if wanted == everyone:
        return everyone, whole, labels
    place = {name: i for i, name in enumerate(everyone)}
    rows = [place[name] for name in wanted]
    ranged = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return wanted, whole[rows[0] : rows[-1] + 1] if ranged else whole[rows], labels


def _held(run: Reader, what: str, networks: int, samples: int) -> bool:
    """Whether the answers of all networks are few enough to be read at once, and kept."""
    return what != "scores" or _bytes_each(run, samples) * networks <= HELD


def _bytes_each(run: Reader, samples: int) -> int:
    """Return the bytes of a network's scores."""
    return max(1, 4 * samples * len(run.classes))


def final(
    run: Reader, names: Iterable[str] | None = None, split: str = "test"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the last answers: names (n), predicted classes int16 (n, samples), labels int16 (samples).

    Of all students or of those named (each once), by the first replicate that is done; without those whose files
    can't be read. What is read for all is kept, a few names are read by themselves. Treat the arrays as read-only.
    """
    return _last(run, "predicted", run.predicted, names, split)


def final_scores(
    run: Reader, names: Iterable[str] | None = None, split: str = "test"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the last scores: names (n), float32 (n, samples, classes), labels int16 (samples).

    As `final`. All scores take 400 MB for 1001 networks, 10,000 samples and 10 classes, and there is to be one copy of
    them: a range of the students is given as a view, any other selection is a copy; work through it in blocks. Of more
    than a gigabyte none are kept: those named are read, and `score_blocks` reads them in pieces. Raises RunError where
    scores were not kept by the run.
    """
    return _last(run, "scores", run.scores, names, split)


def score_blocks(
    run: Reader, names: Iterable[str], split: str = "test", block: int = 16
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield some networks and their last scores at a time, each network once, in no order that is to be relied on.

    There are never all at once of those that are too many to be held, and of others' folds, where they are NaN.
    """
    which, samples, asked = first_replicates(run, split), len(run.labels(split)), set(names)
    if split not in HOLES and _held(run, "scores", len(which), samples):
        known, scores, _ = final_scores(run, None, split)
        rows = [i for i, name in enumerate(known) if name in asked]
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            yield [known[i] for i in some], scores[some]
        return

    def read(part: list[str]) -> tuple[list[str], np.ndarray]:
        return part, _gather(run.scores, {name: which[name] for name in part}, split)

    # As merged files have them: in any other order each piece would read most row groups again.
    wanted, size = sorted(name for name in which if name in asked), max(1, PIECE // _bytes_each(run, samples))
    pieces = (wanted[start : start + size] for start in range(0, len(wanted), size))
    for part, scores in ahead(read, pieces, threads=1):
        for start in range(0, len(part), block):
            yield part[start : start + block], scores[start : start + block]


def halves(n: int, seed: int = 0, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split the numbers 0 ... n-1 at random in two, to choose on the first part and judge on the second.

    With `labels` each class is split in two by itself; odd ones out go to the first and second part in turn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def votes(predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count how many networks give each class as their answer: int32 (samples, classes), from (networks, samples)."""
    samples = predicted.shape[1]
    out = np.empty((samples, classes), np.int32)
    for c in range(classes):
        out[:, c] = (predicted == c).sum(axis=0, dtype=np.int32)
    return out


def ballot(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Count the votes on each sample.

    Parameters
    ----------
    predicted : (networks, samples) array of int
    labels : (samples,) array of int
    class_names : names of the classes, in order

    Returns
    -------
    pandas.DataFrame
        One row a sample: sample, label, class_name, right and wrong (shares of the networks), answer (the class
        with most votes, the first of equals), top (share of the networks that give it), mistake (the wrong class with
        most votes; -1 where nobody is wrong), same (share of the wrong networks that give it; NaN likewise), entropy
        (of the votes, in bits: 0 where all agree), and votes_0 ... votes_{C-1} (networks). Shares are of the networks
        that answered the sample (-1 where one did not); samples that none did are left out.
    """
    classes = len(class_names)
    counts = votes(predicted, classes)
    n = np.maximum(1, counts.sum(axis=1))
    rows = np.arange(len(labels))
    right = counts[rows, labels]
    others = counts.copy()
    others[rows, labels] = -1  # never the most frequent mistake
    mistake, most = others.argmax(axis=1), others.max(axis=1)
    wrong = counts.sum(axis=1) - right
    share = counts / n[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(counts > 0, share * np.log2(share), 0.0).sum(axis=1)
        same = np.where(wrong > 0, most / wrong, np.nan)
    names = np.asarray(class_names, dtype=object)
    table = pd.DataFrame(
        {
            "sample": rows,
            "label": labels,
            "class_name": names[labels],
            "right": right / n,
            "wrong": wrong / n,
            "answer": counts.argmax(axis=1),
            "top": share.max(axis=1),
            "mistake": np.where(wrong > 0, mistake, -1),
            "same": same,
            "entropy": entropy + 0.0,  # no -0.0
            **{f"votes_{c}": counts[:, c] for c in range(classes)},
        }
    )
    answered = counts.any(axis=1)
    return (
        table if answered.all() or not len(predicted) else table.iloc[np.flatnonzero(answered)].reset_index(drop=True)
    )
