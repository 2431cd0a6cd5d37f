"""One network after the other: the loop that every tutorial has, a careful loop, and netpick, side by side.

Three ways to train the same networks with the same recipe, each on one thread of one process, taken in turns (A B C,
A B C, ...) so that whatever the machine does meanwhile does it to all three:

tutorial   torch.utils.data.DataLoader over torchvision's data set with ToTensor and Normalize, plain torch.optim, the
           loss read with .item() and logged every 100 steps, evaluation by a DataLoader of batches of 1000
careful    the same data as tensors in memory, a permutation and an index a step; plain torch.optim, nothing logged
netpick    netpick.train.train with the memory-mapped data that its workers have, and the plan that they choose

Measured is the wall time from building the network to its last evaluation; reading the data set's files is in none of
them. netpick's includes the accuracies and ROC areas per class that the others don't work out. The networks are picked
from a template by their computation and their place in its order of macs. Without MNIST in the data directory the
bundled digits are used, and that is said.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from _common import (
    console,
    machine,
    main,
    median,
    new_parser,
    positive,
    print_machine,
    print_table,
    spread,
    write_json,
)
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from netpick import catalogue, data, plan, share, template
from netpick.build import build
from netpick.errors import DataError
from netpick.spec import NetworkSpec, seed_of, sizes
from netpick.template import Recipe
from netpick.torchvision_import import torchvision_datasets
from netpick.train import train

PICKS = (("Basic", 0.0), ("Linear", 0.02), ("Conv1d", 0.5), ("Conv2dThenLinear", 0.5), ("ResNetStyle", 0.9))
"""A computation (or a network's name), and the place in its order of macs, from 0 to 1."""

log = logging.getLogger("tutorial")


@dataclass(frozen=True)
class Outcome:
    """One way, one network, once: seconds in all, of them in optimisation steps, and the last test accuracy."""

    seconds: float
    train_seconds: float
    accuracy: float


@dataclass(frozen=True)
class Job:
    """One network with the data of the three ways: `loaded` for the tutorial, `resident` for the two others."""

    spec: NetworkSpec
    recipe: Recipe
    seed: int
    loaded: dict[str, Dataset[Any]]
    resident: dict[str, tuple[Tensor, Tensor]]
    loader_workers: int

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the recipe's optimizer as a tutorial does: with no word about its kernel."""
        args = {k: tuple(v) if isinstance(v, list) else v for k, v in self.recipe.optimizer_args.items()}
        return getattr(torch.optim, self.recipe.optimizer)(model.parameters(), lr=self.recipe.lr, **args)


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


def train_tutorial(job: Job) -> Outcome:
    """Train as tutorials do."""
    start = time.perf_counter()
    torch.manual_seed(job.seed)
    device = torch.device("cpu")
    options: dict[str, Any] = {"num_workers": job.loader_workers}
    train_loader = DataLoader(job.loaded["train"], job.recipe.batch_size, shuffle=job.recipe.shuffle, **options)
    test_loader = DataLoader(job.loaded["test"], 1000, **options)
    model = build(job.spec.layers).to(device)
    optimizer = job.optimizer(model)
    spent = accuracy = 0.0
    for epoch in range(1, job.recipe.epochs + 1):
        begin = time.perf_counter()
        tutorial_epoch(model, device, train_loader, optimizer, epoch)
        spent += time.perf_counter() - begin
        accuracy = tutorial_test(model, device, test_loader)
    return Outcome(time.perf_counter() - start, spent, accuracy)


def tutorial_epoch(
    model: nn.Module, device: torch.device, loader: DataLoader[Any], optimizer: torch.optim.Optimizer, epoch: int
) -> None:
    """Train one epoch; the body is the one of the MNIST example of pytorch/examples."""
    model.train()
    for batch_idx, (images, target) in enumerate(loader):
        images, target = images.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(images)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % 100 == 0:
            done = 100.0 * batch_idx / len(loader)
            text = f"Train Epoch: {epoch} [{batch_idx * len(images)} ({done:.0f}%)]\tLoss: {loss.item():.6f}"
            log.debug(text)  # made, but not shown: a terminal's speed is not what is measured


def tutorial_test(model: nn.Module, device: torch.device, loader: DataLoader[Any]) -> float:
    """Return the accuracy; the body is the one of the same example."""
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for images, target in loader:
            images, target = images.to(device), target.to(device)
            output = model(images)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    count = len(loader.dataset)  # type: ignore[arg-type]
    log.debug(f"Test set: Average loss: {test_loss / count:.4f}, Accuracy: {correct}/{count}")
    return correct / count


def train_careful(job: Job) -> Outcome:
    """Train as someone does who knows what is slow, without going out of the way for it."""
    start = time.perf_counter()
    torch.manual_seed(job.seed)
    (inputs, labels), (test_inputs, test_labels) = job.resident["train"], job.resident["test"]
    model = build(job.spec.layers)
    optimizer = job.optimizer(model)
    spent = accuracy = 0.0
    for _ in range(job.recipe.epochs):
        begin = time.perf_counter()
        model.train()
        order = torch.randperm(len(labels)) if job.recipe.shuffle else torch.arange(len(labels))
        for chosen in order.split(job.recipe.batch_size):
            optimizer.zero_grad()
            loss = F.nll_loss(model(inputs[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
        spent += time.perf_counter() - begin
        model.eval()
        with torch.no_grad():
            pairs = zip(test_inputs.split(1000), test_labels.split(1000), strict=True)
            correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in pairs)
        accuracy = correct / len(test_labels)
    return Outcome(time.perf_counter() - start, spent, accuracy)


def train_netpick(job: Job) -> Outcome:
    """Train as a worker of netpick does."""
    torch.set_flush_denormal(True)  # as its workers have it
    try:
        start = time.perf_counter()
        chosen = plan.choose(job.recipe, "cpu")
        result = train(job.spec, job.recipe, "cpu", job.resident, job.seed, chosen, keep_weights=True)
        seconds = time.perf_counter() - start
    finally:
        torch.set_flush_denormal(False)  # no tutorial has it
    if result.status != "done":
        raise SystemExit(f"{job.spec.name}: {result.status}: {result.error}")
    return Outcome(seconds, sum(e.train_seconds for e in result.epochs), result.epochs[-1].splits[0].accuracy)


WAYS: dict[str, Callable[[Job], Outcome]] = {
    "tutorial": train_tutorial,
    "careful": train_careful,
    "netpick": train_netpick,
}


def pick_networks(networks: list[NetworkSpec], image: tuple[int, ...], names: list[str]) -> list[NetworkSpec]:
    """Return the networks with these names, or the five of `PICKS`."""
    by_name = {spec.name: spec for spec in networks}
    if names:
        if missing := [name for name in names if name not in by_name]:
            raise SystemExit(f"--networks: no network {', '.join(missing)} in the template")
        return [by_name[name] for name in names]
    picked = []
    for wanted, place in PICKS:
        rest = [s for s in networks if s.computation == wanted and s not in picked]
        rest.sort(key=lambda spec: sizes(spec.layers, image).macs)
        picked.append(by_name[wanted] if wanted in by_name else rest[round(place * (len(rest) - 1))])
    return picked


def choose_data(args: argparse.Namespace) -> tuple[str, str]:
    """Return the data set's name and directory: MNIST where it lies, else digits."""
    folder = data.data_dir(args.data_dir)
    name = args.dataset
    source = data.DATASETS.get(name)
    if source and source.torchvision and not all(Path(folder, source.folder, file).is_file() for file in source.files):
        console.print(f"{name} is not in the data directory: the bundled digits are used instead", style="yellow")
        name = "digits"
    return name, folder


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


def make_jobs(args: argparse.Namespace, scratch: Path) -> tuple[str, list[Job]]:
    """Load everything; return the data set's name and what is to be trained on it."""
    name, folder = choose_data(args)
    if name == "cifar10":
        raise DataError("the benchmark makes grey images: give one of mnist, fashion-mnist, kmnist, qmnist, digits")
    parsed = template.load(args.template)
    info = data.describe(name)
    networks = list(catalogue.enumerate_networks(parsed, info.shape, len(info.classes), args.seed))
    recipe = msgspec.structs.replace(parsed.recipe, epochs=args.epochs, timeout=None)
    loaded: dict[int | None, tuple[dict[str, Dataset[Any]], dict[str, tuple[Tensor, Tensor]]]] = {}
    jobs = []
    for spec in pick_networks(networks, info.shape, args.networks):
        large = sizes(spec.layers, info.shape).macs > args.large
        samples = args.train_samples if large else None
        if samples not in loaded:
            loaded[samples] = load_both(data.DataRequest(name, folder, args.seed, samples), folder, scratch)
        pair = loaded[samples]
        jobs.append(Job(spec, recipe, seed_of(args.seed, spec.hash, 0), *pair, args.num_workers))
    return name, jobs


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


def warm_up(job: Job) -> None:
    """Let every way load what it loads once: a few steps, untimed."""
    few = 4 * job.recipe.batch_size
    short = Job(
        job.spec,
        msgspec.structs.replace(job.recipe, epochs=1),
        job.seed,
        {split: Subset(dataset, range(min(few, len(job.resident[split][1])))) for split, dataset in job.loaded.items()},
        {split: (x[:few], y[:few]) for split, (x, y) in job.resident.items()},
        0,
    )
    for way in WAYS.values():
        way(short)


def measure(jobs: list[Job], repeat: int) -> list[dict[str, Any]]:
    """Train each network by each way in turns, and return one row a network."""
    rows = []
    for job in jobs:
        check_same_samples(job)
        warm_up(job)
        outcomes: dict[str, list[Outcome]] = {way: [] for way in WAYS}
        for _ in range(repeat):
            for way, run in WAYS.items():
                outcomes[way].append(run(job))
        size = sizes(job.spec.layers, tuple(job.resident["train"][0].shape[1:]))
        row: dict[str, Any] = {
            "network": job.spec.name,
            "params": size.params,
            "macs": size.macs,
            "train_samples": len(job.resident["train"][1]),
            "test_samples": len(job.resident["test"][1]),
        }
        for way, several in outcomes.items():
            row[way] = {
                "seconds": [o.seconds for o in several],
                "train_seconds": [o.train_seconds for o in several],
                "median": median(o.seconds for o in several),
                "accuracy": several[-1].accuracy,
            }
        for way in ("tutorial", "careful"):
            # Of neighbours in time: each repetition is a ratio of its own.
            row[f"{way}/netpick"] = [
                a.seconds / b.seconds for a, b in zip(outcomes[way], outcomes["netpick"], strict=True)
            ]
        rows.append(row)
        times = " and ".join(
            f"{spread(row[f'{way}/netpick'])} times as fast as {way}" for way in ("tutorial", "careful")
        )
        console.print(f"{job.spec.name}: netpick is {times}")
    return rows


def work() -> None:
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--data-dir", help="where data sets lie; else $NETPICK_DATA, else ./data")
    parser.add_argument("--dataset", default="mnist", help="mnist, fashion-mnist, kmnist, qmnist or digits (mnist)")
    parser.add_argument("--template", default="netpicking", help="where the networks are taken from (netpicking)")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="these, not the five chosen ones")
    parser.add_argument("--epochs", type=positive, default=1, help="epochs a training (1)")
    parser.add_argument("--repeat", type=positive, default=3, help="repetitions of A B C; medians count (3)")
    parser.add_argument(
        "--train-samples",
        type=positive,
        metavar="N",
        help="train large networks on N samples, test them on as large a share",
    )
    parser.add_argument(
        "--large", type=int, default=2_000_000, metavar="MACS", help="a network above so many macs is large (2,000,000)"
    )
    parser.add_argument("--num-workers", type=int, default=0, help="of the tutorial's DataLoader (0)")
    parser.add_argument("--seed", type=int, default=0, help="of networks, weights and order (0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        name, jobs = make_jobs(args, Path(folder))
        recipe = jobs[0].recipe
        rows = measure(jobs, args.repeat)
    head = [
        "network",
        "params",
        "macs",
        "samples",
        *(f"{way} s" for way in WAYS),
        "tutorial / netpick",
        "careful / netpick",
    ]
    lines = [
        [
            row["network"],
            f"{row['params']:,}",
            f"{row['macs']:,}",
            f"{row['train_samples']:,}",
            *(f"{row[way]['median']:.2f}" for way in WAYS),
            spread(row["tutorial/netpick"]),
            spread(row["careful/netpick"]),
        ]
        for row in rows
    ]
    title = (
        f"Training and evaluation on one thread: {recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''} of "
        f"{recipe.optimizer} on {name}, batch size {recipe.batch_size}; medians of {args.repeat}, ratios with range"
    )
    print_table(title, head, lines)
    accuracies = [[row["network"], *(f"{100 * row[way]['accuracy']:.2f}" for way in WAYS)] for row in rows]
    print_table("Test accuracy in % after the last epoch", ["network", *WAYS], accuracies)
    settings = {"dataset": name, "recipe": msgspec.to_builtins(recipe), "num_workers": args.num_workers, "threads": 1}
    write_json(args.json, {"machine": facts, **settings, "rows": rows})


if __name__ == "__main__":
    main(work)
