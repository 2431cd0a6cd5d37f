"""The ways to train one network that the side-by-side benchmarks compare.

tutorial    torch.utils.data.DataLoader over torchvision's data set with ToTensor and Normalize, plain torch.optim, the
            loss read with .item() and logged every 100 steps, evaluation by a DataLoader of batches of 1000
careful     the same data as tensors in memory, a permutation and an index a step; plain torch.optim, nothing logged
fused       the same, with the optimizer's fused kernel, gradients set to None, float32, everything eager
lightning   PyTorch Lightning's Trainer over a DataLoader of the tensors in memory, with the fused optimizer; loggers,
            progress bar, checkpoints, summary and the sanity check are off
netpick     netpick.training.loop.train with the memory-mapped data that its workers have, and the plan that they choose

All of them but netpick compute in float32 as torch does by itself. Each function trains a fresh network and returns an
`Outcome`. `train_seconds` are those of the epochs' optimisation steps with each way's own handling of the data in it;
evaluation and whatever happens before the first epoch are not.
"""

from __future__ import annotations

import functools
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from _jobs import Job
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from netpick import training
from netpick.core import devices
from netpick.core.torchvision_import import torchvision_datasets
from netpick.networks.modules.build import build

log = logging.getLogger("tutorial")


@dataclass(frozen=True)
class Outcome:
    """One way, one network, once: seconds in all, of them in steps and in evaluation, and the last test accuracy.

    `plan` is how netpick says that it executed the network.
    """

    seconds: float
    train_seconds: float
    eval_seconds: float
    accuracy: float
    plan: str = ""


def _shuffles(job: Job) -> bool:
    return job.recipe.order == "shuffled"


def train_tutorial(job: Job) -> Outcome:
    """Train as tutorials do."""
    start = time.perf_counter()
    torch.manual_seed(job.seed)
    device = torch.device("cpu")
    options: dict[str, Any] = {"num_workers": job.loader_workers}
    train_loader = DataLoader(job.loaded["train"], job.recipe.batch_size, shuffle=_shuffles(job), **options)
    test_loader = DataLoader(job.loaded["test"], 1000, **options)
    model = build(job.spec.layers).to(device)
    optimizer = job.optimizer(model)
    trained = tested = accuracy = 0.0
    for epoch in range(1, job.recipe.epochs + 1):
        begin = time.perf_counter()
        tutorial_epoch(model, device, train_loader, optimizer, epoch)
        middle = time.perf_counter()
        accuracy = tutorial_test(model, device, test_loader)
        trained += middle - begin
        tested += time.perf_counter() - middle
    return Outcome(time.perf_counter() - start, trained, tested, accuracy)


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


