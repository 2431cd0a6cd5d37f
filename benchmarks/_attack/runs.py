"""Attacks on a run's run.toml and events.jsonl, and the commands that an attacked run is given."""

from __future__ import annotations

import json
import random
import tomllib
from typing import Any

import tomli_w

from .box import Attempt, Box, Kind
from .values import ODD_NAMES, odd_value, spoil_data, spoil_text

QUESTIONS = ("scores", "strategies", "notes", "macs", "curves", "easy", "weird", "confusing", "best", "versus")
QUESTIONS += ("mistakes", "sweep", "cascade", "agreement", "suspects", "ability", "compare", "learning", "attempts")


def reading(rng: random.Random, box: Box, count: int = 1, slow: float = 0.003) -> tuple[tuple[str, ...], ...]:
    """Return commands that read a run; seldom those that take a minute."""
    run = str(box.run)
    question = rng.choice(QUESTIONS)
    ways: tuple[tuple[str, ...], ...] = (
        ("status", run),
        ("show", run, "Basic"),
        ("ask", run, question),
        ("ask", run, question, "--plot", str(box.out / "plot.svg"), "--format", rng.choice(("csv", "json", "table"))),
        ("pick", run, "--max-params", "20000"),
        ("export", run, "Basic", "--to", str(box.out / "net.py")),
        ("export", run, "--to", str(box.out / "networks.jsonl")),
        ("estimate", run, "--seconds", "0", "--device", "cpu"),
        ("compact", run),
    )
    ways = ways if (box.bases / "digits").exists() else (*ways[:-2], ways[-1])  # the planted run has no data set
    picked = rng.sample(ways, count)
    if rng.random() < slow:
        picked.append(rng.choice((("report", run), ("figures", run, "--formats", "svg"))))
    if rng.random() < slow:
        picked.append(training(box))
    return tuple(picked)


def training(box: Box) -> tuple[str, ...]:
    """Return a command that trains on one worker, without compiling anything."""
    return ("train", str(box.run), "--device", "cpu", "--workers", "1", "--plan", "eager/plain", "--no-estimate")


def base(rng: random.Random, box: Box) -> str:
    """Return one of the runs to attack."""
    return rng.choice([name for name in ("planted", "compacted", "digits") if (box.bases / name).exists()])


def manifest(rng: random.Random, box: Box) -> Attempt:
    """Spoil run.toml as text or as values."""
    run = box.copy(base(rng, box))
    file = run / "run.toml"
    text = file.read_text(encoding="utf-8")
    if rng.random() < 0.25:
        raw, what = spoil_text(rng, text)
    else:
        data = tomllib.loads(text)
        data.pop("template", None)  # long, and the business of templates
        try:
            spoilt, what = spoil_data(rng, data)
            raw = tomli_w.dumps(spoilt).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, AttributeError):
            raw, what = spoil_text(rng, text)
    file.write_bytes(raw)
    return Attempt(what, reading(rng, box))


def events(rng: random.Random, box: Box) -> Attempt:
    """Write event logs with lines of other shapes, and spoilt ones of the right shape."""
    run = box.copy("compacted")
    one = {"network": "Basic", "replicate": 0}
    good: list[dict[str, Any]] = [
        {"event": "begin", "due": 12, "total": 12, "workers": 1, "device": ["cpu"]},
        {"event": "start", **one, "device": "cpu"},
        {"event": "done", **one, "seconds": 1.0},
        {"event": "failed", **one, "network": "x", "error": "it broke"},
        {"event": "end", "done": 12},
    ]
    good = [{"time": f"2024-01-01T00:00:0{second}.000+00:00", **event} for second, event in enumerate(good)]
    way = rng.choice(("values", "values", "values", "text", "shapes"))
    if way == "values":
        spoilt, what = spoil_data(rng, good)
        lines = spoilt if isinstance(spoilt, list) else [spoilt]
        raw = "".join(json.dumps(line, default=str) + "\n" for line in lines).encode("utf-8", "surrogatepass")
    elif way == "text":
        raw, what = spoil_text(rng, "".join(json.dumps(line) + "\n" for line in good))
    else:
        odd = [odd_value(rng) for _ in range(3)] + [{"event": rng.choice(("begin", "done", *ODD_NAMES))}]
        raw, what = "".join(json.dumps(line, default=str) + "\n" for line in odd).encode(), f"lines {odd!r:.80}"
    (run / "events.jsonl").write_bytes(raw)
    return Attempt(what, (("status", str(run)),))


KINDS = (
    Kind(
        "manifest",
        "run.toml, spoilt as text and as values",
        manifest,
        bases=("planted", "compacted", "digits"),
        torch=True,
    ),
    Kind("events", "events.jsonl with lines of other shapes", events, bases=("compacted",)),
)
