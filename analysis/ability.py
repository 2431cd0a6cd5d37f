"""How able is each network, how hard is each sample, and which samples tell good from excellent?

Item response theory sees an exam as a table of right and wrong answers, and gives each student an ability and each
question a difficulty and a discrimination, all on one scale. In the two-parameter logistic model the probability that
network i is right on sample s is 1 / (1 + exp(-a_s (t_i - b_s))): t_i is the ability, b_s the difficulty (the ability
at which half are right), a_s the discrimination (how steeply the chance rises with ability).

Abilities are scaled to mean 0 and standard deviation 1 over the networks asked about (of more than 2,000, over those
drawn; see Method). Of a run with folds a network is in the likelihood of those samples alone that it answered. With the
split `left_out` networks of different folds share none, so that the networks of each fold, which were dealt out alike,
have that mean and standard deviation; errors have in them how far these would be off by chance.

Columns
-------
With `rows` = samples (the default) a row is a sample, those that tell most at high ability first:

sample, label : the sample's number and true class
right : share of the networks that get it right
difficulty : in standard deviations of ability; empty where ability does not help (discrimination 0.05 or less)
discrimination : per standard deviation of ability; negative where the better networks get it wrong more often, which
    is a reason to look at the label (see `suspects`)
discrimination_error : its standard error, where the discriminations of all samples are normal; see Method
information : what the sample tells about a network that is as able as the quantile `at` of all: a² p (1 - p), 0 for a
    negative a; the standard error of an ability is 1 / sqrt(sum of the information of all samples)

With `rows` = networks a row is a network, the ablest first:

name, computation, activation, accuracy : of the network
ability : in standard deviations from the mean of the networks asked about
error : standard error of the ability
may_be_ablest : whether it can't be told from the ablest, by their standard errors; the ablest in truth is among these
    in 95 of 100 exams
surprise : nats; mean of minus the logarithm of the probability that the model gives to what the network answered; high
    for a network with strengths and weaknesses of its own

Method
------
Birnbaum (1968), in Lord and Novick, "Statistical Theories of Mental Test Scores". Samples' parameters are of marginal
maximum likelihood (Bock and Aitkin 1981, Psychometrika 46), by the EM algorithm: abilities are held to be normal, and
averaged over instead of being fitted too, which would make the samples steeper than they are. Slope and logit of a
sample are steadied by a normal prior whose mean and covariance are found from all samples (empirical Bayes; Mislevy
1986, Psychometrika 51), so that what belongs to a sample that all get right stays finite. An ability and its error are
mean and standard deviation of what the answers tell about it, by seven Gauss-Hermite points about its best value; the
expected answers to a sample are summed over 41 abilities that stand for these points of all networks: those of their
Gauss quadrature (Golub and Welsch 1969, Mathematics of Computation 23). Where the truth is known, an ability lies
within 1.96 errors in about 95 of 100 cases, for twenty to a thousand networks. The discriminations come out too low,
which is the prior's doing, and neither the points' nor the rounds': it draws towards the mean what the answers tell
little about. With 300 networks it is by 1 % where a tenth to nine tenths of them are right, and by 18 % where more than
97 % are; with 40 networks by 6 % and 26 % (without a prior they come out too high, with 40 networks by a fifth). The
steepest of all are steeper than a normal prior expects, if discriminations are skewed: that of the sample that tells
most is then too low by about one standard error, so that the sentence gives it none. Time grows with samples and with
wrong answers, or with right ones where these are fewer, as memory does: so of more than 2,000 networks a share of each
family is drawn. The samples' parameters come from these alone, and mean 0 and standard deviation 1 are theirs; then all
networks have abilities by these samples. The others come out somewhat nearer to the mean than those drawn, by 0.2 % of
their distance where 2,000 are drawn, by 2 % of 200 and 5 % of 40.

Quality of fit: samples' parameters are taken from one half of the networks (of those drawn, where some are), the
abilities of the other half from their answers to one half of the samples, and what these predict of their answers to
the other half is compared with the truth: area under the ROC curve, and mean log likelihood, beside a model whose
samples all discriminate alike (Rasch 1960), and beside the samples' difficulty alone: how many of the first half of the
networks are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, NetpickError, ResponseModel, Run, foresight, item_response, short, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = ("samples", "networks")
COLUMNS = {
    "samples": ("sample", "label", "right", "difficulty", "discrimination", "information"),
    "networks": ("name", "ability", "error", "may_be_ablest", "accuracy", "surprise"),
}
"""What matters most."""


def ask(
    run: Run,
    *,
    rows: str = "samples",
    at: float = 0.9,
    networks: int = exam.MANY,
    seed: int = 0,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Fit the two-parameter logistic model to the last answers.

    Parameters
    ----------
    rows : str
        What a row of the table is: samples or networks.
    at : float
        Quantile of the abilities at which samples shall tell networks apart: 0.9 is between good and excellent.
    networks : int
        Where there are more, the samples' parameters are from so many, drawn, a share of each family.
    seed : int
        Of the networks that are drawn.
    """
    exam.check_choice("rows", rows, ROWS)
    at = exam.check_fraction("at", at)
    exam.check_count("networks", networks, 4)
    chosen = exam.selected(run, everyone, good, gold, quantile, split)
    names, predicted, labels = exam.final(run, chosen["name"], split)
    if len(names) < 4:
        raise NetpickError(f"ability wants at least 4 networks, got {len(names)}: give a lower `good`, or ask everyone")
    chosen = chosen.set_index("name").loc[names].reset_index()
    right = exam.marked(predicted, labels)
    drawn = exam.some_of(chosen, networks, seed).index.to_numpy()
    model = item_response.fit(right) if len(drawn) == len(chosen) else item_response.fit_some(right, drawn)
    ability = float(np.quantile(model.ability, at))
    samples = pd.DataFrame(
        {
            "sample": np.arange(len(labels)),
            "label": labels,
            "right": exam.rates(right, 0),
            "difficulty": model.difficulty,
            "discrimination": model.slope,
            "discrimination_error": model.slope_errors,
            "information": np.where(model.slope > 0, model.information(ability), 0),
        }
    )
    samples = samples[samples["right"].notna()]
    samples = samples.sort_values("information", ascending=False, kind="stable", ignore_index=True)
    students = chosen[["name", "computation", "activation", "accuracy"]].assign(
        ability=model.ability, error=model.errors, surprise=model.surprise(right), may_be_ablest=model.may_be_ablest()
    )
    students = students.sort_values("ability", ascending=False, kind="stable", ignore_index=True)
    text = _text(samples, students, at, run.classes, exam.whom(chosen, everyone))
    if len(drawn) < len(chosen):
        text += (
            f" What the samples are like is taken from {len(drawn):,} of the networks, drawn, a share of each family."
        )
    text += f" {quality(right[drawn])}"
    backwards = int((model.slope < -0.1).sum())
    said = ""
    if backwards:
        are = "sample is" if backwards == 1 else "samples are"
        said = f"{backwards} {are} missed more often by the abler networks: look at the labels (`suspects`)"
    return Answer(
        samples if rows == "samples" else students,
        text,
        lambda: theme.finish(
            _draw(model, samples, ability, right, run.classes), _title(samples, chosen), exam.whom(chosen, everyone)
        ),
        exam.notes(
            run,
            said,
            exam.said_of_samples(run, split, (predicted >= 0).sum(axis=0), len(names)),
            exam.said_of_luck(run, split),
            first=True,
        ),
        shares=("right",) if rows == "samples" else ("accuracy",),
        columns=COLUMNS[rows],
        suggested="" if rows == "samples" else str(students["name"].iloc[0]),
    )


