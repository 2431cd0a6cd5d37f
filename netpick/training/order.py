"""The order in which the samples are trained on, epoch by epoch, and whose random numbers draw it."""

from __future__ import annotations

import torch
from torch import Tensor

from netpick.training.job import Job


class Order:
    """Draws the order of each epoch; make it when the initial weights are drawn.

    Parameters
    ----------
    job : its recipe says whether the samples are shuffled, and where random numbers begin
    count : number of samples
    chosen : their numbers, where they are not all that there are

    Notes
    -----
    With a seed of its own the order is the same for all networks, whatever they draw for weights or dropout. With
    `seeding = "torch"` it comes from torch's own generator, in which a pass over a `DataLoader` draws a number for its
    workers first, and then, if it shuffles, the seed of a permutation; so does each pass over an evaluated split. On a
    card, where dropout draws from the card's, a copy of that generator does the same, whatever is trained beside.
    """

    def __init__(self, job: Job, count: int, chosen: Tensor | None = None) -> None:
        self.chosen = chosen
        self.shuffled, self.as_torch, self.count = job.recipe.order == "shuffled", job.recipe.seeding == "torch", count
        self.generator = torch.Generator()
        self.torchs = torch.default_generator
        if not self.as_torch:
            self.generator.manual_seed(job.seed ^ 0x5EED)
        elif job.kind != "cpu":
            self.torchs = torch.Generator()
            self.torchs.set_state(torch.get_rng_state())

    def draw(self) -> Tensor | None:
        """Return the samples' numbers in the order of the next epoch, or None for all in the order of the data."""
        self.evaluated()
        if not self.shuffled:
            return self.chosen
        if self.as_torch:
            self.generator.manual_seed(self._number())
        places = torch.randperm(self.count, generator=self.generator)
        return places if self.chosen is None else self.chosen[places]

    def evaluated(self) -> None:
        """Draw what a pass over a `DataLoader` draws, whatever its order."""
        if self.as_torch:
            self._number()

    def _number(self) -> int:
        """Draw a number as `DataLoader` and `RandomSampler` do."""
        return int(torch.empty((), dtype=torch.int64).random_(generator=self.torchs).item())
