"""The plan of a training: how one network is executed on one device, as a value that is written down and can be pinned.

A plan may change how fast a network trains, and its numbers by rounding; never what is learned. Which plan a network
gets, is decided in `choice`; what carries it out is in `engines`. The plan is stored in `trainings.plan`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from netpick.core.errors import PlanError, listed, suggest

ALLOWED: dict[str, tuple[str, ...]] = {
    "precision": ("fp32", "tf32", "bf16"),
    "mode": ("graph", "compiled", "explicit", "eager", "reference"),
    "kernel": ("fused", "foreach"),
    "convolutions": ("tuned", "plain"),
}
"""What each field of a plan can be. No word is in two fields, so that a single word says which field it sets."""

WORDS = {word: name for name, words in ALLOWED.items() for word in words}


@dataclass(frozen=True)
class Plan:
    """The decisions; `str(plan)` is what is stored, such as `fp32/explicit/fused/tuned`.

    `precision` of the arithmetic; `mode`: the name of the engine, where CUDA graphs fail `eager(why)`; `kernel` of the
    optimizer: fused or foreach; `convolutions`: tuned, computed in another way where that is faster, or plain.
    """

    precision: str = "fp32"
    mode: str = "eager"
    kernel: str = "fused"
    convolutions: str = "tuned"

    def __str__(self) -> str:
        return "/".join(astuple(self))


def pinned(text: str) -> dict[str, str]:
    """Return what `--plan` fixes, by field: nothing for `auto`, else word by word; a stored plan fixes all.

    Raises
    ------
    PlanError
        A word is unknown, or two of them speak of one field.
    """
    if text == "auto":
        return {}
    if text == "reference":
        return {"mode": "reference", "convolutions": "plain"}
    fixed: dict[str, str] = {}
    for part in text.split("/"):
        word = part.partition("(")[0]  # without why it is eager
        if word not in WORDS:
            known = ("auto", *WORDS)
            raise PlanError(f"--plan: no '{word}'{suggest(word, known)}; allowed: {listed(known, 20)}, joined by /")
        field = WORDS[word]
        if field in fixed:
            raise PlanError(f"--plan {text}: {fixed[field]} and {word} are both a {field}: give one")
        fixed[field] = word
    return fixed
