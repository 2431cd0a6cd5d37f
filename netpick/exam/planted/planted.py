"""The planted exam: a synthetic run of any size, in the real schema, of which the truth is known.

For tests (each question must find what was planted), benchmarks and talks. The networks are real ones, from the
template `netpicking`; nothing is trained, their answers are drawn from a model:

- network i answers sample j rightly at epoch e with probability logistic(a_j (θ_ie - b_j)): the two-parameter logistic
  model of item response theory, with one draw a network and sample for all epochs, so that answers change only as
  ability does;
- who is wrong nearly always gives the same wrong answer to a sample, its *distractor*, so that ordinary samples are
  neither weird nor confusing;
- samples of special kinds (see `Truth`) follow rules of their own;
- whether an answer is right decides how sure it is, by Bayes' rule, so that confidence is calibrated exactly; each
  network then sharpens or flattens its scores, all but one of them.

Everything goes through `Store`, as in training. No torch is needed, and no question is answered here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import NetpickError
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.paper.spec import NetworkSpec, shapes, sizes
from netpick.store.folder import Store

COMPUTATION_SKILL = {
    "Linear": -0.9, "Conv1d": -0.5, "Conv3d": 0.0, "Conv2d": 0.4, "Conv1dThenLinear": -0.1, "Conv3dThenLinear": 0.2,
    "Conv2dThenLinear": 0.7, "ResNetStyle": 1.2,
}  # fmt: skip
ACTIVATION_SKILL = {"None": -0.4, "Sigmoid": -0.2, "Tanh": 0.0, "SELU": 0.1, "ReLU": 0.3}
"""What a family adds to the ability of its networks."""

DISTRACTED = 0.94
"""Share of an ordinary sample's wrong answers that are its distractor."""


@dataclass(frozen=True)
class Truth:
    """What was planted: names of networks, numbers of test samples, and arrays.

    `names` are the networks in catalogue order; those that were given a `failed`, `diverged` or pending training have
    no answers. Arrays a network are in that order, arrays a sample in that of the samples.
    """

    folder: Path
    names: list[str]
    ability: np.ndarray
    """(networks,) θ at the last epoch; NaN for `calibrated` and `weak`, which do not follow the model."""
    difficulty: np.ndarray
    """(samples,) b; NaN for samples that do not follow the model."""
    discrimination: np.ndarray
    """(samples,) a; NaN likewise."""
    temperature: np.ndarray
    """(networks,) by which the calibrated scores were multiplied: 1 is calibrated, above 1 overconfident."""
    unlucky: np.ndarray
    """(samples,) the number of a network that has a sample wrong against the model, so that it isn't easy; else -1."""
    easy: np.ndarray
    """Samples that every network has right at the last epoch."""
    weird: np.ndarray
    """Samples that more than 90 % have wrong with the same answer, not sure of it."""
    confusing: np.ndarray
    """Samples whose votes are spread over five classes or more (none with fewer than six classes)."""
    mislabelled: np.ndarray
    """Samples whose label was changed: the networks agree on the true class and are sure of it. Weird as well."""
    true_label: np.ndarray
    """(samples,) the class before labels were changed."""
    forgotten: np.ndarray
    """Samples that are right at epoch 1 and wrong at epoch 2 for all networks (with two epochs or more)."""
    late: np.ndarray
    """Samples that are wrong for all networks until the last epoch (with two epochs or more)."""
    specialist: np.ndarray
    """Samples that only networks of `specialists` get right."""
    specialists: str
    """The computation that does."""
    bloomers: list[str]
    """Networks that are low in the first epoch and high in the last."""
    worse: list[str]
    """Networks whose last epoch is clearly worse than their best one."""
    weak: list[str]
    """Networks that are no good in any epoch."""
    calibrated: str
    overconfident: str
    failed: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)


