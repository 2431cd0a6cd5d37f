"""Generating a run: from a template's name to a folder with a measured catalogue.

Neither trains nor needs the data set's files: a catalogue depends on the shape of the images and the number of classes
alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from netpick.core.errors import DataError, RunError, TemplateError
from netpick.core.provenance import git_commit, versions
from netpick.core.recipe import Recipe, applied, check_together
from netpick.data import DataInfo, DataRequest, data_dir, describe, manifest_entry
from netpick.data.image_decoding import too_large
from netpick.data.own import own_kind
from netpick.networks.catalogue import import_file
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import Template, find, load, parse
from netpick.networks.paper import inferred
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline, is_whole
from netpick.store.catalogue import catalogue_hash
from netpick.store.folder import Store
from netpick.store.removal import check_removable, is_unfinished, remove


@dataclass(frozen=True)
class Generated:
    """What `generate_run` made: the store, its networks, and whether the very same run was there already, and notes.

    `warnings` are lines about networks that can't be meant so.
    """

    store: Store
    networks: list[NetworkSpec]
    unchanged: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def generate_run(
    name: str | None = None,
    folder: str | Path | None = None,
    dataset: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    workers: int = 1,
    networks_file: str | Path | None = None,
    max_params: int = import_file.MAX_PARAMS,
    strict: bool = False,
    modules: Sequence[str] = (),
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Generated:
    """Make the networks of a template, measure them, and write them into a new run's folder.

    Parameters
    ----------
    name : template: a name or the path of a TOML file; None where the networks come from a file alone
    folder : of the run; `runs/TEMPLATE`, or `runs/TEMPLATE-DATASET` for another data set than the template's
    dataset : name of the data set; the template's own by default
    seed : of sampled cells, splits, initial weights and batch order
    limit : number of networks, a share of every family
    overrides : `key.path=value`, as in a template's file
    overwrite : whether to replace a run that is there, results and all
    workers : processes that measure
    networks_file : JSON or JSON lines with networks, which come before those of the template; see `import_file`
    max_params : most parameters of a network from there
    strict : whether to refuse networks that there would be a warning about
    modules : `package.module` or `package.module:NAME` with networks of the user's own code; see `modules`
    on_progress : told how many of all networks have been measured

    Raises
    ------
    TemplateError, CatalogueError, SpecError, DataError, RunError
        Bad input. A run that is there already is fine if it has the very same networks and recipe.
    """
    if limit is not None and limit < 1:
        raise TemplateError(f"--limit: wants a number of networks from 1 on, got {limit}")
    parsed, path = _parsed(name, overrides, networks_file, modules)
    # What the data set refuses, such as a seed or a class, is refused now, and not when training starts.
    request = data_request(parsed, dataset or parsed.dataset, seed)
    info = describe(request)
    own = _own_networks(networks_file, modules, info, max_params)
    networks = generate(parsed, info.shape, len(info.classes), seed, limit, own.networks)
    _check_samples(networks, parsed.recipe, info, str(path))
    warnings = (inferred.warning(names),) if (names := inferred.squashed(networks)) else ()
    if warnings and strict:
        raise TemplateError(f"{path}: {warnings[0]} (refused by --strict)")
    resolved = msgspec.to_builtins(parsed)
    manifest: dict[str, Any] = {
        "title": parsed.title,
        "source": path.stem.encode(errors="replace").decode(),
        "dataset": info.name,
        "shape": list(info.shape),
        "classes": list(info.classes),
        "data": manifest_entry(request, info),
        "seed": seed,
        "limit": limit,
        "networks": len(networks),
        "catalogue": digest(networks),
        "git_commit": git_commit(),
        "versions": versions(),
        "recipe": resolved.pop("recipe"),
        "template": resolved,
    }
    folder = Path(folder) if folder else Path("runs") / _stem(path, parsed, info)
    if not str(folder).isprintable():
        raise RunError(f"{folder} has characters that can't be printed, and is named in commands: give --run another")
    notes = (*own.notes, *_memory_note(info))
    is_free = not any(folder.iterdir()) if os.path.isdir(folder) else not os.path.lexists(folder)
    if not is_free:
        if os.path.exists(folder) and not overwrite and not is_unfinished(folder):
            return Generated(_same(folder, manifest), networks, True, notes, warnings)
        check_removable(folder)
    rows = _measured(networks, parsed.recipe, info, workers, on_progress)
    _judge_own(own, networks, rows, max_params)
    if not is_free:  # only now: nothing is refused any more
        remove(folder)
    return Generated(Store.create(folder, manifest, rows), networks, False, notes, warnings)


def _parsed(
    name: str | None, overrides: Sequence[str], networks_file: str | Path | None, modules: Sequence[str]
) -> tuple[Template, Path]:
    """Return the template, and the file that the run is named after."""
    if name is not None:
        return load(name, overrides), find(name)
    if networks_file is None and not modules:
        raise TemplateError(
            "generate wants a TEMPLATE, or networks of your own with --networks FILE or --module PACKAGE.MODULE"
        )
    path = Path(networks_file or modules[0].partition(":")[0].replace(".", "-"))
    return parse('title = "Networks of one\'s own"', "--set", overrides, cells_needed=False), path


def _own_networks(
    networks_file: str | Path | None, modules: Sequence[str], info: DataInfo, max_params: int
) -> import_file.Taken:
    """Return the user's networks, of a file and of modules."""
    taken = import_file.Taken([], [])
    if networks_file is not None:
        taken = import_file.read(networks_file, info.shape, len(info.classes), max_params)
    for module in modules:
        from netpick.networks.modules.user_networks import read  # loads torch, since it makes and runs what it finds

        more = read(module, info.shape, len(info.classes))
        taken = import_file.Taken([*taken.networks, *more.networks], [*taken.notes, *more.notes])
    return taken


