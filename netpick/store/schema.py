"""Every Parquet column that netpick writes: name, type, unit, one sentence.

This is the contract between training and analysis. `store` writes it into the Parquet metadata, and the
documentation is made from it. No reading or writing here.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 2
"""Raised when a column changes its name, type or meaning; a run of a newer schema is refused."""


class Column(NamedTuple):
    """One column; a name that ends in `_{class}` stands for one column a class, `_0` to `_{C-1}`."""

    name: str
    type: str
    unit: str
    meaning: str


KEY_NETWORK = Column("network", "category", "", "Name of the network: `name` in networks.parquet.")
KEY_REPLICATE = Column("replicate", "int16", "", "Number of the replicate, from 0: the same network from another seed.")
KEY_EPOCH = Column("epoch", "int16", "epochs", "Epochs of training finished before this evaluation, from 1.")
KEY_SPLIT = Column("split", "category", "", "The samples that were evaluated: `test`, `validation` or `left_out`.")
KEY_SAMPLE = Column("sample", "int32", "", "Number of the sample within its split, from 0.")
LABEL = Column("label", "int16", "", "Number of the true class, from 0.")

TABLES: dict[str, tuple[Column, ...]] = {
    "networks": (
        Column("name", "string", "", "Unique name of the network in this run."),
        Column("hash", "string", "", "Content hash of the layers in canonical form, and of `recipe` if not {}."),
        Column("computation", "string", "", "Kind of layer that does the work, such as Linear or Conv2dThenLinear."),
        Column("activation", "string", "", "Activation of the family, or the word None."),
        Column("layers", "string", "JSON", "The layers as a JSON list of torch.nn names with their arguments."),
        Column(
            "recipe", "string", "JSON", "Values in which its recipe differs from the run's, as a JSON object; or {}."
        ),
        Column("params", "int64", "parameters", "Trainable parameters."),
        Column("memory", "int64", "elements", "Tensor elements held for one input: input, reshapes, layer outputs."),
        Column("ops", "int64", "nodes", "Distinct nodes of the autograd graph of one forward pass."),
        Column("depth", "int64", "layers", "Layers that have parameters."),
        Column("macs", "int64", "multiply-adds", "Exact multiply-accumulates of one input's forward pass."),
        Column("thop_macs", "float64", "multiply-adds", "What the package thop counts for the same; null if it fails."),
    ),
    "trainings": (
        KEY_NETWORK,
        Column("hash", "string", "", "Content hash of the network: what resume goes by."),
        KEY_REPLICATE,
        Column("status", "string", "", "How the training ended: `done`, `diverged`, `failed` or `timeout`."),
        Column("error", "string", "", "What went wrong, in one line; null for `done`."),
        Column("attempts", "int16", "attempts", "How often it was started before it ended so."),
        Column("seed", "int64", "", "Seed of initial weights and batch order: equal for equal layers and replicates."),
        Column("device", "string", "", "Device it was trained on, such as cpu or cuda:0."),
        Column(
            "plan",
            "string",
            "",
            "How it was executed: precision, mode, optimizer kernel, convolutions.",
        ),
        Column("workers", "int16", "workers", "Workers that the run had at the time."),
        Column("started", "timestamp", "UTC", "When it was started."),
        Column(
            "seconds",
            "float64",
            "s",
            "Wall time from building the network to its last evaluation.",
        ),
        Column("optimizer", "string", "", "Optimizer of the recipe, as torch.optim names it."),
        Column("optimizer_args", "string", "JSON", "Its arguments besides the learning rate, as a JSON object."),
        Column("lr", "float64", "", "Learning rate of the recipe."),
        Column("batch_size", "int64", "samples", "Samples in a batch."),
        Column("epochs", "int64", "epochs", "Epochs that the recipe asks for."),
        Column("schedule", "string", "", "What becomes of the learning rate: `constant`, `cosine`, ..."),
        Column("warmup", "float64", "fraction", "Share of all steps in which the learning rate rises from 0."),
        Column("loss", "string", "", "What training makes small: `nll`, `mse`, `l1` or `distance`."),
        Column("label_smoothing", "float64", "fraction", "Share of the wanted probability spread over all classes."),
        Column("gradient_clip", "float64", "", "Largest norm of the gradient; 0 for no limit."),
        Column("augment", "string", "JSON", "How the training images were changed, as a JSON object; or {}."),
        Column("init", "string", "", "Initial weights: `default`, `randn`, `xavier` or `he`."),
        Column("order", "string", "", "Order of the training samples: `shuffled`, `fixed` or `by_class`."),
        Column("seeding", "string", "", "Where random numbers begin: `network` or `torch`."),
        Column("normalize", "string", "", "Pixels: `standard` or `unit`."),
        Column("precision", "string", "", "Arithmetic: `fp32`, `tf32` or `bf16`."),
        Column("train_samples", "int64", "samples", "Samples that it was trained on; null where it did not begin."),
        Column("fold", "int8", "", "Fold of the training samples that it left out, from 0; null without folds."),
    ),
    "epochs": (
        KEY_NETWORK,
        KEY_REPLICATE,
        KEY_EPOCH,
        KEY_SPLIT,
        Column(
            "train_loss",
            "float64",
            "nats",
            "Mean of the recipe's loss over the epoch's samples, as seen while training, in nats for `nll`; null for a "
            "baseline.",
        ),
        Column("loss", "float64", "nats", "Mean negative log likelihood of the split's samples."),
        Column("accuracy", "float64", "fraction", "Share of the split's samples whose predicted class is the label."),
        Column("train_seconds", "float64", "s", "Time of this epoch's optimisation steps alone, device synchronised."),
        Column("eval_seconds", "float64", "s", "Time of this evaluation, device synchronised."),
        Column("peak_memory_bytes", "int64", "bytes", "Device memory high-water mark so far; null where unknown."),
        Column("accuracy_{class}", "float64", "fraction", "Share of this class's samples predicted as this class."),
        Column("auc_{class}", "float64", "fraction", "Area under the ROC curve, this class against the rest."),
    ),
    "predictions": (
        KEY_NETWORK,
        KEY_REPLICATE,
        KEY_EPOCH,
        KEY_SPLIT,
        KEY_SAMPLE,
        LABEL,
        Column("predicted", "int16", "", "Number of the class with the highest score; the first of equals."),
        Column(
            "score_{class}", "float32", "nats", "Natural logarithm of the probability of this class; null if not kept."
        ),
    ),
    "timings": (
        KEY_NETWORK,
        Column("hash", "string", "", "Content hash of the network."),
        Column("device", "string", "", "Device that the network had for itself, such as cpu or cuda:0."),
        Column("device_name", "string", "", "Model of the device; for the CPU with the cores that could be used."),
        Column("threads", "int16", "threads", "Threads on the CPU; 1 on other devices."),
        Column("plan", "string", "", "How it was executed, as in trainings."),
        Column("batch_size", "int32", "samples", "Samples of a training step."),
        Column("step_seconds", "float64", "s", "Time of one training step, its batch included; median of several."),
        Column("epoch_steps", "int32", "steps", "Training steps of an epoch of the run."),
        Column("latency", "float64", "s", "Time from one input on the device to its scores; median of many."),
        Column(
            "throughput", "float64", "inputs/s", "Inputs a second where many are scored in one batch; by the median."
        ),
        Column("throughput_batch", "int32", "inputs", "Inputs of that batch."),
        Column("repeats", "int16", "", "Repeats that the medians are of, at least."),
        Column("measured", "timestamp", "UTC", "When it was measured."),
    ),
    "layer_times": (
        KEY_NETWORK,
        Column("device", "string", "", "Device that the network had for itself, as in timings."),
        Column("threads", "int16", "threads", "Threads on the CPU; 1 on other devices."),
        Column("layer", "int32", "", "Number of the layer in the network, from 0."),
        Column("op", "string", "", "What the layer is, as in `layers` of networks."),
        Column("macs", "int64", "multiply-adds", "Exact multiply-accumulates of the layer for one input."),
        Column("seconds", "float64", "s", "Time of the layer alone on one input; median of several."),
    ),
    "device_times": (
        KEY_NETWORK,
        Column("hash", "string", "", "Content hash of the network."),
        Column("device_name", "string", "", "What the device that measured is called."),
        Column("runtime", "string", "", "What ran the network there, with its version."),
        Column("precision", "string", "", "Arithmetic: `fp32`, or `int8` after quantisation."),
        Column("threads", "int16", "threads", "Threads on the CPU."),
        Column("latency", "float64", "s", "Time from one input to its scores; median of many."),
        Column("throughput", "float64", "inputs/s", "Inputs a second where many are scored in one batch."),
        Column("throughput_batch", "int32", "inputs", "Inputs of that batch."),
        Column("peak_memory_bytes", "int64", "bytes", "Most memory of the process, runtime included; null if unknown."),
        Column("joules", "float64", "J", "Energy of the whole processor for one input; null where it does not tell."),
        Column("agreement", "float64", "fraction", "Share of the kit's samples that were answered as in the run."),
        Column("repeats", "int16", "", "Repeats that the medians are of, at least."),
        Column("measured", "timestamp", "UTC", "When it was measured."),
    ),
    "distances": (
        Column("split", "string", "", "`test`, or `train` for those of the training images that were drawn."),
        Column("sample", "int32", "", "Number of the image within its split, from 0."),
        LABEL,
        Column(
            "nearest",
            "float64",
            "",
            "Root mean square difference of pixels to the nearest training image of its class.",
        ),
        Column("neighbour", "int32", "", "Number of that image in the training split."),
    ),
    "samples": (
        Column("split", "string", "", "The split that the sample is in: `test`, `validation` or `left_out`."),
        KEY_SAMPLE,
        Column("index", "int32", "", "Number of the sample in the files that its split was taken from."),
        LABEL,
        Column("class_name", "string", "", "Name of the true class."),
        Column("image", "binary", "PNG", "The image as the bytes of a PNG file; null where there is none."),
        Column("name", "string", "", "What the sample was called where it was imported from; null in other runs."),
        Column("fold", "int8", "", "Fold of a sample of `left_out`, from 0; null in other splits."),
    ),
}


def columns(table: str, classes: int = 0) -> tuple[Column, ...]:
    """Return the columns of a table, with those that are kept once a class written out for `classes` classes."""
    out: list[Column] = []
    for column in TABLES[table]:
        if column.name.endswith("_{class}"):
            stem = column.name.removesuffix("{class}")
            out += [column._replace(name=f"{stem}{c}") for c in range(classes)]
        else:
            out.append(column)
    return tuple(out)


ADDED = {
    "samples": ("name", "fold"),
    "networks": ("recipe",),
    "trainings": (
        "optimizer", "optimizer_args", "lr", "batch_size", "epochs", "schedule", "warmup", "loss",
        "label_smoothing", "gradient_clip", "augment", "init", "order", "seeding", "normalize", "precision",
        "train_samples", "fold",
    ),
}  # fmt: skip
"""Columns that came later: runs of before may lack them."""

SIZES = ("params", "memory", "ops", "depth", "macs")
"""What a network costs by its layers: known of all that netpick makes, and of those imported where they were given."""

_LEAST = {
    "replicate": 0, "epoch": 1, "sample": 0, "label": 0, "predicted": 0, "threads": 1, "layer": 0, "fold": 0,
    **dict.fromkeys(SIZES, 0),
}  # fmt: skip

NEVER_NULL = frozenset(
    {
        *(_LEAST.keys() - {*SIZES, "fold"}), "network", "split", "name", "hash", "computation", "activation", "layers",
        "status", "workers", "started", "accuracy", "latency", "throughput", "step_seconds", "epoch_steps", "measured",
        "class_name", "index", "op", "nearest", "neighbour",
    }
)  # fmt: skip
"""Columns that have a value in every row. What only a training tells (losses, times, device) an import may lack."""


def least(column: str) -> int | None:
    """Return the least value of a column that has one."""
    return _LEAST.get(column)