def plant(
    folder: str | Path,
    networks: int = 60,
    samples: int = 500,
    classes: int = 10,
    epochs: int = 4,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 8, 8),
    easy: float = 0.3,
    weird: float = 0.01,
    confusing: float = 0.01,
    mislabelled: float = 0.006,
    forgotten: float = 0.006,
    late: float = 0.006,
    specialist: float = 0.01,
    weak: float = 0.05,
    bloomers: float = 0.04,
    worse: float = 0.04,
    replicates: int = 1,
    validation: int = 0,
    scores: str = "all",
    failed: int = 0,
    diverged: int = 0,
    pending: int = 0,
    basic: bool = True,
    compact: bool = False,
) -> Truth:
    """Write a planted exam into a new folder.

    Parameters
    ----------
    folder : of the run; must not exist or be empty
    networks, samples, classes, epochs : size of the exam; at most 1001 networks, at least 12
    seed : same numbers, same seed: the same run, to the bit
    shape : of the images [C, H, W], from which the networks' sizes follow
    easy, weird, confusing, mislabelled, forgotten, late, specialist : shares of the samples, at least one each where
        not 0; the rest follow the model
    weak, bloomers, worse : shares of the networks, likewise
    replicates : trainings a network
    validation : samples of a split `validation`, which all follow the model
    scores : of which epochs scores are kept: all, last, none
    failed, diverged, pending : how many networks failed, diverged after one epoch, are still to be trained
    basic : whether there is a network `Basic`
    compact : whether the many files are merged, which large runs are read faster by

    Returns
    -------
    Truth
    """
    if not 12 <= networks <= 1001:
        raise NetpickError(f"networks is {networks}: a planted exam has from 12 to 1001")
    if classes < 2 or epochs < 1 or samples < 50:
        raise NetpickError(
            f"a planted exam wants 2 classes, 1 epoch and 50 samples at least, got {classes}, {epochs}, {samples}"
        )
    rng = np.random.default_rng(seed)
    specs = [s for s in _catalogue(tuple(shape), classes, seed, networks + (not basic)) if basic or s.name != "Basic"]
    names = [s.name for s in specs]
    networks = len(names)  # one less than asked for, of 1001 without Basic
    shares = {
        "easy": easy, "weird": weird, "confusing": confusing if classes >= 6 else 0.0, "mislabelled": mislabelled,
        "forgotten": forgotten if epochs > 1 else 0.0, "late": late if epochs > 1 else 0.0, "specialist": specialist,
    }  # fmt: skip
    paper = _Paper.draw(rng, samples, classes, shares)
    roles = _roles(rng, specs, weak, bloomers if epochs > 1 else 0.0, worse if epochs > 1 else 0.0)
    ended = _ended(rng, [n for n in names if not any(n in r for r in roles.values()) and n != "Basic"],
                   failed, diverged, pending)  # fmt: skip
    ability = _abilities(rng, specs, roles, epochs)
    temperature = np.exp(rng.uniform(math.log(0.75), math.log(1.4), networks))
    temperature[names.index(roles["calibrated"][0])] = 1.0
    temperature[names.index(roles["overconfident"][0])] = 4.0
    specialists = _specialists(specs, roles["weak"])
    steady = [n for n in names if n != "Basic" and not any(n in r for r in (*roles.values(), *ended.values()))]
    unlucky = _unlucky(rng, paper, ability[:, -1], [names.index(n) for n in steady])
    extra = _Paper.draw(rng, validation, classes, {}) if validation else None

    store = _create(folder, specs, shape, classes, epochs, replicates, seed, scores)
    store.write_samples(_sample_rows(rng, {"test": paper, **({"validation": extra} if extra else {})}, shape, classes))
    labels = {"test": paper.label, **({"validation": extra.label} if extra else {})}
    macs = [sizes(spec.layers, tuple(shape)).macs for spec in specs]
    started = datetime(2024, 1, 1, tzinfo=UTC)
    for i, spec in enumerate(specs):
        if spec.name in ended["pending"]:
            continue
        status = next((s for s in ("failed", "diverged") if spec.name in ended[s]), "done")
        for replicate in range(replicates):
            own = np.random.default_rng([seed, i, replicate])
            theta = ability[i] + (0.05 * own.normal() if replicates > 1 else 0.0)
            student = _Student(
                spec, macs[i], theta, float(temperature[i]), spec.name in roles["calibrated"], specialists
            )
            result = _result(own, student, replicate, status, paper, extra, classes, np.flatnonzero(unlucky == i))
            started += timedelta(seconds=1)
            store.commit(replace(result, started=started), labels, scores)
    if compact:
        store.compact()

    follows = np.array([n not in roles["weak"] and n not in roles["calibrated"] for n in names])
    kinds: dict[str, Any] = {k: np.flatnonzero(paper.kind == k) for k in KINDS}
    return Truth(
        folder=Path(folder),
        names=names,
        ability=np.where(follows, ability[:, -1], np.nan),
        difficulty=paper.difficulty,
        discrimination=paper.discrimination,
        temperature=temperature,
        unlucky=unlucky,
        true_label=paper.true_label,
        specialists=specialists,
        bloomers=roles["bloomers"],
        worse=roles["worse"],
        weak=roles["weak"],
        calibrated=roles["calibrated"][0],
        overconfident=roles["overconfident"][0],
        failed=ended["failed"],
        diverged=ended["diverged"],
        pending=ended["pending"],
        **kinds,
    )