def _measured(
    networks: Sequence[NetworkSpec],
    recipe: Recipe,
    info: DataInfo,
    workers: int,
    on_progress: Callable[[int, int], object],
) -> list[dict[str, Any]]:
    """Return the rows of networks.parquet."""
    from netpick.networks.modules.measure import measure_all  # loads torch, which all refusals do without

    by_samples: dict[int, list[NetworkSpec]] = {}  # which some baselines keep
    for spec in networks:
        by_samples.setdefault(training_samples(applied(recipe, spec.recipe), info.train_count), []).append(spec)
    counts: dict[str, Any] = {}
    done = 0

    def measured(number: int) -> None:
        nonlocal done
        done += number
        on_progress(done, len(networks))

    for number, specs in by_samples.items():
        costs = measure_all(specs, info.shape, workers, number, measured)
        counts.update(zip((n.hash for n in specs), costs, strict=True))
    return [
        {
            "name": spec.name,
            "hash": spec.hash,
            "computation": spec.computation,
            "activation": spec.activation,
            "layers": spec.layers_json(),
            "recipe": spec.recipe_json(),
            **asdict(counts[spec.hash]),
        }
        for spec in networks
    ]


def _check_samples(networks: Sequence[NetworkSpec], recipe: Recipe, info: DataInfo, source: str) -> None:
    """Refuse a recipe that wants more samples to train on than there are, and not only when training starts."""
    recipes = [applied(recipe, spec.recipe) for spec in networks]
    check_together(recipes, source)
    for own in recipes:
        left = _samples_left(own, info.train_count)
        if (own.train_samples or 0) > left:
            raise DataError(f"train_samples is {own.train_samples}: '{info.name}' has {left} to train on; give fewer")
        if own.folds > (most := training_samples(own, info.train_count) // len(info.classes)):
            raise DataError(
                f"folds is {own.folds}: each takes an image of each class, and of some class '{info.name}' has {most} "
                "at most to train on; give fewer folds"
            )


def _memory_note(info: DataInfo) -> tuple[str, ...]:
    """Return what is to be said of images that training here would have no memory for; it may be done elsewhere."""
    if own_kind(info.name) != "folder" or not (said := too_large(info.train_count + info.test_count, info.shape)):
        return ()
    return (f"{said} here: to train on this machine give a smaller --image-size",)


def _judge_own(
    own: import_file.Taken, networks: Sequence[NetworkSpec], rows: Sequence[Mapping[str, Any]], max_params: int
) -> None:
    """Refuse networks of the user's that are too large, which could not be said on paper."""
    names = {spec.name for spec in own.networks}
    for spec, row in zip(networks, rows, strict=True):
        if spec.name in names and is_whole(spec.layers) and not is_baseline(spec.layers):
            import_file.judge(spec.name, row["params"], row["memory"], max_params)


def training_samples(recipe: Recipe, count: int) -> int:
    """Return on how many of a data set's `count` training samples a recipe trains."""
    left = _samples_left(recipe, count)
    return min(left, recipe.train_samples or left)


def _samples_left(recipe: Recipe, count: int) -> int:
    """Return how many of a data set's `count` training samples validation leaves."""
    return count - round(recipe.validation * count)


def data_request(parsed: Template, dataset: str, seed: int) -> DataRequest:
    """Return the request for a template's data, but for what the recipe says of them; raises DataError."""
    size = parsed.image_size
    return DataRequest(
        dataset,
        data_dir(),
        seed,
        classes=parsed.classes,
        image_size=(size, size) if isinstance(size, int) else None if size is None else (size[0], size[1]),
        color=parsed.color,
        skip_unreadable=parsed.skip_unreadable,
    )


def size_list(text: str) -> list[int]:
    """Read an image size, `28` or `28x32` (height by width), as --image-size takes it; raises DataError."""
    parts = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.strip().lower())
    if not parts:
        raise DataError(f"--image-size: got '{text}', wanted a number of pixels, 28, or height and width, 28x32")
    return [int(parts[1]), int(parts[2] or parts[1])]


