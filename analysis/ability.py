"""How able is each network, how hard is each sample, and which samples tell good from excellent?

Item response theory sees an exam as a table of right and wrong answers, and gives each student an ability and each
question a difficulty and a discrimination, all on one scale. In the two-parameter logistic model the probability that
network i is right on sample s is 1 / (1 + exp(-a_s (t_i - b_s))): t_i is the ability, b_s the difficulty (the ability
at which half are right), a_s the discrimination (how steeply the chance rises with ability).

Abilities are scaled to mean 0 and standard deviation 1 over the networks asked about.

Columns
-------
With `rows` = samples (the default) a row is a sample, those that tell most at high ability first:

sample, label : the sample's number and true class
right : share of the networks that get it right
difficulty : in standard deviations of ability; empty where ability does not help (discrimination 0.05 or less)
discrimination : per standard deviation of ability; negative where the better networks get it wrong more often, which
    is a reason to look at the label (see `suspects`)
information : what the sample tells about a network that is as able as the quantile `at` of all: a² p (1 - p), 0 for a
    negative a; the standard error of an ability is 1 / sqrt(sum of the information of all samples)

With `rows` = networks a row is a network, the ablest first:

name, computation, activation, accuracy : of the network
ability : in standard deviations from the mean of the networks asked about
error : standard error of the ability
surprise : nats; mean of minus the logarithm of the probability that the model gives to what the network answered; high
    for a network with strengths and weaknesses of its own

Method
------
Birnbaum (1968), in Lord and Novick, "Statistical Theories of Mental Test Scores". Joint maximum a posteriori, samples
and networks in turn, with weak normal priors (ability: standard deviation 1; discrimination: mean 1, standard deviation
0.5; logit of an average network: standard deviation 3), which keep finite what belongs to a sample that all get right.
Joint estimates are good where there are many networks and many samples; with few of either they are pulled to the
priors. From 32 networks on, the expected answers to a sample are summed over 20 abilities that stand for all: those of
the Gauss quadrature of the networks' own abilities (Golub and Welsch 1969, "Calculation of Gauss quadrature rules",
Mathematics of Computation 23), which moves the results by less than a millionth. Time grows with samples, and little
with networks; memory with wrong answers, or with right ones where these are fewer.

Quality of fit: samples' parameters are taken from one half of the networks, the abilities of the other half from
their answers to one half of the samples, and what these predict of their answers to the other half is compared with
the truth: area under the ROC curve, and mean log likelihood, beside a model whose samples all discriminate
alike (Rasch 1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.core.errors import NetpickError
from netpick.exam.answer import Answer
from netpick.exam.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = ("samples", "networks")
NODES, EXACT = 20, 32
"""Abilities that stand for those of all networks, and how many networks it takes to do that."""

GRID = 64
"""Points at which the expected sum of slopes is computed, to be read between them."""

SLOPE, SLOPE_SPREAD, LOGIT_SPREAD = 1.0, 0.5, 3.0
"""Priors of the samples: discrimination, and the logit of a network of ability 0."""


@dataclass(frozen=True)
class Model:
    """A fitted exam: ability of each network; slope and logit (at ability 0) of each sample."""

    ability: np.ndarray
    slope: np.ndarray
    logit: np.ndarray
    rounds: int

    @property
    def difficulty(self) -> np.ndarray:
        """Ability at which half are right, NaN where ability does not help."""
        helps = self.slope > 0.05
        return np.where(helps, -self.logit / np.where(helps, self.slope, 1), np.nan)

    def information(self, ability: float) -> np.ndarray:
        """What each sample tells about a network of this ability (Fisher information)."""
        p = _logistic(self.slope * ability + self.logit)
        return self.slope**2 * p * (1 - p)


def ask(
    run: Run,
    *,
    rows: str = "samples",
    at: float = 0.9,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
) -> Answer:
    """Fit the two-parameter logistic model to the last answers.

    Parameters
    ----------
    rows : str
        What a row of the table is: samples or networks.
    at : float
        Quantile of the abilities at which samples shall tell networks apart: 0.9 is between good and excellent.
    everyone : bool
        Ask all networks, not the good ones alone.
    good : float
        A good network reaches this accuracy in every epoch.
    gold : float
        A gold star is for a good network whose last accuracy is above this.
    quantile : float
        Take `good` and `gold` from this quantile of the run's own accuracies.
    """
    if rows not in ROWS:
        raise NetpickError(f"rows is '{rows}': give samples or networks")
    at = exam.check_fraction("at", at)
    chosen = exam.selected(run, everyone, good, gold, quantile)
    names, predicted, labels = exam.final(run, chosen["name"])
    if len(names) < 4:
        raise NetpickError(f"ability wants at least 4 networks, got {len(names)}: give a lower `good`, or ask everyone")
    chosen = chosen.set_index("name").loc[names].reset_index()
    right = predicted == labels
    model = fit(right)
    ability = float(np.quantile(model.ability, at))
    samples = pd.DataFrame(
        {
            "sample": np.arange(len(labels)),
            "label": labels,
            "right": right.mean(axis=0),
            "difficulty": model.difficulty,
            "discrimination": model.slope,
            "information": np.where(model.slope > 0, model.information(ability), 0),
        }
    )
    samples = samples.sort_values("information", ascending=False, kind="stable", ignore_index=True)
    networks = chosen[["name", "computation", "activation", "accuracy"]].assign(
        ability=model.ability, error=_errors(model), surprise=_surprise(model, right)
    )
    networks = networks.sort_values("ability", ascending=False, kind="stable", ignore_index=True)
    text = _text(samples, networks, at, run.classes) + " " + quality(right)
    backwards = int((model.slope < -0.1).sum())
    said = [exam.notes(run)]
    if backwards:
        are = "sample is" if backwards == 1 else "samples are"
        said.append(f"{backwards} {are} missed more often by the abler networks: look at the labels (`suspects`)")
    return Answer(
        samples if rows == "samples" else networks,
        text,
        lambda: _draw(model, samples, networks, ability, right, run.classes),
        "; ".join(filter(None, said)),
    )


def fit(right: np.ndarray, discriminate: bool = True, tolerance: float = 1e-4, most: int = 200) -> Model:
    """Fit the model to a table of right and wrong answers, bool (networks, samples).

    In turn: Newton steps for all samples with the networks held, and the best abilities with the samples held, brought
    to mean 0 and standard deviation 1. Right answers enter through sums alone (number and abilities of those who got a
    sample right; slopes of what a network got right). `discriminate=False` makes all slopes one. Stops
    when no ability moves by more than `tolerance`.
    """
    answers = _Answers(right)
    count = right.sum(axis=0).astype(float)
    ability = _standardised(right.mean(axis=1))
    slope, logit = np.full(right.shape[1], SLOPE), np.zeros(right.shape[1])
    rounds = 0
    for rounds in range(1, most + 1):
        nodes, weights = _nodes(ability)
        weighed = answers.over_networks(ability)
        for _ in range(2 if rounds > 1 else 12):  # nothing is known at first
            slope, logit = _samples_step(slope, logit, count, weighed, nodes, weights, discriminate)
        before = ability
        ability = _standardised(_networks_step(ability, answers.over_samples(slope), slope, logit))
        if np.abs(ability - before).max() < tolerance:
            break
    return Model(ability, slope, logit, rounds)


class _Answers:
    """Sums over the right answers, from those of the two kinds, right and wrong, that are fewer.

    In double precision: where most answers are right, ever so little in a sum over all of them moves the abilities of
    the best networks by more than a round of the fit does.
    """

    def __init__(self, right: np.ndarray) -> None:
        from scipy.sparse import csr_array

        self.all_but = 2 * np.count_nonzero(right) > right.size
        self.few = csr_array(~right if self.all_but else right, dtype=float)

    def over_networks(self, values: np.ndarray) -> np.ndarray:
        """For each sample the sum of a value over the networks that are right."""
        some = values @ self.few
        return values.sum() - some if self.all_but else some

    def over_samples(self, values: np.ndarray) -> np.ndarray:
        """For each network the sum of a value over the samples that it gets right."""
        some = self.few @ values
        return values.sum() - some if self.all_but else some


def _standardised(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and standard deviation 1."""
    spread = float(values.std())
    return (values - values.mean()) / (spread if spread > 0 else 1)


