"""Which samples probably have a wrong label?

A sample is a suspect where most good networks agree on another answer than its label, and are sure of it. All samples
are ranked by the mean probability, over the networks, of their label, the lowest first: the self-confidence of
confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning"), with an ensemble in place of
cross-validation. Here the networks have not seen the samples that they are asked about, so none is needed, and of a run
with folds that holds for the training samples, as split `left_out`. By a calibrated probability this is
the order in which labels are wrong, if errors are alike for all classes. Beside the margin between answer and label it
was far ahead on Fashion-MNIST and a little behind on digits (`benchmarks/RESULTS.md`). A sample that is
merely hard can look the same: look at the images before changing a label. Scores of the last epoch, first replicate.
Needs scores. Where the package cleanlab is installed (`pip install cleanlab`), its ranking stands beside ours.

Columns
-------
rank : 1 for the lowest probability of the label
sample : number of the sample in its split
label, label_name : class that the sample is said to be
answer, answer_name : other class that has most votes (of equals, the more probable one)
suspect : whether the sample meets both thresholds
margin : mean probability of `answer` less that of `label`, from -1 to 1
votes : fraction of the networks whose answer is `answer`
confidence : mean probability of `answer` among the networks that give it; NaN where none does
label_votes : fraction of the networks whose answer is the label
label_probability : mean probability of the label
cleanlab_quality : cleanlab's label quality score of the mean probabilities, from 0 (bad) to 1
cleanlab_rank : 1 for the lowest quality of all samples
cleanlab_issue : whether cleanlab counts the sample as a label issue
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 16
"""Networks at a time, so that memory stays small beside the scores themselves."""


def ask(
    run: Run,
    *,
    agree: float = 0.9,
    confidence: float = 0.75,
    all_samples: bool = False,
    images: int = 18,
    to: str | None = None,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    everyone: bool = False,
    split: str = "test",
) -> Answer:
    """Rank samples by how firmly good networks contradict their label.

    Parameters
    ----------
    agree : float
        Share of the networks that must give the same other answer, from 0 to 1.
    confidence : float
        Mean probability that those networks must give it, from 0 to 1.
    all_samples : bool
        List every sample, not just those whose other answer is on average more probable than the label.
    images : int
        Samples in the figure.
    to : str
        Write the suspects into this CSV file, their images beside it, for `netpick relabel` once you have edited it.
    """
    exam.check_fraction("agree", agree)
    exam.check_fraction("confidence", confidence)
    exam.check_count("images", images)
    if to is not None and split == exam.ALL:
        raise NetpickError("fixes are of one split: ask with split test or left_out")
    frame = exam.selected(run, everyone, good, gold, quantile, split)
    blocks = (scores for _, scores in exam.score_blocks(run, frame["name"], split, BLOCK))
    labels, found = run.labels(split), Opinions.of(blocks)
    probability, voted, sure = found.shares()
    table = ranking(probability, voted, sure, labels, agree, confidence)
    table = table[found.answered[table["sample"]] > 0]
    for k in ("label", "answer"):
        table.insert(list(table).index(k) + 1, f"{k}_name", np.asarray(run.classes)[table[k].to_numpy()])
    missing = ""
    if (theirs := cleanlab_ranking(labels, probability, np.flatnonzero(found.answered))) is None:
        missing = "cleanlab is not installed, so its ranking is left out"
    else:
        table = table.join(theirs, on="sample")
    suspects = table[table["suspect"]]
    text = sentence(table, exam.whom(frame, everyone, split), agree, confidence, run.classes)
    if to is not None:
        exam.write_fixes(run, to, suspects["sample"], suspects["answer"], suspects["votes"], split)
        text += f" They are in {to}: strike the rows whose label is right, and give `netpick relabel`."
    shown = (suspects if len(suspects) else table).head(images)
    counts = found.voted[shown["sample"]]
    shown_table = table if all_samples else table[(table["margin"] > 0) | table["suspect"]]
    return Answer(
        shown_table.reset_index(drop=True),
        text,
        lambda: draw(run, shown, counts, len(suspects), exam.how_many(frame), split),
        exam.notes(run, missing, exam.said_of_samples(run, split, found.answered.astype(int), len(frame)), first=True),
        shares=("margin", "votes", "confidence", "label_votes", "label_probability"),
        columns=("sample", "label_name", "answer_name", "suspect", "votes", "confidence", "margin"),
    )


@dataclass
class Opinions:
    """What networks think of each sample and class, sums over those that answered, float64 (samples, classes).

    Parameters
    ----------
    answered : (samples,)
        How many networks did.
    probability : sum of the probabilities
    voted : how many networks answer this class
    sure : sum of the probabilities that these give it
    """

    answered: np.ndarray
    probability: np.ndarray
    voted: np.ndarray
    sure: np.ndarray

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Opinions:
        """Sum over scores (networks, samples, classes), some networks at a time."""
        out = None
        for scores in blocks:
            _, samples, classes = scores.shape
            out = out or cls(np.zeros(samples), *np.zeros((3, samples, classes)))
            given = ~np.isnan(scores[:, :, 0])
            part = np.exp(np.ascontiguousarray(np.moveaxis(scores, 2, 0)))  # what is added up lies side by side
            part[:, ~given] = 0
            top, before_end = part.max(axis=0), np.zeros(given.shape, np.int16)
            for c in range(classes):  # of equals the first, which is farthest from the end
                np.maximum(before_end, (part[c] == top) * np.int16(classes - c), out=before_end)
            where = (np.arange(1, samples + 1) * classes - before_end)[given]
            out.answered += given.sum(axis=0)
            out.probability += part.sum(axis=1, dtype=np.float64).T
            out.voted += np.bincount(where, minlength=out.voted.size).reshape(out.voted.shape)
            out.sure += np.bincount(where, top[given], out.sure.size).reshape(out.sure.shape)
        if out is None:
            raise NetpickError("no network's scores can be read: ask `everyone`, or another run")
        return out

    def shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean probability, fraction of the votes, and mean probability among those who vote so, if any."""
        sure = np.divide(self.sure, self.voted, out=np.full_like(self.sure, np.nan), where=self.voted > 0)
        of = np.maximum(self.answered, 1)[:, None]
        return self.probability / of, self.voted / of, sure


