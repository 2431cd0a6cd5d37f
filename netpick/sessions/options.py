"""What a user may say of a training, and the checks that need no more than what was said.

What the words mean for a run, with what it was made for and what it holds already, `settle` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from netpick.core.errors import RunError, suggest
from netpick.sessions.workers.address import Address
from netpick.store.manifest import SCORES
from netpick.training.plan import pinned

PRECISIONS = ("fp32", "tf32", "bf16", "auto")
WEIGHTS = ("last", "none")
COMMITS = ("session", "worker")
RETRYABLE = ("diverged", "failed", "timeout")


@dataclass(frozen=True)
class Options:
    """What the user may say when training; None leaves a value as it is in the run."""

    device: str = "auto"
    workers: int | Literal["auto"] = "auto"
    epochs: int | None = None
    overrides: Sequence[str] = ()
    scores: str | None = None
    weights: str | None = None
    data_dir: str | None = None
    retry: Sequence[str] = ()
    precision: str | None = None
    plan: str | None = None
    compact: bool = True
    estimate: bool = True
    modules: Sequence[str] = ()
    trust: str | None = None
    cluster: Address | None = None
    commit: str = "session"

    @property
    def recipe_overrides(self) -> list[str]:
        """All that changes the recipe, as `key.path=value`."""
        overrides = list(self.overrides)
        if self.epochs is not None:
            overrides.append(f"recipe.epochs={self.epochs}")
        if self.precision is not None:
            overrides.append(f'recipe.precision="{self.precision}"')
        return overrides


def check_options(options: Options) -> None:
    """Refuse words and numbers that no run allows; raises RunError or PlanError."""
    if options.workers != "auto" and options.workers < 1:
        raise RunError(f"--workers: wants auto or a number from 1 on, got {options.workers}")
    for name, value, allowed in (
        ("scores", options.scores, SCORES),
        ("weights", options.weights, WEIGHTS),
        ("commit", options.commit, COMMITS),
    ):
        if value is not None and value not in allowed:
            raise RunError(f"--{name}: wants one of {', '.join(allowed)}, got '{value}'")
    if options.commit != "session" and options.cluster is None:
        raise RunError(f"--commit {options.commit} goes with --scheduler ADDRESS: on one machine the session writes")
    if options.precision is not None and options.precision not in PRECISIONS:
        near = suggest(options.precision, PRECISIONS)
        raise RunError(f"--precision: wants one of {', '.join(PRECISIONS)}, got '{options.precision}'{near}")
    precision = pinned("auto" if options.plan is None else options.plan).get("precision")
    if precision and options.precision not in (None, precision):
        raise RunError(
            f"--precision {options.precision} and --plan {options.plan} contradict each other: give one of them"
        )
    for override in options.overrides:
        if not override.startswith("recipe."):
            raise RunError(f"--set {override}: training can set recipe.* only; the rest is set with netpick generate")
    for status in options.retry:
        if status not in RETRYABLE:
            raise RunError(f"--retry: wants {', '.join(RETRYABLE)}, got '{status}'")
