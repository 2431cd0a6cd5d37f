"""What a session will do with a run, from what the run says and what the user said; refused here, or not at all.

Nothing is written. What was settled goes into run.toml once all the rest has been checked: see `decisions`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from netpick.core import devices
from netpick.core.advice import command
from netpick.core.errors import RunError
from netpick.core.recipe import Recipe, applied, check_recipe, check_together, current, difference
from netpick.networks.catalogue.template import apply_override, parse_recipe
from netpick.networks.modules.user_code import allowed, located, modules_of, source_file, source_hash
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions.options import Options
from netpick.sessions.situation import RunNetwork, Situation
from netpick.sessions.workers import gpu_budget
from netpick.store.folder import Store
from netpick.training.choice import choose
from netpick.training.plan import pinned

KEEP = {"scores": "all", "weights": "last"}
"""What a run keeps where nobody says otherwise."""


def settled(store: Store, options: Options) -> Situation:
    """Return what is the case, as `gathered`; raises NetpickError where the devices can't do what is wanted.

    And RunError for a run of which only the answers are there to work with.
    """
    need_trainable(store)
    if options.cluster is not None:  # what its workers have, and whether that will do, they say themselves
        return gathered(store, options, ["cpu"])
    situation = gathered(store, options, devices.resolve(options.device))
    for device in situation.devices:
        check_device(situation, device)
    return situation


def need_trainable(store: Store) -> None:
    """Raise RunError for an imported run, of whose networks there are answers alone, and where labels were changed.

    What was trained there later would have learned from other labels than the rest, or count as if it had.
    """
    if store.imported is not None:
        raise RunError(
            f"{store.path} has imported answers, and no networks to train or to time: `{command('ask', store.path)}` "
            "lists what can be asked of it"
        )
    if store.relabelled:
        raise RunError(
            f"{store.path} has the answers of {store.relabelled[0]['of']} and other labels: train, time and measure "
            f"that run, and give `{command('relabel')}` again"
        )


def check_device(situation: Situation, device: str) -> None:
    """Raise NetpickError where a device can't train as the run wants it."""
    for recipe in {str(network.recipe): network.recipe for network in situation.networks}.values():
        choose(recipe, device, pin=situation.pin)


def gathered(store: Store, options: Options, where: Sequence[str]) -> Situation:
    """Return what is the case, whatever the devices can do; raises TemplateError for a recipe that makes no sense."""
    recipe = _wanted_recipe(store, options)
    keep = _kept(store)
    before = _pin(store)
    same = options.plan is None or pinned(options.plan) == pinned(before)
    situation = Situation(
        store=store,
        networks=_networks(store, recipe),
        recipe=recipe,
        keep={"scores": options.scores or keep["scores"], "weights": options.weights or keep["weights"]},
        pin=before if same else str(options.plan),
        devices=tuple(where),
        workers=1,
        ended=store.finished(),
        retry=frozenset(options.retry),
    )
    return replace(situation, workers=_workers(options.workers, where, len(situation.due)))


def with_code(situation: Situation, options: Options, on_note: Callable[[str], None]) -> Situation:
    """Return the situation with the code of networks that are Python modules, where the user has said that it may run.

    Raises RunError where he has not, or where it isn't the code that the run was generated with. Imports nothing.
    """
    specs = [network.spec for network in situation.networks]
    names = modules_of(specs)
    if not names:
        return situation
    specs = located(specs, allowed(options.modules, options.trust, situation.store.path))
    for name in names:
        on_note(f"runs code of {source_file(name, str(Path().resolve()))} ({source_hash(name, str(Path().resolve()))})")
    networks = (replace(n, spec=spec) for n, spec in zip(situation.networks, specs, strict=True))
    return replace(situation, networks=tuple(networks))


def refuse_changes(situation: Situation) -> None:
    """Raise RunError where something would change under results that are there, or for some of the networks only."""
    _refuse_another_recipe(situation)
    _refuse_swept(situation)
    store, results = situation.store, len(situation.ended)
    if not results:
        return
    settings = [(name, before, situation.keep[name]) for name, before in _kept(store).items()]
    for name, before, now in [*settings, ("plan", _pin(store), situation.pin)]:
        if now != before:
            raise RunError(
                f"{store.path} has {results} results with --{name} {before}, got {now}: "
                "leave it out to go on, or make a new run"
            )


