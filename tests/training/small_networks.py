"""Small networks and their samples, for engines to be compared on."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from layer_stack import Stack, image_shapes

from netpick.networks.paper.spec import NetworkSpec, layer, shapes

CLASSES = 3


def network(image, *between, flat=True):
    """Layers that begin with an image, and what makes a score for each class of whatever they give."""
    layers = [layer("Reshape", shape=list(image)), *between]
    size = int(np.prod(shapes(layers, image)[-1]))
    head = [layer("Flatten")] * flat + [layer("Linear", in_features=size, out_features=CLASSES), layer("LogSoftmax")]
    return NetworkSpec("N", "Mixed", "None", (*layers, *head))


def samples(image, count, seed=0, classes=CLASSES):
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return torch.randn(count, *image, generator=random) + labels.view(-1, *(1 for _ in image)) / 3, labels


@st.composite
def layered(draw, blocks=True):
    """One to three convolutions of any arguments, with what may stand between, and the shape of their input."""
    image = draw(image_shapes())
    dims, stack = len(image) - 1, Stack(image)
    for _ in range(draw(st.integers(1, 3))):
        args = {
            name: [draw(st.integers(low, high)) for _ in range(dims)]
            for name, low, high in (("kernel_size", 1, 4), ("stride", 1, 2), ("padding", 0, 2), ("dilation", 1, 2))
        }
        # Of an image one value wide a step of two may read zeros alone, and batch norm makes noise of a constant.
        args["padding"] = [
            zeros if wide > 1 else 0 for zeros, wide in zip(args["padding"], stack.shape[1:], strict=True)
        ]
        if draw(st.booleans()):
            args = {"kernel_size": list(stack.shape[1:]) if draw(st.booleans()) else args["kernel_size"]}
            args["padding"] = draw(st.sampled_from([0, "same"]))
        groups = draw(st.sampled_from([1, stack.shape[0]]))
        stack.add(
            f"Conv{dims}d",
            in_channels=stack.shape[0],
            out_channels=groups * draw(st.integers(1, 5)),
            **args,
            bias=draw(st.booleans()),
            groups=groups,
            padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])),
        )
        if draw(st.booleans()):
            stack.add(draw(st.sampled_from(["ReLU", "Tanh", "Sigmoid"])))
        if blocks and dims == 2 and draw(st.booleans()):
            stack.add(
                "BasicBlock", inplanes=stack.shape[0], planes=draw(st.integers(1, 4)), stride=draw(st.integers(1, 2))
            )
    return stack.layers, image
