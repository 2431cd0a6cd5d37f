"""`Situation`: what a session knows of its run, gathered once and handed from one part to the next.

A value, which changes nothing and decides nothing; how it comes about is said in `settle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netpick.core.devices import describe
from netpick.core.recipe import Recipe
from netpick.networks.catalogue.folds import first_folds
from netpick.networks.paper.spec import NetworkSpec, seed_of
from netpick.sessions.workers.task import TrainingKey
from netpick.training.choice import choose
from netpick.training.plan import Plan

if TYPE_CHECKING:  # workers load this module, and need no files
    from netpick.store.folder import Store


@dataclass(frozen=True)
class Samples:
    """How many samples are trained on in an epoch, and evaluated after it (all other splits together)."""

    train: int
    evaluated: int


@dataclass(frozen=True)
class RunNetwork:
    """A network of a run: its row of networks.parquet, its spec, and the recipe that it is trained by."""

    row: Mapping[str, Any]
    spec: NetworkSpec
    recipe: Recipe

    def seed(self, of_run: int, replicate: int) -> int:
        """Return the seed of a training: of the layers alone, or as a script says the run's seed to torch."""
        if self.recipe.seeding == "torch":
            return of_run + replicate
        return seed_of(of_run, self.spec.layers_hash, replicate)


@dataclass(frozen=True)
class DueTraining:
    """A training that has no result yet, or one that is to be replaced."""

    network: RunNetwork
    replicate: int

    @property
    def key(self) -> TrainingKey:
        """Hash of the network, and replicate."""
        return self.network.spec.hash, self.replicate


@dataclass(frozen=True)
class Situation:
    """A run as a session finds it, with what the user wants of it.

    `recipe`, `keep` (which scores and weights) and `pin` (what is fixed of the plans) are those that the trainings that
    are due will have, whether or not run.toml says so yet. `ended` has the status of each training with a result;
    those with one of the statuses in `retry` are due again. `samples` are known once the data set has been looked at,
    and which engines are `missing` on this machine once they have been made ready. `cluster` says in words on what is
    trained where that is not this machine; `devices` are then those of its workers, the most common first.
    """

    store: Store
    networks: tuple[RunNetwork, ...]
    recipe: Recipe
    keep: Mapping[str, str]
    pin: str
    devices: tuple[str, ...]
    workers: int
    ended: Mapping[TrainingKey, str]
    retry: frozenset[str] = frozenset()
    samples: Samples | None = None
    missing: frozenset[str] = frozenset()
    cluster: str = ""

    @cached_property
    def standing(self) -> dict[TrainingKey, str]:
        """The status of each training whose result stays."""
        return {key: status for key, status in self.ended.items() if status not in self.retry}

    @cached_property
    def due(self) -> tuple[DueTraining, ...]:
        """The trainings that are due, in the order of the catalogue."""
        every = (DueTraining(network, n) for network in self.networks for n in range(network.recipe.replicates))
        return tuple(training for training in every if training.key not in self.standing)

    @property
    def total(self) -> int:
        """Number of trainings that the run has when it is finished."""
        return sum(network.recipe.replicates for network in self.networks)

    def fold(self, network: RunNetwork, replicate: int) -> int | None:
        """Return which fold of the training samples a training leaves out; None where there are none."""
        if not self.recipe.folds:
            return None
        return (self._first_folds[network.spec.hash] + replicate) % self.recipe.folds

    @cached_property
    def _first_folds(self) -> dict[str, int]:
        keys = ("hash", "computation", "activation", "params")  # of all networks, whichever are looked at
        return first_folds((tuple(row[key] for key in keys) for row in self.store.networks()), self.recipe.folds)

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """The plan of each network on these devices, by its hash."""
        device = self.devices[0]
        return {n.spec.hash: choose(n.recipe, device, n.spec, self.pin, self.missing) for n in self.networks}

    @property
    def machine(self) -> str:
        """What is trained on, in words."""
        return self.cluster or describe(self.devices[0])

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.store.manifest["classes"])

    @property
    def image(self) -> tuple[int, ...]:
        """Shape of an image: channels, height, width."""
        return tuple(self.store.manifest["shape"])
