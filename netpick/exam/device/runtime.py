"""Models of ONNX run here, by onnxruntime: what they answer, and the same in whole numbers of 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from netpick.exam.device.graph import INPUT

if TYPE_CHECKING:
    from onnx import ModelProto

BATCH = 256
"""Images at a time."""

CALIBRATION = 512
"""Training images by which the ranges of values are found that 8 bits are to hold."""


def scores_of(model: ModelProto, images: np.ndarray) -> np.ndarray:
    """Return what a model answers: float32 (images, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Else processors without instructions of their own for it let sums of 8-bit products overflow, and others don't.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {INPUT: images[i : i + BATCH]})[0] for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def in_int8(model: ModelProto, nodes: Sequence[str], images: np.ndarray) -> ModelProto:
    """Return a model whose weights and values are whole numbers of 8 bits, where its nodes can work on them.

    Static quantisation with a scale for each output channel of a weight, and one for each value, which holds all that
    the value is on these images.

    Parameters
    ----------
    model : of `translated`
    nodes : names of those that can work on 8 bits
    images : training images
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[Any] = ({INPUT: images[i : i + BATCH]} for i in range(0, len(images), BATCH))

        def get_next(self) -> Any:
            return next(self.rest, None)

    with TemporaryDirectory() as folder, _quiet():
        given, out = Path(folder, "model.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, given)
        quantize_static(given, out, Images(), per_channel=True, nodes_to_quantize=[*nodes])
        made = onnx.load(out)
    _keep_scores(made)
    return made


def _keep_scores(model: ModelProto) -> None:
    """Take out the rounding of the last sums to 8 bits: among 256 values there are ties, and nothing comes after."""
    made = {node.output[0]: node for node in model.graph.node}
    node = next(node for node in reversed(model.graph.node) if node.op_type == "LogSoftmax")
    while (before := made.get(node.input[0])) is not None:
        rounded = made.get(before.input[0])
        if before.op_type == "DequantizeLinear" and rounded is not None and rounded.op_type == "QuantizeLinear":
            node.input[0] = rounded.input[0]
        elif before.op_type == "Reshape":
            node = before
        else:
            break
    for op in ("DequantizeLinear", "QuantizeLinear"):
        used = {name for node in model.graph.node for name in node.input}
        for unused in [node for node in model.graph.node if node.op_type == op and node.output[0] not in used]:
            model.graph.node.remove(unused)
    used = {name for node in model.graph.node for name in node.input}
    for constant in [constant for constant in model.graph.initializer if constant.name not in used]:
        model.graph.initializer.remove(constant)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing be logged: onnxruntime advises its user to prepare a model that has nothing to prepare."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