def ranking(
    probability: np.ndarray, voted: np.ndarray, sure: np.ndarray, labels: np.ndarray, agree: float, confidence: float
) -> pd.DataFrame:
    """Return all samples, those first whose label is contradicted most; arguments as from `opinions`."""
    place = np.arange(len(labels))
    others = voted + probability / 1e6  # probability decides between equal votes
    others[place, labels] = -1
    answer = others.argmax(axis=1)
    # A little less than each threshold: means of float32 numbers fall short of what they are meant to be.
    firm = (voted[place, answer] >= agree - 1e-9) & (np.nan_to_num(sure[place, answer]) >= confidence - 1e-6)
    table = pd.DataFrame(
        {
            "sample": place,
            "label": labels,
            "answer": answer,
            "suspect": firm,
            "margin": probability[place, answer] - probability[place, labels],
            "votes": voted[place, answer],
            "confidence": sure[place, answer],
            "label_votes": voted[place, labels],
            "label_probability": probability[place, labels],
        }
    )
    table = table.sort_values("label_probability", kind="stable", ignore_index=True)
    table.insert(0, "rank", table.index + 1)
    return table


def cleanlab_ranking(labels: np.ndarray, probability: np.ndarray, samples: np.ndarray) -> pd.DataFrame | None:
    """Return cleanlab's view of the mean probabilities of some samples; None where cleanlab is not installed."""
    try:
        filters, ranks = (import_module(f"cleanlab.{name}") for name in ("filter", "rank"))
    except ImportError:
        return None
    probability = probability[samples] / probability[samples].sum(axis=1, keepdims=True)
    labels = labels[samples].astype(np.int64)
    quality = np.asarray(ranks.get_label_quality_scores(labels, probability))
    out = pd.DataFrame({"cleanlab_quality": quality}, index=samples)
    out["cleanlab_rank"] = out["cleanlab_quality"].rank(method="first").astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of classes with few samples, which is no fault here
        out["cleanlab_issue"] = np.asarray(filters.find_label_issues(labels, probability, n_jobs=1), dtype=bool)
    return out


def sentence(table: pd.DataFrame, who: str, agree: float, confidence: float, classes: list[str]) -> str:
    """Say how many suspects there are, and name the first."""
    n = int(table["suspect"].sum())
    rule = (
        f"at least {exam.percent(agree)} of them agree, with a mean confidence of at least {exam.percent(confidence)}"
    )
    said = f"{n} of {len(table)} samples {'is' if n == 1 else 'are'} suspect to {who}: {rule}."
    if not len(table):
        return said
    row = (table[table["suspect"]] if n else table).iloc[0]
    return said + (
        f" {'First' if n else 'Nearest to it'} comes number {row['sample']}: labelled "
        f"{exam.quoted(row['label_name'])}, called {exam.quoted(row['answer_name'])} by "
        f"{exam.percent(float(row['votes']))} of them."
    )


def draw(run: Run, shown: pd.DataFrame, counts: np.ndarray, suspects: int, few: str, split: str) -> Figure:
    """Draw the first suspects with their votes, or where there is none the samples that come nearest."""
    captions = [
        f"called {name}\nby {exam.percent(votes, 0)}, sure {exam.percent(confidence, 0)}"
        for name, votes, confidence in zip(shown["answer_name"], shown["votes"], shown["confidence"], strict=True)
    ]
    if suspects:
        part = f"the first {len(shown)} of {suspects}" if suspects > len(shown) else f"{suspects}"
        title = f"Labels that most networks contradict: {part} suspect{'' if suspects == 1 else 's'}"
    else:
        title = "No label is contradicted firmly: these come nearest"
    return exam.image_grid(run, shown["sample"].tolist(), captions, counts, split, f"{title} ({few})")
