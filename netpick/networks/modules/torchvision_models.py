"""Networks that netpick did not make, as modules: torchvision's image classifiers.

They are made untrained, always: no weights are downloaded. The first convolution is exchanged where images have another
number of channels than the three that torchvision's models are made for. Names come from `whole`.
"""

from __future__ import annotations

import warnings

from torch import nn

from netpick.core.errors import SpecError
from netpick.core.torchvision_import import torchvision_models
from netpick.networks.paper.whole_networks import UNLIKE


def torchvision_model(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """Make one of torchvision's classifiers with random weights; it gives one logit a class.

    Parameters
    ----------
    name : of the builder, such as `resnet18`
    in_channels : channels of the images; with other than 3 the first convolution is a new one of the same geometry
    num_classes : number of classes

    Raises
    ------
    SpecError
        The installed torchvision has no such model.
    """
    models = torchvision_models()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some tell how their initial weights will change one day
            model = models.get_model(name, weights=None, num_classes=num_classes, **UNLIKE.get(name, {}))
    except ValueError as error:
        raise SpecError(f"the installed torchvision has no model '{name}': {error}") from None
    return model if in_channels == 3 else with_channels(model, in_channels)


def with_channels(model: nn.Module, channels: int) -> nn.Module:
    """Exchange the first convolution for one that takes another number of channels; all else of it stays."""
    path, old = next((path, part) for path, part in model.named_modules() if isinstance(part, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        old.groups,
        old.bias is not None,
        old.padding_mode,
    )
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)
    return model
