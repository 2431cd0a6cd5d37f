"""The findings of the exam beside those of the published study: counts, samples, families, activations, networks.

Counts are compared as shares of the networks, for a run may have fewer of them than were published; which of the
samples are easy, weird or confusing depends on how many networks are asked, so that nothing is said of them then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from _studies.line import NEAR_BEST, SHARE, WITHIN, Line, holds
from netpick import Run, exam
from netpick.core.errors import NetpickError

MARKS = (0.80, 0.90, 0.95, 0.99)
NETWORKS = 1001
"""As many were published."""
QUANTILES = (0.1, 0.5, 0.9)
THIRD = 4 / 3
"""Quantiles agree that are within a third of each other."""
COMPUTING, BLOCK_LAYERS = ("Linear", "Conv1d", "Conv2d", "Conv3d"), 2
"""What counts for a depth as it was published, and how many of them a residual block has in its main path."""
BLOCKS = (72, 14, 14)
"""Residual networks with 1, 2 and 3 blocks, as published."""


def findings(run: Run, study: dict[str, Any]) -> Iterator[Line]:
    """Yield the findings of a whole exam."""
    unfinished = len(exam.done(run)) < run.wanted
    for one in _findings(run, study):  # the costliest networks come first: what a half of a run says is not the whole
        yield one._replace(verdict="not finished") if unfinished else one


def _findings(run: Run, study: dict[str, Any]) -> Iterator[Line]:
    wide = exam.attempts(run)
    for number, counts in enumerate(study["published_counts"], 1):
        for mark, count in zip(MARKS, counts, strict=True):
            if number not in wide:
                continue
            asked = int(wide[number].notna().sum())
            found = int((wide[number] >= mark - exam.TINY).sum())
            mine, theirs = found / max(1, asked), count / NETWORKS
            yield Line(
                f"networks at or above {exam.percent(mark)} after attempt {number}",
                f"{count} of {NETWORKS} ({exam.percent(theirs, 1)})",
                f"{found} of {asked} ({exam.percent(mine, 1)})",
                holds(abs(mine - theirs) <= SHARE),
                "scores",
            )
    yield from _samples(run, study, len(wide))
    frame = exam.students(run)
    yield from _best(frame, study)
    yield from _families(frame, study)
    yield from _activations(frame)


def _samples(run: Run, study: dict[str, Any], networks: int) -> Iterator[Line]:
    for name in ("easy", "weird", "confusing"):
        there = study[name]
        try:
            found = len(run.ask(name).table)
        except NetpickError as error:
            yield Line(f"{name} samples", str(there), f"not answered: {error}", "", name)
            continue
        alike = abs(networks / NETWORKS - 1) <= SHARE
        verdict = holds(there / 2 <= found <= 2 * there) if alike else f"not comparable: {networks} networks"
        yield Line(f"{name} samples", f"{there:,}", f"{found:,}", verdict, name)


def _best(frame: pd.DataFrame, study: dict[str, Any]) -> Iterator[Line]:
    top = frame.set_index("name").loc[exam.best(frame)]
    said = f"{exam.percent(study['best'])}, a {study['first']}"
    same = top["computation"] == study["first"] and abs(top["accuracy"] - study["best"]) <= NEAR_BEST + exam.TINY
    found = f"{exam.percent(top['accuracy'])}, {top.name}, a {top['computation']}"
    yield Line("best", said, found, holds(same), "best")
    basic = frame.loc[frame["name"] == "Basic", "accuracy"]
    if len(basic):
        near = abs(basic.iloc[0] - study["basic"]) <= WITHIN + exam.TINY
        yield Line("Basic", exam.percent(study["basic"]), exam.percent(basic.iloc[0]), holds(near), "best")


def _families(frame: pd.DataFrame, study: dict[str, Any]) -> Iterator[Line]:
    groups = frame.groupby("computation")["accuracy"]
    order = groups.median().sort_values(ascending=False)
    words = ", ".join(f"{name} {exam.percent(value)}" for name, value in order.items())
    ranked = f"{study['first']} first, {study['second']} second"
    so = list(order.index[:2]) == [study["first"], study["second"]]
    yield Line("medians of the computations", ranked, words, holds(so), "strategies")
    if not {"Conv2d", "Conv3d"} <= set(order.index):
        return
    both, highest, spread = ("Conv2d", "Conv3d"), groups.max(), groups.quantile(0.75) - groups.quantile(0.25)
    words = ", ".join(f"{c} {exam.percent(order[c])} and {exam.percent(highest[c])}" for c in both)
    for what, values, ahead in (("median", order, "Conv3d"), ("maximum", highest, "Conv2d")):
        behind = both[ahead == "Conv2d"]
        said = f"{ahead} has the higher {what}"
        found = ", ".join(f"{c} {exam.percent(values[c])}" for c in both)
        yield Line(f"Conv3d against Conv2d: {what}", said, found, holds(values[ahead] > values[behind]), "strategies")
    words = ", ".join(f"{c}: quartiles {exam.points(spread[c])} apart" for c in both)
    smaller = holds(spread["Conv3d"] < spread["Conv2d"])
    yield Line("Conv3d against Conv2d: spread", "Conv3d has the smaller spread", words, smaller, "strategies")


def _activations(frame: pd.DataFrame) -> Iterator[Line]:
    active = frame[frame["activation"] != "None"]
    plain = active[active["computation"] != "ResNetStyle"]  # ReLU alone has residual networks, which are the best
    for what, rows in (("", active), (", without residual networks", plain)):
        means = rows.groupby("activation")["accuracy"].mean()
        if len(means):
            words = ", ".join(f"{a} {exam.percent(v)}" for a, v in means.sort_values(ascending=False).items())
            yield Line(
                f"mean of the activations{what}", "ReLU best", words, holds(means.idxmax() == "ReLU"), "activations"
            )
    groups = active.groupby("activation")["accuracy"]
    deviations, lows = groups.std(), groups.quantile(0.1)
    if {"SELU", "ReLU"} <= set(deviations.index):
        words = ", ".join(f"{a} {exam.points(v)}" for a, v in deviations.sort_values().items())
        so = holds(deviations["SELU"] < deviations["ReLU"])
        yield Line("standard deviation of the activations", "SELU below ReLU", words, so, "activations")
    if {"Sigmoid", "Tanh", "ReLU"} <= set(lows.index):
        words = ", ".join(f"{a} {exam.percent(v)}" for a, v in lows.sort_values().items())
        risky = holds(max(lows["Sigmoid"], lows["Tanh"]) < lows["ReLU"])
        yield Line("lowest tenth of the activations", "Sigmoid and Tanh risky, below ReLU", words, risky, "activations")


def quantiles(networks: pd.DataFrame, study: dict[str, Any]) -> Iterator[Line]:
    """Yield how large the networks of a generated template are, family by family: nothing is trained for it."""
    for column in ("params", "macs"):
        for family, published in study["quantiles"][column].items():
            found = networks.loc[networks["computation"] == family, column].quantile(QUANTILES).tolist()
            near = all(a / THIRD <= b <= a * THIRD for a, b in zip(published, found, strict=True))
            said, mine = (", ".join(f"{round(value):,}" for value in row) for row in (published, found))
            yield Line(f"{column} of {family} (10 %, median, 90 %)", said, mine, holds(near))
    drawn = networks[networks["name"] != "Basic"]
    ops = drawn["layers"].map(lambda text: [layer["op"] for layer in json.loads(text)])
    deep = ops.map(lambda names: sum(BLOCK_LAYERS if op == "BasicBlock" else op in COMPUTING for op in names))
    residual = drawn["computation"] == "ResNetStyle"
    plain = deep[~residual].groupby(drawn["computation"])
    low, middle, high = plain.min().min(), sorted(set(plain.median())), plain.max().max()
    found = f"{low} to {high}, medians {', '.join(f'{m:g}' for m in middle)}"
    so = holds(low >= 2 and high <= 6 and all(3 <= one <= 4 for one in middle))
    yield Line("depth of all but ResNetStyle", "2 to 6, medians 3 or 4", found, so)
    middle, high = deep[residual].median(), deep[residual].max()
    yield Line(
        "depth of ResNetStyle", "median 5, up to 9", f"median {middle:g}, up to {high}", holds((middle, high) == (5, 9))
    )
    blocks = ops[residual].map(lambda names: names.count("BasicBlock"))
    made = [int((blocks == n).sum()) for n in (1, 2, 3)]
    so = holds(sum(made) == len(blocks) and all(a / THIRD <= b <= a * THIRD for a, b in zip(BLOCKS, made, strict=True)))
    yield Line(
        "networks of ResNetStyle with 1, 2, 3 blocks", ", ".join(map(str, BLOCKS)), ", ".join(map(str, made)), so
    )
