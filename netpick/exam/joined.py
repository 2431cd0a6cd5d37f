"""What two runs have in common: the same networks, by their layers and recipe or else by name; the same samples.

Labels may differ where they were put right: a sample is the same by its image, its name, or the data set.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from netpick.store.reader import Reader
from netpick.store.samples import samples_of

RELABELLED = "labels were changed, maybe by looking at these very answers, so that nothing is said of chance"
"""Why a difference is not tested."""


@dataclass(frozen=True)
class Sides:
    """A run, and the other one that it is compared with."""

    run: Reader
    other: Reader

    def networks(self, here: Collection[str] | None = None, there: Collection[str] | None = None) -> dict[str, str]:
        """Return the name in this run, and the one in the other, of each network that both have.

        `here` and `there` are the networks that are asked about; all where left out.
        """
        asked = ((self.run, here), (self.other, there))
        frames = [one.networks if of is None else one.networks[one.networks["name"].isin(of)] for one, of in asked]
        for key in ("hash", "name"):
            names = [frame.set_index(key, drop=False)["name"] for frame in frames]
            shared = [value for value in names[0].index if value in names[1].index]
            if shared:
                return dict(zip(names[0].loc[shared].tolist(), names[1].loc[shared].tolist(), strict=True))
        return {}

    def same_samples(self, split: str) -> bool:
        """Whether both asked the same samples, and tell the same classes apart."""
        run, other = self.run, self.other
        if run.classes != other.classes or len(run.labels(split)) != len(other.labels(split)):
            return False
        rows = [samples_of(split, one.samples, one.path) for one in (run, other)]
        for column in ("image", "name"):
            values = [row[column].tolist() for row in rows]
            if all(value is not None for each in values for value in each):
                return bool(values[0] == values[1])
        relabelled = run.relabelled or other.relabelled
        return run.manifest.get("dataset") == other.manifest.get("dataset") and bool(
            relabelled or np.array_equal(run.labels(split), other.labels(split))
        )

    def other_labels(self, split: str) -> int:
        """Return how many of the same samples have another label in the other run."""
        return int((self.run.labels(split) != self.other.labels(split)).sum())
