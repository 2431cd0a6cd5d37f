"""How many trainings a card holds at once: its processes, their streams, and a budget of memory and of occupancy.

Arithmetic on plain numbers. It knows no torch and no card; what a training takes is measured elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from netpick.training import cards


@dataclass(frozen=True)
class Layout:
    """Processes on each card, and streams in each process; each stream trains one network at a time."""

    processes: int
    streams: int

    @property
    def trainings(self) -> int:
        """Networks in training at once on a card."""
        return self.processes * self.streams


def layout(number: int, cores: int, wanted: int | None = None) -> Layout:
    """Return processes and streams for each of some cards.

    Parameters
    ----------
    number : how many cards there are
    cores : CPU cores; a process keeps one busy, and a second one with metrics
    wanted : trainings at once over all cards, where the user says so
    """
    processes = max(1, min(cards.PROCESSES, cores // (2 * number)))
    if wanted is None:
        return Layout(processes, cards.STREAMS)
    a_card = math.ceil(wanted / number)
    processes = min(processes, a_card)
    return Layout(processes, math.ceil(a_card / processes))


def bytes_needed(memory: int, params: int, batch_size: int) -> int:
    """Return what a training is taken to need on a card until it is measured."""
    return cards.FIXED_BYTES + round(4 * (cards.VALUE_COPIES * memory * batch_size + cards.WEIGHT_COPIES * params))


def occupancy(memory: int, layers: int, batch_size: int) -> float:
    """Return the share of a card that a kernel of a network fills, 1 at most: a thread for each element it writes."""
    return min(1.0, memory * batch_size / max(1, layers) / cards.THREADS)


class Budget:
    """Bytes and occupancy of one process on its card; a training is admitted only where its need fits.

    One alone is always admitted: whether it fits the card, only the card can tell. What is needed is predicted first
    and corrected when it was measured; predictions then grow by the largest factor that was found too small.
    """

    def __init__(self, total: int, load: float | None = None) -> None:
        self.total, self.load = total, cards.LOAD if load is None else load
        self._held: dict[Hashable, tuple[int, float]] = {}
        self._predicted: dict[Hashable, int] = {}
        self.factor, self.common = 1.0, 0

    def set_aside(self, common: int) -> None:
        """Keep room for what all trainings have in common, however many they are: the bytes of the data set."""
        self.common = max(self.common, common)

    @property
    def used(self) -> int:
        """Bytes that are spoken for."""
        return sum(need for need, _ in self._held.values())

    def admit(self, key: Hashable, need: int, load: float) -> bool:
        """Take a training in, if it fits beside the others, and return whether it did."""
        expected = int(need * self.factor)
        loads = sum(load for _, load in self._held.values())
        if self._held and (self.used + self.common + expected > self.total or loads + load > self.load):
            return False
        self._held[key], self._predicted[key] = (expected, load), need
        return True

    def measured(self, key: Hashable, peak: int) -> None:
        """Correct the need of a training by the most that its tensors were found to take, in bytes."""
        need = peak + cards.FIXED_BYTES
        self.factor = max(self.factor, need / max(1, self._predicted[key]))
        self._held[key] = (need, self._held[key][1])

    def leave(self, key: Hashable) -> None:
        """Give back what a training had."""
        del self._held[key], self._predicted[key]
