"""Generating a run: from a template's name to a folder with a measured catalogue.

Neither trains nor needs the data set's files: a catalogue depends on the shape of the images and the number of classes
alone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from netpick import data
from netpick.core import recipe as recipes
from netpick.core.errors import DataError, RunError, TemplateError
from netpick.core.provenance import git_commit, versions
from netpick.networks.catalogue import import_file as intake
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper import inferred
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline, is_whole
from netpick.store.catalogue import catalogue_hash
from netpick.store.folder import MANIFEST, Store


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
    max_params: int = intake.MAX_PARAMS,
    strict: bool = False,
    modules: Sequence[str] = (),
) -> Generated:
    """Make the networks of a template, measure them, and write them into a new run's folder.

    Parameters
    ----------
    name : template: a name or the path of a TOML file; None where the networks come from a file alone
    folder : of the run; `runs/TEMPLATE`, or `runs/TEMPLATE-DATASET` for another data set than the template's
    dataset : name of the data set; the template's own by default
    seed : of sampled cells, splits, initial weights and batch order
    limit : number of networks, a share of every family
    overrides : `key.path=value`, as `template.parse`
    overwrite : whether to replace a run that is there, results and all
    workers : processes that measure
    networks_file : JSON or JSON lines with networks, which come before those of the template; see `intake`
    max_params : most parameters of a network from there
    strict : whether to refuse networks that there would be a warning about
    modules : `package.module` or `package.module:NAME` with networks of the user's own code; see `modules`

    Raises
    ------
    TemplateError, CatalogueError, SpecError, DataError, RunError
        Bad input. A run that is there already is fine if it has the very same networks and recipe.
    """
    if name is None:
        if networks_file is None and not modules:
            raise TemplateError(
                "generate wants a TEMPLATE, or networks of your own with --networks FILE or --module PACKAGE.MODULE"
            )
        path = Path(networks_file or modules[0].partition(":")[0].replace(".", "-"))
        parsed = template.parse('title = "Networks of one\'s own"', "--set", overrides, cells_needed=False)
    else:
        path = template.find(name)
        parsed = template.load(name, overrides)
    if limit is not None and limit < 1:
        raise TemplateError(f"--limit: wants a number of networks from 1 on, got {limit}")
    # What the data set refuses, such as a seed or a class, is refused now, and not when training starts.
    request = data_request(parsed, dataset or parsed.dataset, seed)
    info = data.describe(request)
    stem = path.stem if info.name == parsed.dataset else f"{path.stem}-{_word(info.name)}"
    folder = Path(folder) if folder else Path("runs") / stem
    taken = intake.Taken([], [])
    if networks_file is not None:
        taken = intake.read(networks_file, info.shape, len(info.classes), max_params)
    for one in modules:
        from netpick.networks.modules.user_code import read  # loads torch, since it makes and runs what it finds

        more = read(one, info.shape, len(info.classes))
        taken = intake.Taken([*taken.networks, *more.networks], [*taken.notes, *more.notes])
    networks = generate(parsed, info.shape, len(info.classes), seed, limit, taken.networks)
    warnings = (inferred.warning(names),) if (names := inferred.squashed(networks)) else ()
    if warnings and strict:
        raise TemplateError(f"{path}: {warnings[0]} (refused by --strict)")
    resolved = msgspec.to_builtins(parsed)
    manifest: dict[str, Any] = {
        "title": parsed.title,
        "source": path.stem,
        "dataset": info.name,
        "shape": list(info.shape),
        "classes": list(info.classes),
        "data": data.manifest_entry(request, info),
        "seed": seed,
        "limit": limit,
        "networks": len(networks),
        "catalogue": digest(networks),
        "git_commit": git_commit(),
        "versions": versions(),
        "recipe": resolved.pop("recipe"),
        "template": resolved,
    }
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        if overwrite:
            remove(folder)
        else:
            return Generated(_same(folder, manifest), networks, True, tuple(taken.notes), warnings)
    from netpick.networks.modules.measure import measure_all  # loads torch, which all refusals above do without

    samples = [training_samples(recipes.applied(parsed.recipe, n.recipe), info.train_count) for n in networks]
    counts: dict[str, Any] = {}
    for number in dict.fromkeys(samples):  # which some baselines keep
        part = [spec for spec, n in zip(networks, samples, strict=True) if n == number]
        counts.update(zip((n.hash for n in part), measure_all(part, info.shape, workers, number), strict=True))
    own = {spec.name for spec in taken.networks}
    for spec in networks:  # what could not be said on paper
        if spec.name in own and is_whole(spec.layers) and not is_baseline(spec.layers):
            count = counts[spec.hash]
            intake.judge(spec.name, count.params, count.memory, max_params)
    rows = [
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
    return Generated(Store.create(folder, manifest, rows), networks, False, tuple(taken.notes), warnings)


def training_samples(recipe: Recipe, count: int) -> int:
    """Return on how many of a data set's `count` training samples a recipe trains."""
    left = count - round(recipe.validation * count)
    return min(left, recipe.train_samples or left)


def data_request(parsed: template.Template, dataset: str, seed: int) -> data.DataRequest:
    """Return the request for a template's data, but for what the recipe says of them; raises DataError."""
    size = parsed.image_size
    return data.DataRequest(
        dataset,
        data.data_dir(),
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


def _word(dataset: str) -> str:
    """Return what stands for a data set in the name of a folder: of own data, their folder's or file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(dataset.partition(":")[2]).stem if ":" in dataset else dataset)


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
    plain, there = (_comparable(one) for one in (manifest, store.manifest))
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
    entry = plain.get("data") or {}
    plain["dataset"] = entry.pop("path", plain["dataset"])
    entry.pop("classes", None)
    plain["data"] = {key: value for key, value in entry.items() if value is not None}
    return plain


def _clean(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def remove(folder: Path) -> None:
    """Remove a run; refuses a folder that does not look like one, or that is in use."""
    known = {MANIFEST, "networks.parquet"}
    if not folder.is_dir() or (any(folder.iterdir()) and not known & {p.name for p in folder.iterdir()}):
        raise RunError(f"{folder} is not a run's folder: it is left alone, give another folder with --run")
    if (folder / MANIFEST).is_file():
        with Store(folder, {}).lock():
            pass
    shutil.rmtree(folder)


def digest(networks: Sequence[NetworkSpec]) -> str:
    """Return a hash of a whole catalogue: names, families and layers, in order."""
    return catalogue_hash([spec.to_dict() for spec in networks])