def quality(right: np.ndarray, seed: int = 0) -> str:
    """Say how well the model predicts answers that it has not seen, beside two that know less."""
    found = foresight.foresight(right, seed)
    return (
        f"On answers that it has not seen the model has an area under the ROC curve of {found.auc:.3f} (by the "
        f"samples' difficulty alone {found.difficulty_auc:.3f}, without discrimination {found.alike_auc:.3f}) and a "
        f"mean log likelihood of {found.likelihood:.4f} ("
        f"{found.difficulty_likelihood:.4f}, {found.alike_likelihood:.4f})."
    )


def _half(samples: pd.DataFrame) -> int:
    """Count the samples that together carry half of the information, those that carry most first."""
    return int(samples["information"].cumsum().searchsorted(samples["information"].sum() / 2)) + 1


def _view(difficulty: pd.Series, ability: np.ndarray) -> tuple[float, float]:
    """Return the range of difficulty that the figure shows: where nearly all samples and networks lie."""
    values = difficulty if len(difficulty) else ability
    low, high = np.quantile(values, [0.03, 0.97])
    room = max(0.1 * (high - low), 0.1)
    least, most = np.quantile(ability, [0.01, 0.99])
    return float(min(low - room, least)), float(max(high + room, most))


def _text(samples: pd.DataFrame, networks: pd.DataFrame, at: float, classes: list[str], who: str) -> str:
    first, top = samples.iloc[0], networks.iloc[0]
    others = int(networks["may_be_ablest"].sum()) - 1
    ties = f"{exam.counted_word(others, 'other')} can't be told from it" if others else "all others are told from it"
    return (
        f"Among {who} {top['name']} is the ablest, {top['ability']:.1f} ± {1.96 * top['error']:.1f} standard "
        f"deviations above the mean; {ties} by these {len(samples)} samples. {_half(samples)} of them carry half of "
        f"all that the exam tells about a network at the {100 * at:g}th percentile: the one that tells most is "
        f"number {first['sample']:.0f} ({exam.quoted(classes[int(first['label'])])}, "
        f"discrimination {first['discrimination']:.1f}), which {100 * first['right']:.0f} % get right."
    )


