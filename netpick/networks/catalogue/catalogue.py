"""From a template to its networks: enumerate, draw, check shapes and constraints, drop duplicates, name, share out.

The same template, image shape, classes and seed give the same catalogue to the byte on any machine: numbers are drawn
by Python's own Mersenne Twister, whose methods used here are the same in all versions, from a stream of its own for
each family, so that editing one cell leaves the others as they were. Nothing is built here; see `build`.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from netpick.core.errors import CatalogueError, SpecError
from netpick.core.recipe import Recipe, difference
from netpick.networks.catalogue import sweeps
from netpick.networks.catalogue.cells import Cell, ExplicitCell, GridCell, SampledCell
from netpick.networks.catalogue.decisions import Combination, Sampler
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.catalogue.register import Register, Variants
from netpick.networks.catalogue.template import Template, cell_recipes
from netpick.networks.paper.inferred import family_of
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.operations import ENDS
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, Size, check, read_layers
from netpick.networks.paper.whole_networks import is_baseline

MAX_DRAWS = 2000
"""Draws in a row that may be refused before a cell is given up: far more than any cell of ours ever needs."""

CONSTRAINTS = ("min_params", "max_params", "min_macs", "max_macs")


def _broken(cell: SampledCell | GridCell, size: Size) -> str | None:
    """Return the first constraint that a network breaks, or None."""
    for key in CONSTRAINTS:
        limit = getattr(cell, key)
        value = getattr(size, key[4:])
        if limit is not None and (value < limit if key.startswith("min") else value > limit):
            return key
    return None


class _Catalogue:
    """Networks of cells, for images of one shape and a number of classes; `register` has those so far."""

    def __init__(self, image: Shape, classes: int) -> None:
        self.image, self.classes = image, classes
        self.register = Register()

    def explicit(self, cell: ExplicitCell, where: str, variants: Variants) -> Iterator[NetworkSpec]:
        numbers = {"classes": self.classes, "pixels": math.prod(self.image)}

        def filled(value: Any) -> Any:
            if value == "input":
                return list(self.image)
            if isinstance(value, list):
                return [filled(v) for v in value]
            return numbers.get(value, value) if isinstance(value, str) else value

        try:
            # The operation's name stays as it is; the placeholders stand for arguments only.
            given = [{k: v if k == "op" else filled(v) for k, v in entry.items()} for entry in cell.layers]
            layers = tuple(read_layers(given, self.image, self.classes))
            check(layers, self.image, self.classes)
            if layers[-1].op not in ENDS and not is_baseline(layers):
                raise SpecError(
                    f"layer {len(layers) - 1}: the last layer must be {' or '.join(ENDS)}, got {layers[-1].op}"
                )
        except SpecError as error:
            raise CatalogueError(f"{where} ({cell.name}): {error}") from None
        computation, activation = family_of(layers)
        spec = NetworkSpec(cell.name, cell.computation or computation, cell.activation or activation, layers)
        yield from self.register.named(spec, variants, where)

    def sampled(
        self, cell: SampledCell, where: str, streams: Counter[tuple[str, str]], seed: int, variants: Variants
    ) -> Iterator[NetworkSpec]:
        row = COMPUTATIONS[cell.computation]
        for activation, count in cell.families():
            family = (cell.computation, activation)
            rng = random.Random(f"{seed}/{cell.computation}/{activation}/{streams[family]}")
            streams[family] += 1
            stem = row.family_name(*family)
            draw = Sampler(cell, activation, rng)
            for done in range(count):
                draw.next_network()
                refused: Counter[str] = Counter()
                sizes: dict[str, list[int]] = defaultdict(list)
                while True:
                    reason, spec = self._draw(cell, draw, stem, row.layout, sizes)
                    if spec is not None:
                        yield from self.register.students(spec, variants)
                        break
                    refused[reason] += 1
                    if refused.total() == MAX_DRAWS:
                        raise CatalogueError(_unfillable(f"{where} ({stem})", cell, done, count, refused, sizes))

    def _draw(
        self,
        cell: SampledCell,
        draw: Sampler,
        stem: str,
        layout: Callable[..., list[LayerSpec]],
        sizes: dict[str, list[int]],
    ) -> tuple[str, NetworkSpec | None]:
        """Draw once; return the network, or the reason why it was refused."""
        try:
            layers = layout(self.image, self.classes, draw)
            size = check(layers, self.image, self.classes)
        except SpecError as error:
            return f"can't be built: {error}", None
        broken = _broken(cell, size)
        if broken:
            sizes[broken].append(getattr(size, broken[4:]))
            return broken, None
        spec = NetworkSpec("", cell.computation, draw.activation, tuple(layers))
        repeated = self.register.has(spec)
        return "repeats an earlier network", None if repeated else self.register.numbered(stem, spec)

    def grid(self, cell: GridCell, where: str, variants: Variants) -> Iterator[NetworkSpec]:
        keys = [f.name for f in msgspec.structs.fields(cell) if f.name not in (*CONSTRAINTS, "recipe")]
        combinations = list(itertools.product(*(getattr(cell, key) for key in keys)))
        students, reasons = 0, Counter[str]()
        for combination in combinations:
            values = dict(zip(keys, combination, strict=True))
            row = COMPUTATIONS[values["computation"]]
            try:
                layers = row.layout(self.image, self.classes, Combination(values))
                size = check(layers, self.image, self.classes)
            except SpecError as error:
                reasons[str(error)] += 1
                continue
            broken = _broken(cell, size)
            if broken:
                reasons[f"{broken} = {getattr(cell, broken)} is broken"] += 1
                continue
            stem = row.family_name(values["computation"], values["activation"])
            spec = NetworkSpec("", values["computation"], values["activation"], tuple(layers))
            # Keys that a computation does not use make equal networks: one is kept.
            for student in self.register.students(self.register.numbered(stem, spec), variants):
                students += 1
                yield student
        if not students and (reasons or not cell.recipe):  # students of an earlier cell may be all that a sweep gives
            reason, times = reasons.most_common(1)[0] if reasons else ("all repeat earlier networks", len(combinations))
            raise CatalogueError(
                f"{where}: none of {len(combinations)} combinations can be used; {times} times: {reason}"
            )


def _unfillable(
    where: str, cell: SampledCell, done: int, count: int, refused: Counter[str], sizes: dict[str, list[int]]
) -> str:
    reason, times = refused.most_common(1)[0]
    if reason in sizes:
        what = reason[4:]
        nearest = max(sizes[reason]) if reason.startswith("min") else min(sizes[reason])
        reason = f"{reason} = {getattr(cell, reason)} is at fault, the nearest drawn has {nearest} {what}"
        advice = "move the constraint or widen the cell's ranges"
    elif reason.startswith("repeats"):
        advice = "ask for fewer networks or widen the cell's ranges"
    else:
        advice = "change the cell's ranges to fit the image"
    return (
        f"{where}: can't be filled, {done} of {count} networks found; {times} of the last {MAX_DRAWS} draws: "
        f"{reason}; {advice}"
    )


def enumerate_networks(
    template: Template, image: Shape, classes: int, seed: int = 0, given: Sequence[NetworkSpec] = ()
) -> Iterator[NetworkSpec]:
    """Yield all networks of a template, one after the other.

    Parameters
    ----------
    template : a parsed template
    image : shape [C, H, W] of one image
    classes : number of classes
    seed : of the sampled cells
    given : networks that were made elsewhere; they come first

    Raises
    ------
    CatalogueError
        A cell that can't be filled (says which constraint is at fault), or an explicit network that does not fit.
    """
    catalogue = _Catalogue(image, classes)
    if given:
        variants = _variants(template, ExplicitCell(name="given", layers=[]), "networks")
        for spec in given:
            yield from catalogue.register.named(spec, variants)
    # Explicit networks come first, so that no drawn one takes their place as "the earlier".
    order = sorted(range(len(template.cells)), key=lambda i: not isinstance(template.cells[i], ExplicitCell))
    streams: Counter[tuple[str, str]] = Counter()
    for index in order:
        cell, where = template.cells[index], f"cells[{index}]"
        variants = _variants(template, cell, where)
        if isinstance(cell, ExplicitCell):
            yield from catalogue.explicit(cell, where, variants)
        elif isinstance(cell, GridCell):
            yield from catalogue.grid(cell, where, variants)
        else:
            yield from catalogue.sampled(cell, where, streams, seed, variants)


def _variants(template: Template, cell: Cell, where: str) -> Variants:
    """Return, for each recipe that a cell's networks are trained by, what differs from the base, and what is swept."""
    if not cell.recipe and not template.sweep:
        return [({}, {})]
    made = cell_recipes(template, cell, where)
    recipe = [difference(msgspec.convert(combination.values, Recipe), template.recipe) for combination in made]
    return list(zip(recipe, (combination.swept for combination in made), strict=True))