@lru_cache(maxsize=8)  # tests plant many small exams alike
def _catalogue(shape: tuple[int, ...], classes: int, seed: int, limit: int) -> tuple[NetworkSpec, ...]:
    return tuple(generate(template.load("netpicking"), shape, classes, seed, limit))


KINDS = ("easy", "weird", "confusing", "mislabelled", "forgotten", "late", "specialist")


@dataclass(frozen=True)
class _Paper:
    """The samples of one split: kind ("" follows the model), labels, parameters, and the answers that mislead."""

    kind: np.ndarray
    label: np.ndarray
    true_label: np.ndarray
    distractor: np.ndarray
    difficulty: np.ndarray
    discrimination: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int, classes: int, shares: dict[str, float]) -> _Paper:
        kind = np.full(n, "", dtype="U11")
        free = rng.permutation(n)
        for name, share in shares.items():
            count = max(1, round(share * n)) if share else 0
            kind[free[:count]], free = name, free[count:]
        true_label = rng.permutation(np.arange(n) % classes)
        distractor = (true_label + rng.integers(1, classes, n)) % classes
        wrong = kind == "mislabelled"
        label = np.where(wrong, distractor, true_label)
        distractor = np.where(wrong, true_label, distractor)
        follows = kind == ""
        # The hardest is still right for a fifth of average good networks (θ about 4): hard, and not weird.
        difficulty = np.where(follows, -1.5 + 5.7 * rng.beta(1.5, 3.0, n), np.nan)
        discrimination = np.where(follows, np.exp(rng.uniform(math.log(0.8), math.log(2.2), n)), np.nan)
        return cls(kind, label, true_label, distractor, difficulty, discrimination)


@dataclass(frozen=True)
class _Student:
    spec: NetworkSpec
    macs: int
    theta: np.ndarray
    temperature: float
    calibrated: bool
    specialists: str


def _roles(
    rng: np.random.Generator, specs: Sequence[NetworkSpec], weak: float, bloomers: float, worse: float
) -> dict[str, list[str]]:
    """Give some networks, each at most one, a role of its own; never `Basic`."""
    free = [s.name for s in specs if s.name != "Basic"]
    rng.shuffle(free)
    out: dict[str, list[str]] = {}
    for role, share in (("weak", weak), ("bloomers", bloomers), ("worse", worse)):
        count = max(1, round(share * len(specs))) if share else 0
        chosen, free = set(free[:count]), free[count:]
        out[role] = [s.name for s in specs if s.name in chosen]
    out["calibrated"], out["overconfident"] = [free[0]], [free[1]]
    return out


