"""How small a difference between two networks a ranking can tell: luck of the samples, and luck of the seed.

The samples are a draw from all there could be. Initial weights and the order of the samples are drawn too, so that the
same network comes to another accuracy each time: replicates show how far; without them nothing does, and a few networks
are named that would.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from netpick.core.advice import command
from netpick.core.errors import listed
from netpick.core.recipe import Recipe
from netpick.core.result import LEFT_OUT
from netpick.core.words import counted_word, points
from netpick.exam.across_folds import AcrossFolds
from netpick.exam.answered import comparing_split
from netpick.exam.ballots import final
from netpick.exam.marks import last_evaluations, ranked, students
from netpick.store.reader import Reader

HANDFUL = 5
"""Networks that are suggested for replicates."""
FOREMOST = 50
"""Networks, the first of the ranking, in which it is counted on how many samples one is right where another is not."""


class Luck(NamedTuple):
    """What replicates tell: `spread` is the standard deviation of one training's accuracy about its network's mean.

    `smallest` is the difference that two networks, each the mean of `replicates`, don't reach by luck alone in 95 of
    100 cases; `freedom` says how many replicates beyond the first ones it is known from.
    """

    spread: float
    smallest: float
    replicates: int
    freedom: int


def luck_of_the_seed(run: Reader, split: str = "test") -> Luck | None:
    """Return how far replicates lie apart, on the same samples; None where no network has two.

    The smallest difference is that of Student's t, of networks with the median number of replicates.
    """
    from scipy.stats import t

    groups = last_evaluations(run, split).groupby("network")["accuracy"]
    counts = groups.size()
    freedom = int((counts - 1).sum())
    if freedom < 1:
        return None
    spread = float(np.sqrt((groups.var().fillna(0) * (counts - 1)).sum() / freedom))
    replicates = int(counts.median())
    return Luck(spread, float(t.isf(0.025, freedom)) * spread * float(np.sqrt(2 / replicates)), replicates, freedom)


def luck_of_the_samples(run: Reader, split: str = "test") -> float:
    """Return the difference that two equally good networks don't reach in 95 of 100 draws of as many samples.

    They differ on as many samples as the median pair of the first networks of the ranking does, by first replicates;
    those on which both are right, or both wrong, say nothing. Those that left out different folds share no samples.
    """
    frame = ranked(students(run, split=split)).head(FOREMOST)
    if split == LEFT_OUT:
        known = AcrossFolds.of(run, split)
        return float(1.959964 * np.sqrt(2 * np.median(known.variance[known.place(frame["name"].tolist())])))
    _, predicted, labels = final(run, frame["name"], split)
    right = (predicted == labels).astype(np.float32)
    if len(right) < 2:
        return 0.0
    counts = right.sum(axis=1)
    apart = (counts[:, None] + counts - 2 * right @ right.T)[np.triu_indices(len(right), 1)]
    return float(1.959964 * np.sqrt(np.median(apart)) / len(labels))


def said_of_luck(run: Reader, split: str = "test", how: bool = False) -> str:
    """Say in a sentence, without its full stop, how small a difference between two networks a ranking can tell.

    `how` adds the commands that would tell more, where there are no replicates; else the question is named that does.
    """
    split = comparing_split(run, split)
    said = run.once(("luck", split), lambda: _said(run, split))
    if not said or run.imported or luck_of_the_seed(run, split) is not None:
        return said
    return f"{said}: `{commands(run, split)}`" if how else f"{said} (the question `best` has the commands)"


def _said(run: Reader, split: str) -> str:
    names = suggested(run, split)
    if len(names) < 2:
        return ""
    by_samples = points(luck_of_the_samples(run, split))
    samples = f"these {counted_word(len(run.labels(split)), 'sample')}"
    seed = "seed alone"
    if split == LEFT_OUT:
        samples, seed = "the samples that each left out", "seed and of the samples that each left out"
    luck = luck_of_the_seed(run, split)
    if luck is not None:
        each = counted_word(luck.replicates, "training")
        return (
            f"two networks of {each} each differ by up to {points(luck.smallest)} by luck of the {seed} (95 %, "
            f"from {counted_word(luck.freedom, 'replicate')} beyond the first), and equally good ones by up to "
            f"{by_samples} by luck of {samples}"
        )
    said = (
        f"two equally good networks differ by up to {by_samples} by luck of {samples} (95 %); how much more is "
        "luck of the seed, one training of each network can't tell"
    )
    return said + (
        "" if run.imported else f": give replicates to a few that are cheap and good, such as {listed(names)}"
    )


def suggested(run: Reader, split: str = "test") -> list[str]:
    """Name the cheapest of the upper half of the students, by one recipe: what replicates show is soon known."""
    frame = students(run, split=split)
    good = frame[frame["accuracy"] >= frame["accuracy"].median()].sort_values(["seconds", "name"])["name"]
    recipe = run.recipe_of(good.iloc[0])
    return list(islice((name for name in good if run.recipe_of(name) == recipe), HANDFUL))


def commands(run: Reader, split: str = "test") -> str:
    """Return the commands that train the suggested networks several times, in a run of their own."""
    names, manifest = suggested(run, split), run.manifest
    default = msgspec.to_builtins(Recipe())
    own = {key: value for key, value in run.recipe_of(names[0]).items() if value != default.get(key)}
    wanted = {f"recipe.{key}": value for key, value in {**own, "replicates": HANDFUL}.items() if value is not None}
    template = manifest.get("template", {})
    wanted |= {key: template[key] for key in ("classes", "image_size", "color") if template.get(key, "auto") != "auto"}
    settings = [word for key, value in wanted.items() for word in ("--set", f"{key}={_written(value)}")]
    few, file = (run.path.with_name(f"{run.name}-few{suffix}") for suffix in ("", ".jsonl"))
    seed = manifest.get("seed", 0)
    return " && ".join([
        command("export", run.path, *names, "--to", file),
        command("generate", "--networks", file, "--dataset", manifest["dataset"], "--seed", seed, *settings,
                "--run", few),
        command("train", few),
    ])  # fmt: skip


def _written(value: Any) -> str:
    """Return a value as `--set` reads it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_written(one)}' for key, one in value.items())}}}"
    return value if isinstance(value, str) else json.dumps(value)