def _stem(path: Path, parsed: Template, info: DataInfo) -> str:
    """Return the name of the folder of a run: of one's own data, it has their folder's or file's name."""
    if info.name == parsed.dataset:
        return path.stem
    word = Path(info.name.partition(":")[2]).stem if ":" in info.name else info.name
    return f"{path.stem}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', word)}"


def _same(folder: Path, manifest: dict[str, Any]) -> Store:
    """Return the run that is there if it is the one that would be made; raise RunError otherwise."""
    store = Store.open(folder)
    wanted = {
        "data set": "dataset",
        "set of classes": "classes",
        "image size or colour": "data",
        "image shape": "shape",
        "seed": "seed",
        "recipe": "recipe",
        "catalogue of networks": "catalogue",
    }
    plain, there = _comparable(manifest), _comparable(store.manifest)
    for word, key in wanted.items():
        if _clean(plain[key]) != _clean(there.get(key)):
            raise RunError(
                f"{folder} is a run already, with another {word}: give another folder with --run, "
                "or --overwrite to remove it and its results"
            )
    return store


def _comparable(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest in plain values; one's own data go by their path, however it was given, and their form."""
    plain = json.loads(json.dumps(manifest, default=str))
    plain["recipe"] = {**msgspec.to_builtins(Recipe()), **plain.get("recipe", {})}  # of before there were such keys
    entry = plain.get("data") or {}
    plain["dataset"] = entry.pop("path", plain["dataset"])
    entry.pop("classes", None)
    plain["data"] = {key: value for key, value in entry.items() if value is not None}
    return plain


def _clean(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def digest(networks: Sequence[NetworkSpec]) -> str:
    """Return a hash of a whole catalogue: names, families and layers, in order."""
    return catalogue_hash([spec.to_dict() for spec in networks])