def decisions(situation: Situation) -> dict[str, Any]:
    """Return the keys of run.toml that what was settled changes."""
    manifest = situation.store.manifest
    changed: dict[str, Any] = {}
    if situation.recipe != _recipe_before(situation.store):
        changed["recipe"] = msgspec.to_builtins(situation.recipe)
    if situation.keep != manifest.get("keep"):
        changed["keep"] = dict(situation.keep)
    if situation.pin != _pin(situation.store):
        changed["plan"] = situation.pin
    return changed


def changes_of_results(situation: Situation) -> list[str]:
    """Return what of the recipe the user changes that would give other results, such as `lr from 0.5 to 0.25`."""
    before = _recipe_before(situation.store)
    values = msgspec.to_builtins(before)
    return [
        f"{key} from {values[key]} to {value}"
        for key, value in difference(situation.recipe, before).items()
        # How long one may take changes no result that is there; it is what --retry timeout is for.
        if key != "timeout"
    ]


def _wanted_recipe(store: Store, options: Options) -> Recipe:
    raw: dict[str, Any] = {"recipe": copy.deepcopy(store.manifest.get("recipe", {}))}
    overrides = options.recipe_overrides
    for override in overrides:
        apply_override(raw, override)
    return parse_recipe(raw["recipe"], "--set" if overrides else str(store.path / "run.toml"))


def _recipe_before(store: Store) -> Recipe:
    return parse_recipe(store.manifest.get("recipe", {}), str(store.path / "run.toml"))


def _kept(store: Store) -> dict[str, str]:
    return {**KEEP, **store.manifest.get("keep", {})}


def _pin(store: Store) -> str:
    return str(store.manifest.get("plan", "auto"))


def _networks(store: Store, recipe: Recipe) -> tuple[RunNetwork, ...]:
    """Return every network with the recipe that it is trained by; raises TemplateError where that makes no sense."""
    networks = []
    for row in store.networks():
        spec = NetworkSpec.from_dict(row)
        if spec.hash != row["hash"]:  # results would go by another name than the run knows
            raise RunError(
                f"{store.path}: network {spec.name} has the hash {spec.hash} by its layers, and networks.parquet says "
                f"{row['hash']}: it was changed, or written by a netpick too far from this one; generate the run again"
            )
        own = applied(recipe, spec.recipe, f"{store.path}: {spec.name}")
        networks.append(RunNetwork(row, spec, own))
    for network in {str(network.recipe): network for network in networks}.values():
        check_recipe(network.recipe, f"{store.path}: {network.spec.name}")
    check_together((network.recipe for network in networks), str(store.path))
    return tuple(networks)


def _workers(wanted: int | Literal["auto"], where: Sequence[str], due: int) -> int:
    """Return how many trainings run at the same time."""
    if where[0] == "mps" and wanted == "auto":
        return 1
    if wanted == "auto" and where[0].startswith("cuda"):
        wanted = gpu_budget.layout(len(where), devices.usable_cores()).trainings * len(where)
    elif wanted == "auto":
        return devices.cpu_workers()
    return min(wanted, max(1, due))


def _refuse_another_recipe(situation: Situation) -> None:
    changed = changes_of_results(situation)
    if changed and situation.ended:
        raise RunError(
            f"{situation.store.path} has {len(situation.ended)} results of another recipe, which would change "
            f"{'; '.join(changed)}: leave that out to go on, or make a new run with netpick generate ... "
            "--run runs/OTHER --set ..."
        )


def _refuse_swept(situation: Situation) -> None:
    """Refuse to change a value that differs between the networks: some would follow, and others not."""
    before = _recipe_before(situation.store)
    for key in sorted({key for network in situation.networks for key in current(network.spec.recipe)}):
        if getattr(before, key) != getattr(situation.recipe, key):
            raise RunError(
                f"--set recipe.{key}: the networks of {situation.store.path} differ in it, as their template says: "
                f"leave it out, or make a new run with netpick generate ... --set recipe.{key}=..."
            )
