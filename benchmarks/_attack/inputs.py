"""Attacks on what `netpick generate` reads as text: templates, files of networks, the command line itself."""

from __future__ import annotations

import json
import random
import tomllib
from importlib.resources import files
from typing import Any

import tomli_w

from .box import Attempt, Box, Kind, small_networks
from .values import ODD_NAMES, ODD_TEXTS, spoil_data, spoil_text

TEMPLATES = ("smoke", "wizard", "wild", "exploration", "threes-sevens")


def template(rng: random.Random, box: Box) -> Attempt:
    """Spoil one of the templates that come with netpick, as text or as values, and generate its networks."""
    name = rng.choice(TEMPLATES)
    text = (files("netpick.templates") / f"{name}.toml").read_text(encoding="utf-8")
    if rng.random() < 0.5:
        raw, what = spoil_text(rng, text)
    else:
        data, what = tomllib.loads(text), ""
        for _ in range(rng.choice((1, 1, 2))):
            data, more = spoil_data(rng, data)
            what = f"{what}; {more}" if what else more
        raw = _toml(_fewer(data), text)
    file = box.out / "template.toml"
    file.write_bytes(raw)
    return Attempt(f"{name}: {what}", (_generate(box, str(file), "--limit", "3"),))


def _fewer(data: Any, within: str = "") -> Any:
    """Lower the counts that a template may ask for, and that take minutes to draw: a million networks are no fault."""
    if isinstance(data, dict):
        return {key: _fewer(value, "count" if within == "count" else str(key)) for key, value in data.items()}
    if isinstance(data, list):
        return [_fewer(value) for value in data]
    return 2000 if within == "count" and isinstance(data, int) and 2000 < data <= 1_000_000 else data


def _toml(data: Any, otherwise: str) -> bytes:
    """Write what TOML has words for; what it has none for is written as JSON would."""
    try:
        return tomli_w.dumps(data).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError, RecursionError):
        return (otherwise + f"\nodd = {json.dumps(data, default=str)}\n").encode()


def networks(rng: random.Random, box: Box) -> Attempt:
    """Spoil a file of networks, as text or as values, and generate a run of it."""
    data = small_networks()
    if rng.random() < 0.35:
        raw, what = spoil_text(rng, "".join(json.dumps(one) + "\n" for one in data))
    else:
        spoilt, what = spoil_data(rng, data)
        raw = json.dumps(spoilt, default=str, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    file = box.out / rng.choice(("networks.json", "networks.jsonl"))
    file.write_bytes(raw)
    run = str(box.out / "made")
    read = (("status", run), ("export", run, "--to", str(box.out / "again.jsonl"))) if rng.random() < 0.3 else ()
    return Attempt(what, (_generate(box, "--networks", str(file)), *read))


def _generate(box: Box, *words: str) -> tuple[str, ...]:
    return ("generate", *words, "--dataset", "digits", "--run", str(box.out / "made"))


def commands(rng: random.Random, box: Box) -> Attempt:
    """Give commands odd values for their arguments and options, those that they have and those that they lack."""
    box.copy("planted")
    (box.here / "runs").mkdir()
    words: list[str] = [rng.choice(tuple(_OPTIONS))]
    for _ in range(_ARGUMENTS.get(words[0], 1)):
        words.append(_argument(rng, box))
    for flag in rng.sample(_OPTIONS[words[0]], min(len(_OPTIONS[words[0]]), rng.randint(0, 3))):
        words += [flag] if flag in _FLAGS else [flag, _odd(rng, box)] if rng.random() < 0.9 else [flag]
    if words[0] == "generate" and "--run" not in words:
        words += ["--run", str(box.out / "made")]
    if words[0] == "export" and "--to" not in words:
        words += ["--to", str(box.out / "net.py")]
    if words[0] in ("figures", "report"):  # an undamaged one takes a minute, and says nothing of its options
        (box.out / "odd.txt").write_text("")
        words += ["--to", str(box.out / "odd.txt" / "x")]
    if words[0] in ("train", "time", "estimate") and "--data-dir" not in words:
        words += ["--data-dir", rng.choice(("/dev/null", str(box.out)))]
    return Attempt(" ".join(words), (tuple(words),))


def _argument(rng: random.Random, box: Box) -> str:
    return rng.choice((str(box.run), str(box.run), str(box.run), "Basic", "smoke", "weird", _odd(rng, box)))


def _odd(rng: random.Random, box: Box) -> str:
    """Return an odd value; each path in it ends in the box, whatever netpick does with it."""
    some = (
        *(name for name in ODD_NAMES if not name.startswith(("..", "/"))),
        *ODD_TEXTS,
        "\udcff",
        "-1",
        "0",
        "1",
        "auto",
        "all",
        "1,2",
        "cpu",
        "accuracy",
        "recipe.lr=-1",
        "recipe.lr=" + "9" * 5000,
        "recipe.epochs=[]",
        "recipe=1",
        "=",
        "a.b.c.d=1",
        "recipe.optimizer_args={a=" * 50,
        "recipe.lr=" + "[" * 100_000,
        "folder:~nobody/x",
        "folder:" + "x" * 300,
        "npz:\x00",
        "npz:/dev/null",
        "folder:/proc/self/fd",
        "npz:" + str(box.run / "networks.parquet"),
        "Basic",
        str(box.run / "run.toml"),
        str(box.out / ("x" * 300)),
        str(box.out / "[/red].svg"),
        str(box.out / "plot.svg"),
        "~nobody/x",
        "~",
        "os:abort",
        "x.y:z",
        "8x8",
        "99999x99999",
    )
    return rng.choice(some)


_DATA = ("--set", "--data-dir", "--device", "--workers", "--epochs", "--precision", "--plan", "--scores", "--weights")
_FLAGS = ("--overwrite", "--strict", "--skip-unreadable", "--skip-broken", "--no-compact", "--busy", "--help")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "generate": (
        "--dataset",
        "--image-size",
        "--color",
        "--seed",
        "--limit",
        "--set",
        "--networks",
        "--module",
        "--max-params",
        "--strict",
        "--overwrite",
        "--skip-unreadable",
    ),
    "train": (*_DATA, "--retry", "--no-compact", "--help"),
    "estimate": (*_DATA, "--retry", "--seconds", "--format"),
    "time": ("--computation", "--limit", "--devices", "--threads", "--seconds", "--format", "--rows", "--busy"),
    "status": ("--help",),
    "compact": ("--help",),
    "ask": ("--plot", "--format", "--rows", "--skip-broken", "--least", "--split", "--networks", "--help", "--by"),
    "pick": (
        "--minimize",
        "--maximize",
        "--computation",
        "--activation",
        "--give-up",
        "--seed",
        "--plot",
        "--format",
        "--rows",
        "--max-params",
        "--min-accuracy",
        "--max-",
        "--min-x",
    ),
    "show": ("--skip-broken",),
    "export": ("--to", "--overwrite"),
    "figures": ("--formats", "--skip-broken"),
    "report": ("--skip-broken",),
    "templates": ("--help",),
    "": ("--help",),
}
_ARGUMENTS = {"ask": 2, "show": 2, "export": 2, "time": 2, "templates": 0, "": 0}

KINDS = (
    Kind("templates", "templates, spoilt as text and as values", template, torch=True),
    Kind("networks", "files of networks, spoilt as text and as values", networks, torch=True),
    Kind("commands", "command lines with odd values", commands, bases=("planted",), torch=True),
)
