"""The networks that a catalogue has so far: what each is called, and which of them are the same.

A network has one name whatever it is trained by; what was swept stands behind it. Nothing is enumerated here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from netpick.core.errors import CatalogueError
from netpick.core.names import NAME
from netpick.core.recipe import FOR_BASELINES
from netpick.networks.catalogue import sweeps
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline

LONGEST = 100
"""Characters of a name."""

Variants = Sequence[tuple[dict[str, Any], dict[str, Any]]]
"""What differs from the base recipe, and the values that were swept."""


class Register:
    """Names and hashes of networks, and of students: networks × recipes."""

    def __init__(self) -> None:
        self._students: dict[str, str] = {}  # hash of layers and recipe -> name
        self._networks: dict[str, str] = {}  # hash of layers -> what it is called, whatever it is trained by
        self._numbers: Counter[str] = Counter()
        self._names: set[str] = set()
        self._bases: set[str] = set()  # names without what was swept

    def has(self, network: NetworkSpec) -> bool:
        """Whether there is a network with the same layers."""
        return network.layers_hash in self._networks

    def numbered(self, stem: str, network: NetworkSpec) -> NetworkSpec:
        """Name a network by its family and the family's next number; one that was there keeps its name."""
        if self.has(network):
            return replace(network, name=self._networks[network.layers_hash])
        number = self._numbers[stem] + 1
        while f"{stem}_{number}" in self._bases:  # an explicit cell has taken it
            number += 1
        self._numbers[stem] = number
        return replace(network, name=f"{stem}_{number}")

    def students(self, network: NetworkSpec, variants: Variants) -> Iterator[NetworkSpec]:
        """Yield a network once for each recipe by which it is not trained yet."""
        self._networks.setdefault(network.layers_hash, network.name)
        self._bases.add(network.name)
        for changes, swept in variants:
            if is_baseline(network.layers):
                changes, swept = (
                    {key: value for key, value in values.items() if key in FOR_BASELINES} for values in (changes, swept)
                )
            spec = replace(network, name=network.name + sweeps.suffix(swept), recipe=changes)
            if spec.hash in self._students:
                continue
            if spec.name in self._names:  # by values that were not swept: say them all
                spec = replace(spec, name=network.name + sweeps.suffix(changes))
            if len(spec.name) > LONGEST or not NAME.fullmatch(spec.name) or spec.name in self._names:
                spec = replace(spec, name=f"{network.name[: LONGEST - 17]}.{spec.hash}")
            self._students[spec.hash] = spec.name
            self._names.add(spec.name)
            yield spec

    def named(self, network: NetworkSpec, variants: Variants, where: str = "") -> list[NetworkSpec]:
        """Return the students of a network that has a name of its own.

        Raises
        ------
        CatalogueError
            The name is taken, or the network is there already; `where` says which cell it is of.
        """
        if network.name in self._names | self._bases:
            place = f"{where}: " if where else ""
            raise CatalogueError(f"{place}the name '{network.name}' is taken, give each network a name of its own")
        students = list(self.students(network, variants))
        if not students:
            place = f"{where} ({network.name})" if where else network.name
            raise CatalogueError(f"{place}: the same network as {self._students[network.hash]}, take one out")
        return students
