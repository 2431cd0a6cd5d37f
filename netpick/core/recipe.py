"""The recipe: how networks are trained, and what it may say. No torch is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from netpick.core.errors import TemplateError, listed, suggest
from netpick.core.typed import convert

Positive = Annotated[int, Meta(ge=1, le=2**40)]
Times = Annotated[int, Meta(ge=1, le=2**15 - 1)]  # what a column of 16 bits can count
OptimizerName = Literal["Adam", "AdamW", "SGD", "RMSprop"]

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "Adam": ("betas", "eps", "weight_decay", "amsgrad"),
    "AdamW": ("betas", "eps", "weight_decay", "amsgrad"),
    "SGD": ("momentum", "dampening", "weight_decay", "nesterov"),
    "RMSprop": ("alpha", "eps", "weight_decay", "momentum", "centered"),
}
"""The arguments that each optimizer takes besides the learning rate, as torch.optim names them."""

_FLAGS = ("amsgrad", "nesterov", "centered")


SWEEPABLE = (
    "optimizer", "lr", "batch_size", "epochs", "schedule", "warmup", "loss", "label_smoothing", "gradient_clip",
    "augment", "init", "order", "seeding", "normalize", "precision", "train_samples",
)  # fmt: skip
"""Keys that may be a list. Each argument of an optimizer may be one too; `betas`, a pair by itself, a list of pairs."""

FOR_A_CELL = ("replicates", "timeout")
"""Keys that a cell may set besides those, one value each. They make no other student: the hash leaves them out."""

FOR_BASELINES = ("normalize", "train_samples", *FOR_A_CELL)
"""What of a recipe makes a difference to a baseline, which has no learning rate, nor batches."""


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused."""


