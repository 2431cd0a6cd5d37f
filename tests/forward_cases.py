"""A network for every operation that the steps of a forward pass know, with drawn weights."""

import torch

from netpick.networks.modules.build import build
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.spec import LayerSpec, layer

IMAGE = (2, 8, 8)
SCALING = [0.3, 0.5], [0.25, 2.0]


def conv(dims, i, o, k, **more):
    return layer(f"Conv{dims}d", in_channels=i, out_channels=o, kernel_size=k, **more)


def block(i, o, stride=1, activation="ReLU"):
    return layer("BasicBlock", inplanes=i, planes=o, stride=stride, activation=activation)


def norm(dims, features, **more):
    return layer(f"BatchNorm{dims}d", num_features=features, **more)


def reshape(*shape):
    return layer("Reshape", shape=list(shape))


def of_layers(op, **args):
    return LayerSpec(op, {k.rstrip("_"): v for k, v in args.items()})


ROW, CUBE = reshape(8, 16), reshape(2, 4, 4, 4)
CASES = {
    "linear": [layer("Flatten"), layer("Linear", in_features=128, out_features=5), norm(1, 5), layer("ReLU")],
    "linear on rows": [ROW, layer("Linear", in_features=16, out_features=3, bias=False), norm(1, 8)],
    "conv1d": [ROW, conv(1, 8, 6, 5, stride=2, padding=3, dilation=2, groups=2), norm(1, 6, affine=False)],
    "conv2d": [conv(2, 2, 6, [3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 3], bias=False), norm(2, 6, eps=0.1)],
    "conv3d": [CUBE, conv(3, 2, 4, [2, 3, 1], stride=[1, 2, 1], padding=[1, 1, 0], groups=2), norm(3, 4, bias=False)],
    "depthwise": [conv(2, 2, 8, 3, groups=2), conv(2, 8, 8, 6, groups=8)],
    "same": [conv(2, 2, 3, [2, 4], padding="same"), conv(2, 3, 3, 3, padding="same", dilation=2)],
    **{
        mode: [conv(2, 2, 3, [3, 4], padding=[2, 1], padding_mode=mode),
               conv(2, 3, 2, 2, padding="same", padding_mode=mode)]
        for mode in ("reflect", "replicate", "circular")
    },
    "block": [block(2, 2), block(2, 4, 2), block(4, 3, 1, "Tanh"), block(3, 3, 1, "None"), block(3, 3, 2, "PReLU")],
    "norm not behind": [conv(2, 2, 4, 3), layer("Tanh"), norm(2, 4), layer("AvgPool2d", kernel_size=2), norm(2, 4)],
    "skips": [conv(2, 2, 2, 3, padding=1), norm(2, 2), of_layers("Add", from_=0), of_layers("Concat", from_=-1),
              norm(2, 4), of_layers("Concat", from_=1), layer("ELU"), of_layers("Add", from_=5)],
    "norms": [layer("GroupNorm", num_groups=1, num_channels=2), conv(2, 2, 6, 3),
              layer("GroupNorm", num_groups=3, num_channels=6, eps=0.01), layer("LayerNorm", normalized_shape=[6, 6]),
              layer("LayerNorm", normalized_shape=6, bias=False),
              layer("LayerNorm", normalized_shape=[6, 6, 6], elementwise_affine=False),
              layer("GroupNorm", num_groups=2, num_channels=6, affine=False)],
    "max": [layer("MaxPool2d", kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2], ceil_mode=True),
            layer("Flatten", start_dim=2), layer("MaxPool1d", kernel_size=3, padding=1),
            layer("AdaptiveMaxPool1d", output_size=4)],
    "max3d": [CUBE, layer("MaxPool3d", kernel_size=2, stride=1), layer("AdaptiveMaxPool3d", output_size=[2, None, 1])],
    "average": [layer("AvgPool2d", kernel_size=3, stride=2, padding=1, ceil_mode=True),
                layer("AvgPool2d", kernel_size=2, stride=1, padding=1, count_include_pad=False),
                layer("AvgPool2d", kernel_size=2, stride=1, divisor_override=3),
                layer("AdaptiveAvgPool2d", output_size=[3, None]), layer("Flatten", start_dim=2),
                layer("AvgPool1d", kernel_size=2, padding=1), layer("AdaptiveAvgPool1d", output_size=3)],
    "average3d": [CUBE, layer("AvgPool3d", kernel_size=[2, 3, 2], stride=1, padding=[1, 1, 0], ceil_mode=True),
                  layer("AdaptiveAvgPool3d", output_size=2), layer("AdaptiveMaxPool3d", output_size=[1, 2, 2])],
    "max2d": [layer("AdaptiveMaxPool2d", output_size=[3, 5])],
    "softmax": [layer("Softmax"), layer("LogSoftmax", dim=-1), layer("Flatten"), layer("LogSoftmax")],
    **{
        f"one output {positive}": [layer("Flatten"), layer("Linear", in_features=128, out_features=1),
                                   layer("BinaryLogSigmoid", positive=positive)]
        for positive in (0, 1)
    },
    "nothing": [layer("Identity"), layer("Dropout"), layer("Dropout2d"), layer("Flatten", start_dim=2),
                layer("Dropout1d"), CUBE, layer("Dropout3d"), layer("AlphaDropout")],
    "arguments": [layer("CELU", alpha=0.5), layer("ELU", alpha=2.0), layer("GELU", approximate="tanh"),
                  layer("Hardshrink", lambd=0.1), layer("Hardtanh", min_val=-0.75, max_val=3.0),
                  layer("LeakyReLU", negative_slope=0.5), layer("PReLU", num_parameters=2),
                  layer("RReLU", lower=0.1, upper=0.3), layer("Softplus", beta=3.0, threshold=2.0),
                  layer("Softshrink", lambd=0.25)],
    **{f"activation {name}": [layer(name)] for name in ACTIVATIONS},
}  # fmt: skip


def drawn(layers):
    """A network with drawn weights and running statistics, as evaluation sees it."""
    torch.manual_seed(len(layers))
    model = build(layers).eval()
    for name, values in model.state_dict().items():
        if values.is_floating_point() and values.dim() == 1:
            values.copy_(torch.rand(values.shape) + 0.5 if "var" in name else torch.randn(values.shape))
    return model