def _draw(model: ResponseModel, samples: pd.DataFrame, ability: float, right: np.ndarray, classes: list[str]) -> Figure:
    """Draw difficulty against discrimination of all samples, and the curves of those that tell most."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    left, beside = fig.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_samples(left, model, samples, ability)
    _draw_curves(beside, model, samples.head(4), right, classes)
    beside.axvline(ability, color=theme.WRONG, linestyle=":")
    return fig


def _title(samples: pd.DataFrame, chosen: pd.DataFrame) -> str:
    return (
        f"{_half(samples)} of {len(samples)} samples do half the work of telling good from excellent networks, number "
        f"{samples['sample'].iloc[0]} most of all ({exam.how_many(chosen)})"
    )


def _draw_samples(ax: Axes, model: ResponseModel, samples: pd.DataFrame, ability: float) -> None:
    shown = samples.dropna(subset="difficulty").sort_values("information")
    low, high = _view(shown["difficulty"], model.ability)
    outside = int((~shown["difficulty"].between(low, high)).sum())
    dots = ax.scatter(
        shown["difficulty"],
        shown["discrimination"],
        c=shown["information"].clip(1e-4),
        s=float(np.clip(9000 / max(len(shown), 1), 12, 30)),
        cmap="cividis_r",
        norm="log",
    )
    ax.figure.colorbar(dots, ax=ax, label="information about an able network", location="bottom", aspect=40, pad=0.02)
    ax.axvline(ability, color=theme.WRONG, linestyle=":", label=f"an able network ({ability:+.1f})")
    heights, edges = np.histogram(model.ability, bins=40, range=(low, high))
    ax.stairs(
        0.1 * heights / max(heights.max(), 1), edges, fill=True, color=theme.INK, alpha=0.35,
        transform=ax.get_xaxis_transform(), label="how many networks have this ability",
    )  # fmt: skip
    if len(shown):  # with room below for the networks
        bottom, top = shown["discrimination"].min(), shown["discrimination"].max()
        room = max(top - bottom, 0.1)
        ax.set_ylim(bottom - 0.17 * room, top + 0.05 * room)
    ax.set(
        xlim=(low, high),
        xlabel="difficulty (standard deviations of ability)",
        ylabel="discrimination (per standard deviation)",
        title=f"All samples{f' but {outside}, which lie outside' if outside else ''}",
    )
    ax.legend(loc="upper left", fontsize=8.5)


def _draw_curves(ax: Axes, model: ResponseModel, samples: pd.DataFrame, right: np.ndarray, classes: list[str]) -> None:
    grid = np.linspace(model.ability.min() - 0.2, model.ability.max() + 0.2, 120)
    groups = np.array_split(np.argsort(model.ability), min(12, max(2, len(model.ability) // 4)))
    for colour, (_, row) in zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), samples.iterrows(), strict=False):
        s = int(row["sample"])
        name = theme.plain(short(classes[int(row["label"])], 24))
        curve = 1 / (1 + np.exp(-(model.slope[s] * grid + model.logit[s])))
        ax.plot(grid, curve, color=colour, label=f"no. {s} ({name})")
        shares = [exam.rates(right[g, s], 0) for g in groups]
        ax.plot([model.ability[g].mean() for g in groups], shares, "o", color=colour, ms=4.5)
    theme.percent_axis(ax.yaxis)
    ax.set(
        xlabel="ability (standard deviations)",
        ylabel="right answers",
        title="Those that tell most (dots: networks in groups)",
    )
    ax.legend(loc="upper left", fontsize=8.5)
