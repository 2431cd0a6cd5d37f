"""Runs that a stranger made on purpose: they name code, names in them lead outside, links lie where netpick writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from .box import Attempt, Box, Kind
from .runs import reading, training
from .values import ODD_NAMES


def _rows(run: Path) -> tuple[Any, list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(run / "networks.parquet")
    return table.schema, table.to_pylist()


def _write_rows(run: Path, schema: Any, rows: list[dict[str, Any]]) -> None:
    """Write the rows, and take their hash out of run.toml, which older runs don't have either."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (run / "networks.parquet").unlink()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), run / "networks.parquet")
    manifest = (run / "run.toml").read_text().splitlines(keepends=True)
    (run / "run.toml").write_text("".join(line for line in manifest if not line.startswith("catalogue")))


def _rehashed(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row the hash of its layers, as a forger would who has read the code."""
    from netpick.networks import NetworkSpec

    try:
        return {**row, "hash": NetworkSpec.from_dict(row).hash}
    except Exception:  # noqa: BLE001  refused: then the hash it has must do
        return row


def code(rng: random.Random, box: Box) -> Attempt:
    """Name Python code in `networks.parquet`: a file of the run, one beside it, or what can be imported anyway."""
    run = box.copy("digits" if rng.random() < 0.9 else "planted")
    source = "import torch\n" + box.payload() + "class Net(torch.nn.Linear):\n    def __init__(self):\n"
    source += "        super().__init__(64, 10)\n"
    homes = {"run": run, "sources": run / "sources", "here": box.here, "beside": run.parent, "outside": box.out}
    home = rng.choice(tuple(homes))
    homes[home].mkdir(exist_ok=True)
    (homes[home] / "evil.py").write_text(source)
    paths = (str(homes[home]), str(homes[home]), os.path.relpath(homes[home], box.here), ".", "", homes[home].name)
    path = rng.choice(paths)
    of = rng.choice(
        (
            "evil:Net",
            "evil:Net",
            "evil:Net",
            "os:abort",
            "this:s",
            f"os:system('echo x > {box.marker}') or __import__('torch').nn.Identity",
            f"os:__class__.__name__ or open('{box.marker}', 'w')",
            f"evil:Net\nopen('{box.marker}', 'w')",
        )
    )
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    sources = digest if of.startswith("evil") else ""
    if rng.random() < 0.1:
        sources = rng.choice((digest, "", "0" * 16))
    module = {"op": "Module", "of": of, "gives": "logits", "num_classes": 10, "source": sources, "path": path}
    layers = [{"op": "Reshape", "shape": [64]}, module, {"op": "LogSoftmax", "dim": 1}]
    schema, rows = _rows(run)
    at = 0 if rng.random() < 0.5 else rng.randrange(len(rows))
    rows[at] = _rehashed({**rows[at], "computation": "Module", "layers": json.dumps(layers)})
    _write_rows(run, schema, rows)
    name, folder = str(rows[at]["name"]), str(run)
    one = rng.choice(
        (
            ("show", folder, name),
            ("estimate", folder, "--device", "cpu"),
            ("estimate", folder, "--device", "cpu", "--seconds", "0"),
            ("time", folder, name, "--devices", "cpu", "--seconds", "0.05", "--busy"),
            ("export", folder, name, "--to", str(box.out / "net.py")),
            (*training(box)[:-3], "--no-estimate"),
        )
    )
    more = reading(rng, box, 1, 0)

    def exported() -> str | None:
        """Execute what was exported, as a user would; the marker shows what was in it."""
        file = box.out / "net.py"
        if file.exists() and not of.isidentifier() and any(mark in of for mark in "(\n"):
            with contextlib.suppress(BaseException):  # such code may do anything but write the marker
                space = {"__name__": "net", "__file__": str(file)}
                exec(compile(file.read_text(), "net.py", "exec"), space)
                for value in list(space.values()):
                    if isinstance(value, type) and value.__module__ == "net":
                        value()
        return None

    return Attempt(f"{of.replace(str(box.folder), '')!r:.60} in {home} of {path and 'a'} path", (one, *more), exported)


def names(rng: random.Random, box: Box) -> Attempt:
    """Give networks names and hashes that lead out of the run, with files there that would be hit."""
    trains = rng.random() < 0.4
    run = box.copy("digits" if trains else rng.choice(("planted", "compacted")))
    (run / "weights").mkdir(exist_ok=True)
    schema, rows = _rows(run)
    at = rng.randrange(len(rows))
    target = rng.choice(
        (
            str(box.outside / "victim"),
            "../../../../outside/victim",
            "../../../../outside/victim-0",
            "../../../outside/victim",
            *ODD_NAMES,
        )
    )
    key = rng.choice(("name", "name", "name", "hash"))
    old = rows[at][key]
    rows[at] = {**rows[at], key: target}
    _write_rows(run, schema, rows)
    for folder in ("predictions", "trainings", "epochs", "weights"):
        for file in sorted((run / folder).glob(f"{old}*")) if key == "hash" else ():
            if "/" not in target and len(target) < 200 and "\x00" not in target and target:
                file.rename(file.with_name(file.name.replace(str(old), target)))
    for name in ("Basic-0.safetensors", "victim-0.safetensors"):
        (run / "weights" / name).write_bytes(b"weights")
    change = training(box) if trains else ("compact", str(run))
    shown = ("show", str(run), target) if target and "\x00" not in target and not target.startswith("-") else ()
    shown_export = ("export", str(run), target, "--to", str(box.out / "net.py"), "--overwrite") if shown else ()
    commands = [change, *reading(rng, box, 1, 0), *(words for words in (shown, shown_export) if words)]
    return Attempt(f"{key} = {target.replace(str(box.folder), '')!r:.60}", tuple(commands))


_RUN_FILES = (
    (".lock", "compact", "status", "train"),
    (".lock.pid", "compact", "status", "train"),
    ("events.jsonl", "train", "status"),
    ("report.html", "report"),
    (".report.html.part", "report"),
    (".report.html.tmp", "report"),
    ("figures", "figures"),
    ("weights", "train", "compact"),
    ("predictions", "compact", "train"),
    ("epochs", "compact", "train"),
    ("trainings", "compact", "train"),
    ("timings.parquet", "time"),
    (".timings.parquet.tmp", "time"),
    ("samples.parquet", "train"),
    (".samples.parquet.tmp", "train"),
    (".run.toml.tmp", "train"),
    ("run.toml", "train"),
    ("networks.parquet", "compact", "train"),
    ("trainings/part-00001.parquet", "compact"),
    ("trainings/.part-00001.parquet.tmp", "compact"),
    ("predictions/.part-00001.parquet.tmp", "compact"),
    ("weights/Basic-0.safetensors", "train", "compact"),
    ("weights/.Basic-0.safetensors.tmp", "train"),
    ("out/net.py", "export"),
    ("out/Basic.safetensors", "export"),
    ("out/networks.jsonl", "export-all"),
    ("out/plot.svg", "ask"),
    ("out/.plot.svg.tmp", "ask"),
)


def links(rng: random.Random, box: Box) -> Attempt:
    """Put a link that leads outside where netpick is going to write."""
    place, *verbs = rng.choice(_RUN_FILES)
    verb = rng.choice(verbs)
    run = box.copy("digits" if verb in ("train", "time") else rng.choice(("planted", "compacted")))
    (run / "weights").mkdir(exist_ok=True)
    (run / "weights" / "Basic-0.safetensors").write_bytes(b"weights")
    path = box.folder / place if place.startswith("out/") else run / place
    way = rng.choice(("as it was", "empty", "dangling"))
    target = box.outside / ("linked" if way == "dangling" else path.name.lstrip("."))
    if path.is_dir() or place == "figures":
        target.mkdir()
        if path.is_dir():
            if way == "as it was":
                shutil.copytree(path, target, dirs_exist_ok=True)
            shutil.rmtree(path)
        (target / "stranger-0.parquet").write_text("nobody's")
        (target / "stranger-0.safetensors").write_text("nobody's")
    else:
        if path.exists():
            shutil.copyfile(path, target) if way == "as it was" else target.write_text("decoy\n")
            path.unlink()
        elif way != "dangling":
            target.write_text("decoy\n")
    os.symlink(target if rng.random() < 0.5 else os.path.relpath(target, path.parent), path)
    folder, out = str(run), box.out
    doing = {
        "train": training(box),
        "time": ("time", folder, "Basic", "--devices", "cpu", "--seconds", "0.05", "--busy"),
        "export": ("export", folder, "Basic", "--to", str(out / "net.py"), *rng.choice(((), ("--overwrite",)))),
        "export-all": ("export", folder, "--to", str(out / "networks.jsonl"), *rng.choice(((), ("--overwrite",)))),
        "ask": ("ask", folder, "easy", "--plot", str(out / "plot.svg")),
        "figures": ("figures", folder, "--formats", "svg"),
    }
    return Attempt(f"{place} {way}, {verb}", (doing.get(verb, (verb, folder)),))


KINDS = (
    Kind("code", "networks.parquet that names Python code", code, 3, ("digits", "planted"), torch=True, together=1),
    Kind(
        "names",
        "names and hashes that lead outside",
        names,
        3,
        ("planted", "compacted", "digits"),
        torch=True,
        together=1,
    ),
    Kind(
        "links",
        "links planted where netpick writes",
        links,
        3,
        ("planted", "compacted", "digits"),
        torch=True,
        together=1,
    ),
)