def share(networks: list[NetworkSpec], limit: int | None) -> list[NetworkSpec]:
    """Take `limit` networks, a share of every family in proportion to its size, the first ones of each.

    Shares are rounded by largest remainder; where the limit allows, every family keeps at least one. Networks with a
    name of their own (such as `Basic`) count as a family each and go first, as the others are compared with them.
    """
    if limit is None or limit >= len(networks):
        return networks
    groups: dict[str, list[NetworkSpec]] = defaultdict(list)
    for spec in networks:
        name = sweeps.base_name(spec.name)
        stem, _, number = name.rpartition("_")
        groups[stem if stem and number.isdigit() else name].append(spec)
    stems = list(groups)
    quota = {stem: len(groups[stem]) * limit / len(networks) for stem in stems}
    named = [stem for stem in stems if sweeps.base_name(groups[stem][0].name) == stem]
    taken = dict.fromkeys(stems, 0)
    for stem in named[:limit]:
        taken[stem] = 1
    if limit >= len(stems):
        taken = {stem: max(1, math.floor(quota[stem])) for stem in stems}
    order = sorted(stems, key=lambda stem: (taken[stem] - quota[stem], stems.index(stem)))
    while sum(taken.values()) > limit:  # the families kept by "at least one" are paid for by the best served others
        stem = max((s for s in stems if taken[s] > 1), key=lambda s: taken[s] - quota[s])
        taken[stem] -= 1
    for stem in itertools.cycle(order):
        if sum(taken.values()) >= limit:
            break
        if taken[stem] < len(groups[stem]):
            taken[stem] += 1
    chosen = {spec.name for stem in stems for spec in groups[stem][: taken[stem]]}
    return [spec for spec in networks if spec.name in chosen]


def generate(
    template: Template,
    image: Shape,
    classes: int,
    seed: int = 0,
    limit: int | None = None,
    given: Sequence[NetworkSpec] = (),
) -> list[NetworkSpec]:
    """Return the catalogue of a template, or a share of every family of it."""
    return share(list(enumerate_networks(template, image, classes, seed, given)), limit)