def _logistic(z: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(z)


def _nodes(ability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few abilities, and for how many networks each stands, that give the sums over all of them.

    They are the nodes and weights of the Gauss quadrature whose measure is the abilities themselves, exact for
    polynomials up to degree 39: eigenvalues, and first components of the eigenvectors, of the tridiagonal matrix to
    which the Lanczos process brings the diagonal matrix of the abilities.
    """
    if len(ability) < EXACT:
        return ability, np.ones(len(ability))
    basis = np.zeros((NODES, len(ability)))
    vector, norm, size = np.ones(len(ability)), float(len(ability)) ** 0.5, 0
    # Fewer nodes are exact where there are fewer different abilities: then nothing is left to go on with.
    while size < NODES and norm > 1e-9:
        basis[size] = vector / norm
        size += 1
        vector = ability * basis[size - 1]
        for _ in range(2):  # once is not enough for orthogonality to the last digit
            vector = vector - basis[:size].T @ (basis[:size] @ vector)
        norm = float(np.linalg.norm(vector))
    nodes, vectors = np.linalg.eigh((basis[:size] * ability) @ basis[:size].T)
    return nodes, len(ability) * vectors[0] ** 2


def _samples_step(
    slope: np.ndarray,
    logit: np.ndarray,
    count: np.ndarray,
    weighed: np.ndarray,
    nodes: np.ndarray,
    weights: np.ndarray,
    discriminate: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """One damped Newton step of a logistic regression for each sample, all samples at once."""
    p = _logistic(slope[:, None] * nodes + logit[:, None])
    w = p * (1 - p)
    expected, second = (
        p @ np.stack([weights, weights * nodes]).T,
        w @ np.stack([weights, weights * nodes, weights * nodes**2]).T,
    )
    g_logit = count - expected[:, 0] - logit / LOGIT_SPREAD**2
    h_logit = second[:, 0] + 1 / LOGIT_SPREAD**2
    g_slope = weighed - expected[:, 1] - (slope - SLOPE) / SLOPE_SPREAD**2
    h_slope = second[:, 2] + 1 / SLOPE_SPREAD**2
    cross = second[:, 1]
    if not discriminate:  # one slope for all: its gradient and curvature are sums, at each sample's best logit
        step = (g_slope - cross * g_logit / h_logit).sum() / (h_slope - cross**2 / h_logit).sum()
        step = float(np.clip(step, -0.5, 0.5))
        return slope + step, logit + np.clip((g_logit - cross * step) / h_logit, -2, 2)
    determinant = h_logit * h_slope - cross**2
    step_logit = (h_slope * g_logit - cross * g_slope) / determinant
    step_slope = (h_logit * g_slope - cross * g_logit) / determinant
    shrink = 1 / np.maximum(1, np.maximum(abs(step_logit), abs(step_slope)) / 2)
    return slope + shrink * step_slope, logit + shrink * step_logit


def _networks_step(ability: np.ndarray, earned: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Find each network's ability: where the expected sum of slopes, and the prior, meet what it earned.

    The expected sum is one curve for all networks, so that a grid of it is enough, however many networks there are.
    """
    from scipy.interpolate import CubicHermiteSpline

    low, high = ability.min() - 1, ability.max() + 1
    grid = np.linspace(low, high, GRID)
    expected, steepness = _curve(grid, slope, logit)
    # Monotone in ability, since its derivative is 1 plus a sum of squares: it can be read the other way round.
    inside = np.clip(earned, expected[0], expected[-1])
    return CubicHermiteSpline(expected, grid, 1 / steepness)(inside)


def _curve(grid: np.ndarray, slope: np.ndarray, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected sum of slopes plus ability (the prior's part), and its derivative, at each ability."""
    expected, steepness = np.empty(len(grid)), np.empty(len(grid))
    for start in range(0, len(grid), 16):
        part = slice(start, start + 16)
        p = _logistic(grid[part, None] * slope + logit)
        expected[part] = p @ slope + grid[part]
        steepness[part] = (p * (1 - p)) @ slope**2 + 1
    return expected, steepness


def quality(right: np.ndarray, seed: int = 0) -> str:
    """Say how well the model predicts answers that it has not seen, beside one whose samples all discriminate alike."""
    full, plain = (held_out(right, discriminate, seed) for discriminate in (True, False))
    return (
        f"On answers that it has not seen the model has an area under the ROC curve of {full[0]:.3f} "
        f"(without discrimination: {plain[0]:.3f}) and a mean log likelihood of {full[1]:.4f} ({plain[1]:.4f})."
    )


def held_out(right: np.ndarray, discriminate: bool = True, seed: int = 0) -> tuple[float, float]:
    """Return the area under the ROC curve, and the mean log likelihood, of answers that were not used in the fit."""
    learn, others = exam.halves(len(right), seed)
    shown, hidden = exam.halves(right.shape[1], seed)
    model = fit(right[learn], discriminate)
    slope, logit = model.slope[shown], model.logit[shown]
    earned = _Answers(right[np.ix_(others, shown)]).over_samples(slope)
    ability = np.quantile(model.ability, np.linspace(0, 1, len(others)))
    for _ in range(3):  # the grid reaches 1 beyond the abilities that it starts from
        ability = _networks_step(ability, earned, slope, logit)
    p = _logistic(ability[:, None] * model.slope[hidden] + model.logit[hidden])
    p = np.clip(p, 1e-6, 1 - 1e-6)
    truth = right[np.ix_(others, hidden)]
    return _auc(p[truth], p[~truth]), float(np.log(np.where(truth, p, 1 - p)).mean())


def _auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the share of pairs in which the positive comes out higher, equal ones counted half."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(positives)
    needles = np.sort(negatives)  # sorted ones are found several times faster
    below = np.searchsorted(ordered, needles, "left").sum() + np.searchsorted(ordered, needles, "right").sum()
    return float(1 - below / (2 * len(positives) * len(negatives)))


def _errors(model: Model) -> np.ndarray:
    """Return the standard error of each ability, from the samples' information."""
    grid = np.linspace(model.ability.min(), model.ability.max(), 60)
    total = [model.information(float(t)).sum() for t in grid]
    return 1 / np.sqrt(np.interp(model.ability, grid, total) + 1)  # the prior counts as 1


def _surprise(model: Model, right: np.ndarray) -> np.ndarray:
    """Return the mean of minus log p over each network's answers."""
    out = np.empty(len(right))
    for start in range(0, len(right), 64):
        part = slice(start, start + 64)
        z = model.ability[part, None] * model.slope + model.logit
        out[part] = np.logaddexp(0, np.where(right[part], -z, z)).mean(axis=1)
    return out


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


def _text(samples: pd.DataFrame, networks: pd.DataFrame, at: float, classes: list[str]) -> str:
    first, top = samples.iloc[0], networks.iloc[0]
    half = _half(samples)
    return (
        f"Among {len(networks)} networks {top['name']} is the ablest, {top['ability']:.1f} standard deviations above "
        f"the mean. {half} of {len(samples)} samples carry half of all that the exam tells about a network at the "
        f"{100 * at:g}th percentile: the one that tells most is number {first['sample']:.0f} "
        f"('{classes[int(first['label'])]}'), which {100 * first['right']:.0f} % get right."
    )


def _draw(
    model: Model,
    samples: pd.DataFrame,
    networks: pd.DataFrame,
    ability: float,
    right: np.ndarray,
    classes: list[str],
) -> Figure:
    """Draw difficulty against discrimination of all samples, and the curves of those that tell most."""
    from matplotlib.figure import Figure

    from netpick.core.words import short
    from netpick.exam import theme

    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    left, beside = fig.subplots(1, 2, width_ratios=(1.15, 1))
    shown = samples.dropna(subset="difficulty").sort_values("information")
    low, high = _view(shown["difficulty"], model.ability)
    outside = int((~shown["difficulty"].between(low, high)).sum())
    dots = left.scatter(
        shown["difficulty"],
        shown["discrimination"],
        c=shown["information"].clip(1e-4),
        s=float(np.clip(9000 / max(len(shown), 1), 12, 30)),
        cmap="cividis_r",
        norm="log",
    )
    fig.colorbar(dots, ax=left, label="information about an able network", location="bottom", aspect=40, pad=0.02)
    left.axvline(ability, color=theme.WRONG, linestyle=":", label=f"an able network ({ability:+.1f})")
    heights, edges = np.histogram(model.ability, bins=40, range=(low, high))
    left.stairs(
        0.1 * heights / max(heights.max(), 1), edges, fill=True, color=theme.INK, alpha=0.35,
        transform=left.get_xaxis_transform(), label="how many networks have this ability",
    )  # fmt: skip
    if len(shown):  # with room below for the networks
        bottom, top = shown["discrimination"].min(), shown["discrimination"].max()
        room = max(top - bottom, 0.1)
        left.set_ylim(bottom - 0.17 * room, top + 0.05 * room)
    left.set(
        xlim=(low, high),
        xlabel="difficulty (standard deviations of ability)",
        ylabel="discrimination (per standard deviation)",
        title=f"All samples{f' but {outside}, which lie outside' if outside else ''}",
    )
    left.legend(loc="upper left", fontsize=8.5)
    grid = np.linspace(model.ability.min() - 0.2, model.ability.max() + 0.2, 120)
    groups = np.array_split(np.argsort(model.ability), min(12, max(2, len(model.ability) // 4)))
    for colour, (_, row) in zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), samples.head(4).iterrows(), strict=False):
        s = int(row["sample"])
        name = theme.plain(short(classes[int(row["label"])], 24))
        curve = 1 / (1 + np.exp(-(model.slope[s] * grid + model.logit[s])))
        beside.plot(grid, curve, color=colour, label=f"no. {s} ({name})")
        beside.plot(
            [model.ability[g].mean() for g in groups], [right[g, s].mean() for g in groups], "o", color=colour, ms=4.5
        )
    beside.axvline(ability, color=theme.WRONG, linestyle=":")
    theme.percent_axis(beside.yaxis)
    beside.set(
        xlabel="ability (standard deviations)",
        ylabel="right answers",
        title="Those that tell most (dots: networks in groups)",
    )
    beside.legend(loc="upper left", fontsize=8.5)
    first = int(samples["sample"].iloc[0])
    return theme.finish(
        fig,
        f"{_half(samples)} of {len(samples)} samples do half the work of telling good from excellent networks, number "
        f"{first} most of all",
    )