def _ended(rng: np.random.Generator, free: list[str], failed: int, diverged: int, pending: int) -> dict[str, list[str]]:
    free = list(rng.permutation(free))
    if failed + diverged + pending > len(free):
        raise NetpickError(f"failed, diverged and pending together are more than the {len(free)} networks free for it")
    cut = np.cumsum([failed, diverged, pending])
    parts = free[: cut[0]], free[cut[0] : cut[1]], free[cut[1] : cut[2]]
    return dict(zip(("failed", "diverged", "pending"), (sorted(map(str, p)) for p in parts), strict=True))


def _abilities(
    rng: np.random.Generator, specs: Sequence[NetworkSpec], roles: dict[str, list[str]], epochs: int
) -> np.ndarray:
    """Draw θ of each network at each epoch, (networks, epochs)."""
    out = np.empty((len(specs), epochs))
    last = np.arange(epochs) - (epochs - 1)  # -3, -2, -1, 0
    for i, spec in enumerate(specs):
        skill = COMPUTATION_SKILL.get(spec.computation, 0.0) + ACTIVATION_SKILL.get(spec.activation, 0.0)
        level = max(3.0, 4.2 + skill + 0.5 * rng.normal())
        gain = 0.12 + 0.05 * rng.random()
        if spec.name == "Basic":
            level = 3.1
        out[i] = level + gain * last
        if spec.name in roles["weak"]:
            out[i] = 0.2 + 0.3 * rng.random() + gain * last
        if spec.name in roles["calibrated"] or spec.name in roles["overconfident"]:
            out[i] = 4.4 + gain * last
        if spec.name in roles["bloomers"]:
            out[i] = 4.8 + 0.3 * rng.random()
            out[i, 0] = 0.2
        if spec.name in roles["worse"]:
            out[i] = 4.8 + 0.3 * rng.random() + gain * last
            out[i, -1] = 2.6
    return out


def _specialists(specs: Sequence[NetworkSpec], weak: list[str]) -> str:
    """Choose the computation with most networks: its samples must not be weird, so more than a tenth read them."""
    counts: dict[str, int] = {}
    for spec in specs:
        if spec.name not in weak and spec.computation in ("Conv2d", "Conv1d", "Conv3d", "Linear"):
            counts[spec.computation] = counts.get(spec.computation, 0) + 1
    return max(counts, key=lambda c: (counts[c], c))


def _unlucky(rng: np.random.Generator, paper: _Paper, theta: np.ndarray, steady: list[int]) -> np.ndarray:
    """Choose for each sample that might come out easy by chance one steady network that has it wrong; else -1."""
    p = 1 / (1 + np.exp(-paper.discrimination[:, None] * (theta[steady] - paper.difficulty[:, None])))
    needing = np.flatnonzero((paper.kind == "") & (np.log(p).sum(axis=1) > math.log(1e-5)))
    out = np.full(len(paper.kind), -1)
    borne, most = np.zeros(len(steady)), 1.5 * len(needing) / len(steady) + 1
    for j in needing:
        # The less able more often, as the model has it; nobody so often that they are no longer good.
        weight = np.sqrt(1 - p[j]) * (borne < most)
        i = rng.choice(len(steady), p=weight / weight.sum())
        out[j] = steady[i]
        borne[i] += 1
    return out


def _result(
    rng: np.random.Generator, student: _Student, replicate: int, status: str, paper: _Paper, extra: _Paper | None,
    classes: int, unlucky: np.ndarray,
) -> TrainingResult:  # fmt: skip
    """Let one student sit the exam."""
    spec = student.spec
    macs = student.macs
    per_epoch = 0.05 + 4e-7 * macs * len(paper.label) ** 0.5 * math.exp(0.25 * rng.normal())
    n_epochs = len(student.theta)
    sat = {"done": n_epochs, "diverged": min(1, n_epochs - 1), "failed": 0}[status]
    papers = [("test", paper, _Draws.make(rng, paper, classes))]
    papers[0][2].luck[unlucky] = -np.inf
    if extra is not None:
        papers.append(("validation", extra, _Draws.make(rng, extra, classes)))
    epochs = []
    for e in range(1, sat + 1):
        splits = tuple(
            evaluate(name, draws.scores(one, student, e, n_epochs, classes), one.label, 0.002 + 1e-8 * macs)
            for name, one, draws in papers
        )
        seconds = per_epoch * math.exp(0.05 * rng.normal())
        epochs.append(EpochResult(e, splits[0].loss * 1.1, seconds, None, splits))
    return TrainingResult(
        spec.name, spec.hash, replicate, status, int(rng.integers(2**31)), "cpu", "planted", datetime.now(UTC),
        sum(e.train_seconds for e in epochs) + 0.1,
        error=None if status == "done" else f"planted: {status}", epochs=tuple(epochs),
    )  # fmt: skip