class Augment(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """How the training images are changed each time they are seen: what is left out is not done."""

    shift: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Most pixels by which an image is moved up or down, and left or right; its edge is repeated. What a random crop
    with padding has for its padding.
    """
    flip: bool = False
    """Whether each image is mirrored, left for right, half of the time."""
    crop: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Least share of an image that is cut out and enlarged to the image's size: a random resized crop, of 3:4 to 4:3.
    """
    erase: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the images in which a rectangle of 2 to 33 % of them becomes 0 (Zhong et al. 2020, "Random erasing data
    augmentation").
    """

    def __post_init__(self) -> None:
        """Take defaults for what equals them, so that one way to change images has one written form."""
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if getattr(self, name) == default:
                # `omit_defaults` leaves out the very object that is the default, not one of another process.
                msgspec.structs.force_setattr(self, name, default)


class Recipe(Strict, frozen=True, kw_only=True):
    """How each network is trained."""

    optimizer: OptimizerName = "Adam"
    """Name of the optimizer."""
    optimizer_args: dict[str, bool | float | list[float]] = {}
    """Its arguments, as torch.optim names them."""
    lr: Annotated[float, Meta(gt=0)] = 0.001
    """Learning rate."""
    batch_size: Positive = 32
    """Samples in a step."""
    epochs: Times = 4
    """Passes over the training samples."""
    schedule: Literal["constant", "cosine", "linear", "step", "onecycle"] = "constant"
    """What becomes of the learning rate, step by step. `cosine` and `linear`: it falls to 0. `step`: a tenth from half
    of the steps on, a hundredth from three quarters on. `onecycle`: as fastai's `fit_one_cycle`, which also moves the
    optimizer's momentum, where it has one.
    """
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of all steps in which the learning rate rises evenly from 0, before the schedule begins."""
    loss: Literal["nll", "mse", "l1", "distance"] = "nll"
    """What is made small. `nll`: the negative log likelihood. Of the probabilities p: `distance`, the mean of 1 - p of
    the true class; `mse` and `l1`, the mean squared and absolute difference from 1 for the true class and 0 for others.
    """
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of the wanted probability that is spread over all classes, as in torch's CrossEntropyLoss; for `nll`."""
    gradient_clip: Annotated[float, Meta(ge=0)] = 0.0
    """Largest norm of the gradient of all parameters together, as in torch's `clip_grad_norm_`; 0 for no limit."""
    augment: Augment = msgspec.field(default_factory=Augment)
    """How the training images are changed, each time anew: a table of `shift`, `flip`, `crop` and `erase`."""
    init: Literal["default", "randn", "xavier", "he"] = "default"
    """Initial weights. `default`: each layer's own, as torch has them. `randn`: normal, biases too. `xavier`: uniform
    (Glorot and Bengio 2010); `he`: normal (He et al. 2015); biases are 0 in both. Norms keep their own.
    """
    order: Literal["shuffled", "fixed", "by_class"] = "shuffled"
    """Order of the training samples. `shuffled`: drawn anew in each epoch. `fixed`: that of the data set. `by_class`:
    class after class, in each by the names of files as text; what is no file is named by its number, so that 10
    comes before 2.
    """
    seeding: Literal["network", "torch"] = "network"
    """Where random numbers begin. `network`: at a seed for each network and replicate, and the order of the samples at
    one of its own. `torch`: as in a script that says `torch.manual_seed(s)`, makes the network, and then passes over
    DataLoaders; s is the run's seed, for further replicates the numbers after it.
    """
    normalize: Literal["standard", "unit"] = "standard"
    """`standard`: pixels less the mean of the training images, by their standard deviation, a channel at a time.
    `unit`: 0 to 1.
    """
    precision: Literal["fp32", "tf32", "bf16", "auto"] = "fp32"
    """Arithmetic; `tf32` is for NVIDIA GPUs alone, and `auto` takes the fastest that the device has."""
    train_samples: Positive | None = None
    """Train on this many samples, the same share of each class."""
    validation: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Share of the training samples that becomes the split `validation`, evaluated beside `test`."""
    folds: Annotated[int, Meta(ge=0, le=2**7 - 1)] = 0
    """Parts that the training samples are cut into, 2 or more. Each training leaves one of them out, and answers it as
    the split `left_out`: so that all training samples are answered by networks that never saw them. 0 for none.
    """
    replicates: Times = 1
    """Trainings of each network, from different seeds."""
    timeout: Annotated[float, Meta(gt=0)] | None = None
    """Seconds after which a training is ended, with the status `timeout`."""


def check_recipe(recipe: Recipe, source: str, where: str = "recipe") -> None:
    """Refuse arguments that the optimizer does not have, and values that it would refuse in every training."""
    for key in ("lr", "gradient_clip"):
        if not math.isfinite(value := getattr(recipe, key)):
            raise TemplateError(f"{source}: {where}.{key}: expected a finite number, got {value}")
    allowed = OPTIMIZERS[recipe.optimizer]
    for name, value in recipe.optimizer_args.items():
        place = f"{source}: {where}.optimizer_args.{name}"
        if name not in allowed:
            raise TemplateError(
                f"{place}: {recipe.optimizer} has no such argument{suggest(name, allowed)}; "
                f"allowed are {listed(allowed)}; to start from none say --set recipe.optimizer_args={{}}"
            )
        if name in _FLAGS:
            wanted, good = "true or false", isinstance(value, bool)
        elif name == "betas":
            wanted = "two numbers from 0 to below 1"
            good = isinstance(value, list) and len(value) == 2 and all(0 <= v < 1 for v in value)
        else:
            wanted = "a number from 0 on"
            good = isinstance(value, float) and 0 <= value < math.inf
        if not good:
            raise TemplateError(f"{place}: expected {wanted}, got {value!r:.80}")
    if recipe.schedule == "onecycle" and recipe.warmup:
        raise TemplateError(
            f"{source}: {where}.warmup: onecycle has a warm-up of its own, the first quarter of all steps, got "
            f"{recipe.warmup:g}: leave it out"
        )
    if recipe.label_smoothing and recipe.loss != "nll":
        raise TemplateError(
            f"{source}: {where}.label_smoothing: goes with the loss nll, got {recipe.label_smoothing:g} with "
            f"{recipe.loss}: leave one of them out"
        )
    if recipe.folds == 1:
        raise TemplateError(f"{source}: {where}.folds: wants 2 or more, since a training learns the others; 0 for none")
    args = recipe.optimizer_args
    if args.get("nesterov") and (not args.get("momentum") or args.get("dampening")):
        raise TemplateError(
            f"{source}: {where}.optimizer_args.nesterov: goes with a momentum above 0 and no dampening, got {args}"
        )


def check_together(recipes: Iterable[Recipe], source: str) -> None:
    """Refuse folds where the networks of a run learn from different samples, or from these in another order of classes.

    The samples that are left out are one split of the whole run, numbered in the order of the training samples.
    """
    recipes = [recipe for recipe in recipes if recipe.folds]
    for key, says in (("train_samples", lambda r: r.train_samples), ("order", lambda r: r.order == "by_class")):
        if len(different := {says(recipe): getattr(recipe, key) for recipe in recipes}) > 1:
            raise TemplateError(
                f"{source}: recipe.folds: all networks answer the same samples, got {key} = "
                f"{listed(map(str, different.values()))}: leave the folds out, or give one {key}"
            )


def current(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a recipe as a run of before has them under their present names: `shuffle` became `order`."""
    if "shuffle" not in values:
        return dict(values)
    words = {"True": "shuffled", "False": "fixed"}
    rest = {key: value for key, value in values.items() if key != "shuffle"}
    return {**rest, "order": words.get(str(values["shuffle"]), values["shuffle"])}


def difference(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """Return the values in which a recipe differs from another, as plain values."""
    mine, theirs = msgspec.to_builtins(recipe), msgspec.to_builtins(base)
    return {key: value for key, value in mine.items() if value != theirs[key]}


def applied(base: Recipe, changes: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Return a recipe with some of its values, plain ones, changed: that of one student; raises TemplateError."""
    if not changes:
        return base
    changed: Recipe = convert({**msgspec.to_builtins(base), **current(changes)}, Recipe, source, "recipe")
    return changed
