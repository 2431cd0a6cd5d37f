"""One network of a run as an ONNX file, in float32 or in whole numbers of 8 bits, checked on all test samples.

The file takes pixels as they are, normalises them itself, and gives the logarithms of the classes' probabilities. What
it is, and which classes, it says in its metadata. A file that does not answer as the run says is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick.core.errors import NetpickError, RunError, WorkError
from netpick.core.files import named_errors, written_aside
from netpick.core.pixels import Pixels
from netpick.core.spreadsheet import csv_text
from netpick.core.words import counted_word, percent, points, size
from netpick.exam.ballots import final, final_scores
from netpick.exam.checks import done, need_trained
from netpick.exam.device.graph import OPSET, onnx_package
from netpick.exam.device.runtime import CALIBRATION, in_int8, scores_of
from netpick.exam.device.translated import translated
from netpick.exam.exports import normalisation, refuse_existing
from netpick.exam.forward_pass import Passes
from netpick.exam.network_card import network_row
from netpick.exam.significance import paired
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import MODELS, OWN
from netpick.store.reader import Reader

if TYPE_CHECKING:
    from onnx import ModelProto

TIES = {"fp32": 1e-3, "tf32": 0.05, "bf16": 0.5}
"""Differences of scores, by the arithmetic of the training, that say nothing of which class comes first."""

Read = Callable[[int], Pixels]
"""Reads the data set, with so many training images."""


@dataclass(frozen=True)
class Checked:
    """A model that answers as the run says, `quantised` the same in 8 bits: both with their scores of the test samples.

    `before` are the answers of the run, `difference` the largest one of its scores to those of the model (NaN where
    none were kept), `ties` the samples whose two highest scores are equal but for rounding, and change places.
    """

    name: str
    model: ModelProto
    scores: np.ndarray
    before: np.ndarray
    labels: np.ndarray
    difference: float
    ties: int
    quantised: ModelProto | None = None
    quantised_scores: np.ndarray | None = None

    @property
    def text(self) -> str:
        """Say how nearly it answers as the run says, and what 8 bits make of it."""
        known = "" if np.isnan(self.difference) else f", with scores that differ by at most {self.difference:.1e}"
        said = f"opset {OPSET}, answers all {len(self.labels)} test samples as the run says{known}"
        if self.ties:
            said += f"; {counted_word(self.ties, 'tie')} between two classes went the other way"
        return f"{said}." if self.quantised_scores is None else f"{said}. {self._lost()}"

    def _lost(self) -> str:
        assert self.quantised_scores is not None
        after = self.quantised_scores.argmax(axis=1)
        was, now = self.before == self.labels, after == self.labels
        lost = paired(was, now)
        changed, than = after != self.before, "as many as before"
        if lost.difference:
            more = "more" if lost.difference > 0 else "less"
            than = f"{points(abs(lost.difference))} {more} than before"
        interval = f"95 % interval of the change {100 * lost.low:+.2f} to {100 * lost.high:+.2f} points"
        return (
            f"In 8 bits it is right on {percent(now.mean())} of them, {than} ({percent(was.mean())}; {interval}). "
            f"{counted_word(int(changed.sum()), 'sample')} changed: "
            f"{int((was & ~now).sum())} from right to wrong, {int((now & ~was).sum())} from wrong to right, "
            f"{int((changed & ~was & ~now).sum())} from one wrong class to another."
        )

    def changed(self, classes: list[str]) -> pd.DataFrame:
        """Return the samples that are answered otherwise in 8 bits.

        Columns: sample, label, before and after (names of classes), right_before, right_after, p_before and p_after
        (the probability that each gives to its own answer), margin (of the two classes, before, in nats).
        """
        assert self.quantised_scores is not None
        after = self.quantised_scores.argmax(axis=1)
        rows = np.flatnonzero(after != self.before)
        names = np.array(classes, object)
        mine, theirs, labels = self.before[rows], after[rows], self.labels[rows]
        own = self.scores[rows, mine]
        return pd.DataFrame({
            "sample": rows, "label": names[labels], "before": names[mine], "after": names[theirs],
            "right_before": mine == labels, "right_after": theirs == labels, "p_before": np.exp(own),
            "p_after": np.exp(self.quantised_scores[rows, theirs]), "margin": own - self.scores[rows, theirs],
        })  # fmt: skip


@dataclass(frozen=True)
class OnnxFile:
    """What was written, and what is to be said of it; `changed` is the file with the samples that changed."""

    path: Path
    text: str
    changed: Path | None = None


def export_onnx(
    run: Reader,
    name: str,
    path: str | Path,
    read: Read,
    int8: bool = False,
    changed: str | Path | None = None,
    overwrite: bool = False,
) -> OnnxFile:
    """Write a network as an ONNX file, once it has been found to answer as the run says.

    Parameters
    ----------
    run : Run
    name : str
        Of the network.
    path : str or Path
        A file that ends in .onnx.
    read : callable
        Reads the data set; called once all else has been checked.
    int8 : bool
        In whole numbers of 8 bits.
    changed : str or Path, optional
        A .csv file for the samples that are answered otherwise in 8 bits.
    overwrite : bool
        Write over files that are there.

    Raises
    ------
    NetpickError
        A network that has no weights or no layers of its own, files that are there, packages that are missing;
        WorkError where the file would answer otherwise than the run says, or can't be written.
    """
    target, beside = Path(path), None if changed is None else Path(changed)
    if target.suffix != ".onnx":
        raise NetpickError(f"{target} does not end in .onnx: give the name of a file that does")
    if beside is not None and not int8:
        raise NetpickError(f"--changed {beside}: goes with --int8, since float32 changes no answer")
    if beside is not None and beside.suffix != ".csv":
        raise NetpickError(f"--changed {beside}: wants a file that ends in .csv")
    refuse_existing(overwrite, target, *([beside] if beside else []))
    steps = steps_of(run, name)
    made = checked(run, name, steps, read(CALIBRATION if int8 else 0), int8)
    content = (made.quantised or made.model).SerializeToString()
    written = [(target, content)]
    if beside is not None:
        written.append((beside, csv_text(made.changed(run.classes)).encode()))
    with ExitStack() as both:
        for file, content in written:
            with named_errors(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True)
            both.enter_context(named_errors(file))
            both.enter_context(written_aside(file)).write_bytes(content)
    return OnnxFile(target, f"{target}: {size(len(written[0][1]))}, {made.text}", beside)


def steps_of(run: Reader, name: str) -> list[Any]:
    """Return the steps by which a network answers; NetpickError with the reason where it can't be an ONNX file."""
    onnx_package()
    row = network_row(run, name)
    need_trained(run, "network to export")
    try:
        return passes(run).of(name)
    except RunError as error:
        ops = {layer.op for layer in NetworkSpec.from_dict(row).layers}
        other = ": --to FILE.py writes it for PyTorch, whose torch.onnx.export takes it" if ops & {OWN, *MODELS} else ""
        raise RunError(f"{name} can't be an ONNX file: {error}{other}") from None


