"""Operations that are a whole network: baselines that no gradient trains, and torchvision's models.

`WHOLE` is a table like `OPERATIONS`, with names that carry where they come from: `baseline:nearest_mean`,
`sklearn:RandomForestClassifier`, `torchvision:resnet18`. Shapes are known on paper. Sizes are not, but for baselines,
whose formulas are here; those of the others are counted by `measure` on the module. Names and arguments come from
allow-lists. No torch and no scikit-learn here; see `baselines` and `build`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netpick.core.errors import SpecError
from netpick.networks.paper.arguments import BOOL, INT, POSITIVE, SOURCE, WORD, Kind, one_of, optional
from netpick.networks.paper.operation import Args, Operation, Shape

_COUNTS = {"num_classes": INT}
_IMAGE = {"in_channels": INT, "num_classes": INT}


def _classes(given: Shape, args: Args) -> Shape:
    return (args["num_classes"],)


def _for_images(name: str, arguments: Mapping[str, Kind], defaults: Mapping[str, Any]) -> Operation:
    def shape(given: Shape, args: Args) -> Shape:
        if len(given) != 3 or given[0] != args["in_channels"]:
            wanted = f"[{args['in_channels']}, height, width]"
            raise SpecError(f"{name} wants an input of shape {wanted}, got {list(given)}")
        return (args["num_classes"],)

    return Operation("network", {**_IMAGE, **arguments}, defaults, shape)


BASELINES: dict[str, Operation] = {
    "baseline:nearest_mean": Operation(
        "baseline", {"metric": one_of("L1", "L2"), **_COUNTS}, {"metric": "L2"}, _classes
    ),
    "sklearn:LogisticRegression": Operation(
        "baseline",
        {"C": POSITIVE, "max_iter": INT, "tol": POSITIVE, "fit_intercept": BOOL, **_COUNTS},
        {"C": 1.0, "max_iter": 100, "tol": 1e-4, "fit_intercept": True},
        _classes,
    ),
    "sklearn:KNeighborsClassifier": Operation(
        "baseline",
        {"n_neighbors": INT, "weights": one_of("uniform", "distance"), "p": POSITIVE, **_COUNTS},
        {"n_neighbors": 5, "weights": "uniform", "p": 2.0},
        _classes,
    ),
    "sklearn:RandomForestClassifier": Operation(
        "baseline",
        {
            "n_estimators": INT,
            "max_depth": optional(INT),
            "min_samples_leaf": INT,
            "max_features": one_of("sqrt", "log2"),
            "criterion": one_of("gini", "entropy", "log_loss"),
            **_COUNTS,
        },
        {"n_estimators": 100, "max_depth": None, "min_samples_leaf": 1, "max_features": "sqrt", "criterion": "gini"},
        _classes,
    ),
}
"""Students that no gradient trains; the arguments are scikit-learn's own, as far as they are plain values."""

_TORCHVISION = {
    "ReLU": """alexnet densenet121 densenet161 densenet169 densenet201 googlenet inception_v3 mnasnet0_5 mnasnet0_75
        mnasnet1_0 mnasnet1_3 regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf
        regnet_x_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
        shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 vgg11
        vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn wide_resnet101_2 wide_resnet50_2""",
    "GELU": """convnext_base convnext_large convnext_small convnext_tiny swin_b swin_s swin_t swin_v2_b swin_v2_s
        swin_v2_t vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32""",
    "ReLU6": "mobilenet_v2",
    "Mixed": """efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
        efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s maxvit_t
        mobilenet_v3_large mobilenet_v3_small regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf
        regnet_y_400mf regnet_y_800mf regnet_y_8gf""",
}

TORCHVISION: dict[str, str] = {name: act for act, names in _TORCHVISION.items() for name in names.split()}
"""The image classifiers of torchvision 0.28, and the activation of each."""

_ONE_OUTPUT = {"aux_logits": False, "init_weights": True}
UNLIKE: dict[str, dict[str, bool]] = {"googlenet": _ONE_OUTPUT, "inception_v3": _ONE_OUTPUT}
"""Models that torchvision gives more than one output in training, and how they are made to give one."""

MODELS: dict[str, Operation] = {
    f"torchvision:{name}": _for_images(f"torchvision:{name}", {}, {}) for name in sorted(TORCHVISION)
}

OWN = "Module"
"""A network of the user's own code; made by `modules` alone, and refused in files and templates."""

ASIDE = {OWN: ("path",)}
"""Arguments that say where something lies, and not what it is: they are in no hash."""

WHOLE: dict[str, Operation] = {
    **BASELINES,
    **MODELS,
    OWN: Operation(
        "network",
        {
            "of": SOURCE,
            "gives": one_of("logits", "log_probabilities", "probabilities"),
            "source": WORD,
            "path": WORD,
            **_COUNTS,
        },
        {},
        _classes,
    ),
}


def is_whole(layers: Sequence[Any]) -> bool:
    """Whether one of the layers is a whole network, whose size can't be told on paper."""
    return any(layer.op in WHOLE for layer in layers)


WITHOUT_ARRAYS = frozenset({"sklearn:KNeighborsClassifier", "sklearn:RandomForestClassifier"})
"""Baselines that have learned no arrays that could be kept as weights."""


def is_baseline(layers: Sequence[Any]) -> bool:
    """Whether these layers are a baseline, which has no gradient, no epochs and no module."""
    return any(layer.op in BASELINES for layer in layers)


def baseline_counts(op: str, args: Args, image: Shape, samples: int) -> dict[str, int]:
    """Return what a baseline costs, with the names of the columns in networks.parquet.

    `params` are the numbers that are fitted; `macs` those of one prediction, where a difference that is squared or
    taken absolutely, and a comparison in a tree, count as one; `memory` is the input, the distances (or votes) and the
    scores. A gradient has no nodes here, so that `ops` is 0.

    Parameters
    ----------
    op, args : the baseline, with all its arguments
    image : shape [C, H, W] of one image
    samples : number of training samples

    Notes
    -----
    With P values an image, C classes and N training samples: nearest mean C·P and C·P; logistic regression C·(P + 1)
    and C·P, for two classes a single row of coefficients; k nearest neighbours N·P and N·P. How large a forest grows is
    known when it has grown: `params` is the most nodes that its trees can have, `macs` what balanced trees would take.
    """
    pixels, classes = math.prod(image), args["num_classes"]
    held = classes
    if op == "baseline:nearest_mean":
        params = macs = classes * pixels
    elif op == "sklearn:LogisticRegression":
        rows = 1 if classes == 2 else classes
        params, macs = rows * (pixels + args["fit_intercept"]), rows * pixels
    elif op == "sklearn:KNeighborsClassifier":
        params = macs = samples * pixels
        held += samples
    else:
        leaves = max(1, samples // args["min_samples_leaf"])
        depth = math.ceil(math.log2(leaves)) if leaves > 1 else 0
        if args["max_depth"] is not None:
            leaves, depth = min(leaves, 2 ** min(args["max_depth"], 62)), min(depth, args["max_depth"])
        params, macs = args["n_estimators"] * (2 * leaves - 1), args["n_estimators"] * depth
        held += args["n_estimators"] * classes
    return {"params": params, "memory": pixels + held, "ops": 0, "depth": 1, "macs": macs}