def train_careful(job: Job, device: str = "cpu", **kernel: bool) -> Outcome:
    """Train as someone does who knows what is slow, without going out of the way for it; the data is on the device."""
    start = time.perf_counter()
    torch.manual_seed(job.seed)
    (inputs, labels), (test_inputs, test_labels) = job.resident["train"], job.resident["test"]
    model = build(job.spec.layers).to(device)
    optimizer = job.optimizer(model, **kernel)
    trained = tested = accuracy = 0.0
    for _ in range(job.recipe.epochs):
        devices.synchronize(device)
        begin = time.perf_counter()
        model.train()
        order = torch.randperm(len(labels), device=device) if _shuffles(job) else torch.arange(len(labels))
        for chosen in order.split(job.recipe.batch_size):
            optimizer.zero_grad()
            loss = F.nll_loss(model(inputs[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
        devices.synchronize(device)
        middle = time.perf_counter()
        model.eval()
        with torch.no_grad():
            pairs = zip(test_inputs.split(1000), test_labels.split(1000), strict=True)
            correct = torch.stack([(model(x).argmax(1) == y).sum() for x, y in pairs])
        accuracy = int(correct.sum()) / len(test_labels)
        trained += middle - begin
        tested += time.perf_counter() - middle
    return Outcome(time.perf_counter() - start, trained, tested, accuracy)


def train_netpick(job: Job, device: str = "cpu") -> Outcome:
    """Train as a worker of netpick does."""
    torch.set_flush_denormal(True)  # as its workers have it
    try:
        start = time.perf_counter()
        plan = training.choose(job.recipe, device, job.spec)
        ours = training.Job(job.spec, job.recipe, job.seed, plan, device, keep_weights=True)
        result = training.train(ours, job.resident)
        seconds = time.perf_counter() - start
    finally:
        torch.set_flush_denormal(False)  # no tutorial has it
    if result.status != "done":
        raise SystemExit(f"{job.spec.name}: {result.status}: {result.error}")
    trained = sum(e.train_seconds for e in result.epochs)
    tested = sum(e.splits[0].eval_seconds for e in result.epochs)
    return Outcome(seconds, trained, tested, result.epochs[-1].splits[0].accuracy, result.plan)


def lightning_module() -> Any:
    """Return the package lightning with its messages off, or None where it isn't installed."""
    torchvision_datasets()  # lightning imports torchvision, which netpick knows to import where it is half broken
    try:
        import lightning
    except ImportError:
        return None
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return lightning


@functools.cache
def _lightning_class() -> Any:
    pl = lightning_module().pytorch

    class Classifier(pl.LightningModule):
        """The module of Lightning's own introduction, around a network of ours, with a clock."""

        def __init__(self, job: Job, model: nn.Module) -> None:
            super().__init__()
            self.job, self.model = job, model
            self.trained = self.tested = 0.0
            self.begin = self.begin_test = 0.0
            self.correct = self.count = 0

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            return F.nll_loss(self.model(x), y)

        def validation_step(self, batch: Any, index: int) -> None:
            x, y = batch
            self.correct += int((self.model(x).argmax(1) == y).sum())
            self.count += len(y)

        def configure_optimizers(self) -> Any:
            return self.job.optimizer(self.model, fused=True)

        def on_train_epoch_start(self) -> None:
            self.begin, self.tested_before = time.perf_counter(), self.tested

        def on_train_epoch_end(self) -> None:
            # The evaluation happens inside the epoch.
            self.trained += time.perf_counter() - self.begin - (self.tested - self.tested_before)

        def on_validation_start(self) -> None:
            self.begin_test, self.correct, self.count = time.perf_counter(), 0, 0

        def on_validation_end(self) -> None:
            self.tested += time.perf_counter() - self.begin_test

    return Classifier


def train_lightning(job: Job) -> Outcome:
    """Train with Lightning's Trainer, with all that costs time and can be left out left out."""
    pl = lightning_module().pytorch
    start = time.perf_counter()
    torch.manual_seed(job.seed)
    (inputs, labels), (test_inputs, test_labels) = job.resident["train"], job.resident["test"]
    train_loader = DataLoader(TensorDataset(inputs, labels), job.recipe.batch_size, shuffle=_shuffles(job))
    test_loader = DataLoader(TensorDataset(test_inputs, test_labels), 1000)
    module = _lightning_class()(job, build(job.spec.layers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a loader has no workers, and the like
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=job.recipe.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train_loader, test_loader)
    return Outcome(time.perf_counter() - start, module.trained, module.tested, module.correct / module.count)


WAYS: dict[str, Callable[[Job], Outcome]] = {
    "tutorial": train_tutorial,
    "careful": train_careful,
    "fused": functools.partial(train_careful, fused=True),
    "lightning": train_lightning,
    "netpick": train_netpick,
}


def on_gpu(way: str, device: str) -> Callable[[Job], Outcome]:
    """Return `fused` or `netpick` on a GPU; the job's samples are to be there."""
    if way == "fused":
        return functools.partial(train_careful, device=device, fused=True)
    return functools.partial(train_netpick, device=device)