@dataclass(frozen=True)
class _Draws:
    """What is drawn once for a training and a split, so that answers change between epochs only as ability does."""

    luck: np.ndarray
    """(samples,) logistic: right where a (θ - b) + luck > 0."""
    other: np.ndarray
    """(samples,) the answer given where it is wrong."""
    sure: np.ndarray
    """(samples,) uniform: how sure, among answers as right as this one."""
    rest: np.ndarray
    """(samples, classes) gamma: shares of the probability that the answer leaves."""

    @classmethod
    def make(cls, rng: np.random.Generator, paper: _Paper, classes: int) -> _Draws:
        n = len(paper.label)
        any_wrong = (paper.label + rng.integers(1, classes, n)) % classes
        steady = np.isin(paper.kind, ("weird", "mislabelled", "late", "forgotten", "specialist"))
        other = np.where(steady | (rng.random(n) < DISTRACTED), paper.distractor, any_wrong)
        if classes >= 6:  # confusing: the label and five others, all alike
            spread = (paper.label + rng.integers(0, 6, n)) % classes
            other = np.where(paper.kind == "confusing", spread, other)
        uniform = np.clip(rng.random(n), 1e-12, 1 - 1e-12)
        return cls(np.log(uniform / (1 - uniform)), other, rng.random(n), rng.standard_gamma(0.3, (n, classes)) + 1e-6)

    def answers(self, paper: _Paper, student: _Student, epoch: int, epochs: int) -> np.ndarray:
        """Return the predicted classes at an epoch from 1."""
        theta = float(student.theta[epoch - 1])
        kind = paper.kind
        logit = np.nan_to_num(paper.discrimination * (theta - paper.difficulty), nan=0.0)
        right = logit + self.luck > 0
        settled = theta > 2.0  # whoever is weak, or has not bloomed yet, has trouble with easy samples too
        if epoch == epochs or settled:
            right = np.where(kind == "easy", True, right)
        rare = self.luck > 4.6  # one in a hundred
        right = np.where(np.isin(kind, ("weird", "mislabelled")), rare, right)
        right = np.where(kind == "confusing", self.other == paper.label, right)
        right = np.where(kind == "late", (epoch == epochs) & (self.luck > -3), right)
        first = (epoch == 1) | ((epoch > 2) & (self.luck > -2))
        right = np.where(kind == "forgotten", first, right)
        right = np.where(kind == "specialist", student.spec.computation == student.specialists, right)
        return np.where(right, paper.label, self.other)

    def scores(self, paper: _Paper, student: _Student, epoch: int, epochs: int, classes: int) -> np.ndarray:
        """Return float32 (samples, classes): log-probabilities whose highest is the answer."""
        answer = self.answers(paper, student, epoch, epochs)
        right = answer == paper.label
        q = _confidence(right, self.sure, exact=student.calibrated)
        if not student.calibrated:
            q = np.where(paper.kind == "mislabelled", 0.93 + 0.06 * self.sure, q)
            q = np.where(np.isin(paper.kind, ("weird", "confusing")), 0.51 + 0.1 * self.sure, q)
        rows = np.arange(len(answer))
        rest = self.rest.copy()
        # Of what the answer leaves, most is the label's where the answer is wrong, else the distractor's.
        second = np.where(right, paper.distractor, paper.label)
        rest[rows, second] += rest.sum(axis=1)
        rest[rows, answer] = 0.0
        p = rest * ((1 - q) / rest.sum(axis=1))[:, None]
        p[rows, answer] = q
        logs = student.temperature * np.log(np.maximum(p, 1e-12))
        logs -= logs.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        return logs.astype(np.float32)


