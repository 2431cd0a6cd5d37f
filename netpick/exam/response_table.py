"""Right and wrong answers cut into parts without holes: what item response theory sums over, what links networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netpick.exam.answered import blocks, is_whole

Numbers = np.ndarray | slice
"""Of networks or samples; all of them where nothing is missing."""


@dataclass(frozen=True)
class Part:
    """Samples that the same networks answered, and the answers."""

    networks: Numbers
    samples: Numbers
    answers: Answers


@dataclass(frozen=True)
class ResponseTable:
    """The answers of networks to samples, (networks, samples).

    Parameters
    ----------
    parts : without holes, which together have all answers
    sheets : networks that answered the same samples, and these samples
    linked : (networks,)
        The number of the set of networks that each shares samples with, be it by a chain of others.
    correct, answered : (samples,) float
        How many networks are right, and how many answered.
    """

    parts: list[Part]
    sheets: list[tuple[Numbers, Numbers]]
    linked: np.ndarray
    correct: np.ndarray
    answered: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray) -> ResponseTable:
        """Cut a table as `netpick.exam.answered.marked` returns it; bool where nothing is missing."""
        parts = [Part(rows, samples, Answers(right[rows][:, samples] > 0)) for rows, samples in blocks(right)]
        correct, answered = np.zeros((2, right.shape[1]))
        for part in parts:
            correct[part.samples] = part.answers.correct
            answered[part.samples] = part.answers.networks
        if is_whole(right):
            return cls(parts, [(slice(None), slice(None))], np.zeros(len(right), int), correct, answered)
        in_part = _in_part([part.networks for part in parts], len(right))
        return cls(parts, _sheets(in_part, parts), _linked(in_part), correct, answered)

    def over_networks(self, values: np.ndarray) -> np.ndarray:
        """For each sample the sum of a value over the networks that are right."""
        out = np.zeros(len(self.correct))
        for part in self.parts:
            out[part.samples] = part.answers.over_networks(values[part.networks])
        return out

    def over_samples(self, values: np.ndarray) -> np.ndarray:
        """For each network the sum of a value over the samples that it gets right."""
        out = np.zeros(len(self.linked))
        for part in self.parts:
            out[part.networks] += part.answers.over_samples(values[part.samples])
        return out


def linked_sets(right: np.ndarray) -> np.ndarray:
    """Return for each network the number of the set that share samples, as in `ResponseTable`, without the table."""
    if is_whole(right):
        return np.zeros(len(right), int)
    return _linked(_in_part([rows for rows, _ in blocks(right)], len(right)))


def _in_part(parts: list[Numbers], networks: int) -> np.ndarray:
    """Return which networks are in which part, bool (networks, parts)."""
    out = np.zeros((networks, len(parts)), bool)
    for k, rows in enumerate(parts):
        out[rows, k] = True
    return out


def _sheets(in_part: np.ndarray, parts: list[Part]) -> list[tuple[Numbers, Numbers]]:
    kinds, which = np.unique(in_part, axis=0, return_inverse=True)
    samples = [[np.asarray(parts[k].samples) for k in np.flatnonzero(kind)] for kind in kinds]
    return [
        (np.flatnonzero(which.ravel() == i), np.concatenate(some) if some else np.empty(0, int))
        for i, some in enumerate(samples)
    ]


def _linked(in_part: np.ndarray) -> np.ndarray:
    from scipy.sparse import block_array, csr_array
    from scipy.sparse.csgraph import connected_components

    between = csr_array(in_part, dtype=int)  # networks and parts: pairs of networks would be too many
    return connected_components(block_array([[None, between], [between.T, None]]), directed=False)[1][: len(in_part)]


class Answers:
    """Sums over the right answers, from those of the two kinds, right and wrong, that are fewer; bool, without holes.

    In double precision: where most answers are right, ever so little in a sum over all of them moves the abilities of
    the best networks by more than a round of the fit does.
    """

    def __init__(self, right: np.ndarray) -> None:
        from scipy.sparse import csr_array

        self.networks = len(right)
        self.correct = right.sum(axis=0).astype(float)
        self.all_but = 2 * np.count_nonzero(right) > right.size
        self.few = csr_array(~right if self.all_but else right, dtype=float)

    def over_networks(self, values: np.ndarray) -> np.ndarray:
        """For each sample the sum of a value over the networks that are right."""
        return self._of_right(values, values @ self.few)

    def over_samples(self, values: np.ndarray) -> np.ndarray:
        """For each network the sum of a value over the samples that it gets right."""
        return self._of_right(values, self.few @ values)

    def _of_right(self, values: np.ndarray, of_few: np.ndarray) -> np.ndarray:
        return values.sum() - of_few if self.all_but else of_few
