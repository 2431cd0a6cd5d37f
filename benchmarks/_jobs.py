"""What the side-by-side benchmarks train: a network, a recipe, and the same samples in the form that each way wants.

Trains nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from _common import console
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from netpick import data
from netpick.core.torchvision_import import torchvision_datasets
from netpick.data import shared as share
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec


@dataclass(frozen=True)
class Job:
    """One network with the data of all ways: `loaded` for the tutorial, `resident` for the others."""

    spec: NetworkSpec
    recipe: Recipe
    seed: int
    loaded: dict[str, Dataset[Any]]
    resident: dict[str, tuple[Tensor, Tensor]]
    loader_workers: int = 0

    def optimizer(self, model: nn.Module, **kernel: bool) -> torch.optim.Optimizer:
        """Make the recipe's optimizer; as a tutorial does, with no word about its kernel, unless one is named."""
        args = {k: tuple(v) if isinstance(v, list) else v for k, v in self.recipe.optimizer_args.items()}
        return getattr(torch.optim, self.recipe.optimizer)(model.parameters(), lr=self.recipe.lr, **args, **kernel)

    def cut(self, train: int, test: int) -> Job:
        """Return the same with the first samples alone, for one epoch."""
        counts = {"train": train, "test": test}
        return replace(
            self,
            recipe=msgspec.structs.replace(self.recipe, epochs=1),
            loaded={k: Subset(v, range(min(counts[k], len(self.resident[k][1])))) for k, v in self.loaded.items()},
            resident={k: (x[: counts[k]], y[: counts[k]]) for k, (x, y) in self.resident.items()},
        )

    def on(self, device: str) -> Job:
        """Return the same with the resident samples on a device."""
        return replace(self, resident={k: (x.to(device), y.to(device)) for k, (x, y) in self.resident.items()})


class Pictures(Dataset[Any]):
    """Arrays as torchvision's MNIST keeps them: an image is made, and transformed, when it is asked for."""

    def __init__(self, split: data.Split, transform: Callable[[Any], Tensor]) -> None:
        scaled = split.pixels[:, 0].astype(np.float64) * (255 / split.pixel_max)
        self.data = torch.from_numpy(np.round(scaled).astype(np.uint8))
        self.targets = torch.from_numpy(split.labels)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


def choose_data(dataset: str, data_dir: str | None) -> tuple[str, str]:
    """Return the data set's name and directory: the data set where its files lie, else digits."""
    folder = data.data_dir(data_dir)
    source = data.DATASETS.get(dataset)
    if source and source.torchvision and not all(Path(folder, source.folder, file).is_file() for file in source.files):
        console.print(f"{dataset} is not in the data directory: the bundled digits are used instead", style="yellow")
        return "digits", folder
    return dataset, folder


def load_tutorial_data(whole: data.Dataset, folder: str) -> dict[str, Dataset[Any]]:
    """Return the train and test sets as a tutorial has them."""
    vision = torchvision_datasets()  # before its transforms: it sees to the import
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(whole.mean, whole.std)])
    kind = data.DATASETS[whole.name].torchvision
    if kind:
        maker = getattr(vision, kind)
        return {part: maker(folder, train=part == "train", transform=transform) for part in ("train", "test")}
    return {part: Pictures(whole.split(part), transform) for part in ("train", "test")}


def load_both(
    request: data.DataRequest, folder: str, scratch: Path
) -> tuple[dict[str, Dataset[Any]], dict[str, tuple[Tensor, Tensor]]]:
    """Return the same samples for the tutorial and, memory-mapped, for the others."""
    whole = data.load(request)
    attached = share.attach(share.prepare(request, scratch))
    resident = {split: (torch.from_numpy(x), torch.from_numpy(y)) for split, (x, y) in attached.items()}
    loaded = load_tutorial_data(whole, folder)
    if request.train_samples:
        # The test set is cut by the same share, so that training and evaluation keep their proportion.
        full = data.describe(request.name)
        kept = max(1, round(len(whole.split("test")) * request.train_samples / full.train_count))
        if data.DATASETS[request.name].torchvision:  # the index counts the samples of torchvision's part
            loaded["train"] = Subset(loaded["train"], whole.split("train").index.tolist())
        loaded["test"] = Subset(loaded["test"], range(kept))
        resident["test"] = (resident["test"][0][:kept], resident["test"][1][:kept])
    return loaded, resident


def check_same_samples(job: Job) -> None:
    """Refuse to compare ways that see other numbers."""
    for split in ("train", "test"):
        inputs, labels = job.resident[split]
        dataset: Any = job.loaded[split]
        for at in (0, len(labels) - 1):
            image, label = dataset[at]
            if len(dataset) != len(labels) or label != labels[at] or not torch.allclose(image, inputs[at], atol=1e-2):
                raise SystemExit(f"{split}: sample {at} differs between the tutorial's data and netpick's")