def passes(run: Reader) -> Passes:
    """Return what networks of the run answer by, read once."""
    return run.once("passes", lambda: Passes(run))


def checked(run: Reader, name: str, steps: list[Any], pixels: Pixels, int8: bool) -> Checked:
    """Translate a network, and hold its answers against the run's; WorkError where they are others."""
    model, nodes = translated(steps, tuple(run.manifest["shape"]), _about(run, name, pixels, int8))
    images = pixels.splits["test"]
    scores = scores_of(model, images)
    before, stored = _stored(run, name)
    labels = run.labels()
    plan = str(done(run).set_index("network").loc[[name], "plan"].iloc[0]).partition("/")[0]
    now, rows = scores.argmax(axis=1), np.arange(len(labels))
    gaps = scores[rows, now] - scores[rows, before]
    if (worse := gaps > TIES.get(plan, TIES["fp32"])).any():
        raise WorkError(
            f"{name} as ONNX answers {worse.sum()} of {len(labels)} test samples otherwise than {run.path} says, with "
            f"scores that differ by up to {gaps.max():.2g}: nothing was written; are data set and weights the run's?"
        )
    difference = float("nan") if stored is None else float(np.abs(scores - stored).max())
    made = Checked(name, model, scores, before, labels, difference, int((now != before).sum()))
    if not int8:
        return made
    quantised = in_int8(model, nodes, pixels.calibration)
    return Checked(**{**vars(made), "quantised": quantised, "quantised_scores": scores_of(quantised, images)})


def _stored(run: Reader, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a network's answers to the test samples as the run has them, and its scores where they were kept."""
    _, predicted, _ = final(run, [name])
    try:
        return predicted[0], final_scores(run, [name])[1][0]
    except RunError:
        return predicted[0], None


def _about(run: Reader, name: str, pixels: Pixels, int8: bool) -> Mapping[str, Any]:
    """Return what a file says of itself."""
    row = network_row(run, name)
    mean, std = normalisation(run, name) or ([], [])
    shape = ", ".join(map(str, run.manifest["shape"]))
    said = {
        "network": name, "hash": row["hash"], "run": run.name, "dataset": str(run.manifest.get("dataset", "")),
        "classes": run.classes, "input": f"float32 (N, {shape}): {pixels.unit}",
        "output": "logarithms of the probabilities of the classes", "mean": mean, "std": std,
        "precision": "int8" if int8 else "fp32",
    }  # fmt: skip
    return {**said, "calibration": f"{len(pixels.calibration)} training images"} if int8 else said