_GRID = np.linspace(0.505, 0.9995, 400)


def _confidence(right: np.ndarray, sure: np.ndarray, exact: bool) -> np.ndarray:
    """Draw how sure each answer is, so that of the answers given with probability q a share q is right.

    A density f(q) over confidence whose mean is the accuracy makes P(q | right) proportional to q f(q), and
    P(q | wrong) to (1 - q) f(q): drawing from these by whether the answer is right is calibrated exactly. An accuracy
    below the lowest confidence can't be calibrated: there the lowest is given.
    """
    accuracy = float(np.clip(right.mean(), 0.52, 0.995)) if len(right) else 0.9
    u = (_GRID - 0.5) / 0.5
    # f(q) = u^k on the grid, k by bisection such that the mean of q is the accuracy
    low, high = -0.999, 400.0
    for _ in range(60):
        k = (low + high) / 2
        f = u**k
        low, high = (k, high) if (f * _GRID).sum() / f.sum() < accuracy else (low, k)
    out = np.empty(len(right))
    for value, weight in ((True, f * _GRID), (False, f * (1 - _GRID))):
        cumulated = np.cumsum(weight) / weight.sum()
        mine = right == value
        out[mine] = np.interp(sure[mine], cumulated, _GRID)
    return out


def _create(
    folder: str | Path, specs: Sequence[NetworkSpec], shape: Sequence[int], classes: int, epochs: int, replicates: int,
    seed: int, scores: str,
) -> Store:  # fmt: skip
    """Make the run's folder. Memory and ops are worked out on paper, near what measuring would give."""
    rows = []
    image = tuple(shape)
    for spec in specs:
        size = sizes(spec.layers, image)
        elements = [math.prod(s) for s in (image, *shapes(spec.layers, image))]
        with_params = sum(one.op in ("Linear", "Conv1d", "Conv2d", "Conv3d") for one in spec.layers)
        blocks = sum(one.op == "BasicBlock" for one in spec.layers)
        rows.append({
            "name": spec.name, "hash": spec.hash, "computation": spec.computation, "activation": spec.activation,
            "layers": spec.layers_json(), "params": size.params, "memory": sum(elements),
            "ops": 2 * with_params + 16 * blocks + sum(one.op == "Reshape" for one in spec.layers),
            "depth": with_params + 3 * blocks, "macs": size.macs, "thop_macs": float(size.macs),
        })  # fmt: skip
    manifest: dict[str, Any] = {
        "title": "A planted exam", "source": "planted", "dataset": "planted", "shape": list(shape),
        "classes": [str(c) for c in range(classes)], "seed": seed, "networks": len(specs),
        "recipe": {"epochs": epochs, "replicates": replicates}, "keep": {"scores": scores},
    }  # fmt: skip
    return Store.create(folder, manifest, rows)


def _sample_rows(
    rng: np.random.Generator, papers: dict[str, _Paper], shape: Sequence[int], classes: int
) -> list[dict[str, Any]]:
    """Draw an image for each sample: the pattern of its true class, with noise."""
    from PIL import Image

    channels, height, width = shape
    patterns = rng.integers(0, 2, (classes, height, width)) * 170
    out = []
    for split, paper in papers.items():
        for j in range(len(paper.label)):
            pixels = np.clip(patterns[paper.true_label[j]] + rng.integers(0, 80, (height, width)), 0, 255)
            pixels = pixels.astype(np.uint8)
            image = Image.fromarray(np.stack([pixels] * 3, axis=-1) if channels == 3 else pixels)
            file = BytesIO()
            image.save(file, "png")
            out.append({
                "split": split, "sample": j, "index": j, "label": int(paper.label[j]),
                "class_name": str(int(paper.label[j])), "image": file.getvalue(),
            })  # fmt: skip
    return out
