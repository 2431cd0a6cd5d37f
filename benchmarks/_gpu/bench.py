"""What the parts of gpu.py measure on: a card, the networks, the samples, and how much of all is trained.

`Bench` is a card; `stand_in.StandIn` has the same face on the CPU.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
import torch.nn.functional as F
from _common import netpick_command

from _gpu.part import Clock
from netpick import data
from netpick.core import devices
from netpick.core.result import TrainingResult
from netpick.data import shared as share
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import Recipe, load
from netpick.networks.paper.spec import NetworkSpec, seed_of, shapes, sizes
from netpick.sessions.workers import gpu_processes
from netpick.sessions.workers.gpu_budget import Layout
from netpick.sessions.workers.process import resident
from netpick.sessions.workers.task import Task
from netpick.training import Job, Plan, choose
from netpick.training.engines.graphs.lanes import Lane, make_lane
from netpick.training.engines.graphs.network import Pieces
from netpick.training.engines.graphs.training import run_alone, training

STOP_SECONDS = 20
"""What a session may take to write down what it has, when it is stopped."""

PANEL = Path(__file__).parents[1] / "panel.json"
Splits = dict[str, tuple[torch.Tensor, torch.Tensor]]


class Sized(NamedTuple):
    """A network, its macs and params, and the elements that all its layers give for one sample."""

    spec: NetworkSpec
    macs: int
    params: int
    memory: int


@dataclass(frozen=True)
class Size:
    """How much is trained: networks of a sample, samples, steps, repetitions; `every`: of so many operations one."""

    every: int = 1
    equal: int = 55
    equal_samples: int = 1000
    equal_macs: int = 20_000_000
    steps: int = 200
    learned: int = 5000
    samples: int = 10_000
    copies: int = 8
    turns: int = 3
    others: int = 40
    careful: int = 40
    packs: int = 5
    packed: int = 100
    packed_bytes: int = 6 * 2**30
    held: int = 8
    groups: tuple[int, ...] = (8, 32)
    streams: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    several: tuple[tuple[int, int], ...] = ((2, 4), (2, 8), (2, 16), (4, 4), (4, 8), (4, 16))


class Bench:
    """A card.

    Parameters
    ----------
    device : such as `cuda:0`
    data_dir : where MNIST lies
    folder : of the parts' files, where longer work is kept too
    clock : the time of this call

    `table` are the figures of cards as they were when the part in hand was begun.
    """

    stand_in = False
    size = Size()
    dataset, template = "mnist", "netpicking"
    limit: int | None = None

    def __init__(self, device: str, data_dir: str | None, folder: Path, clock: Clock) -> None:
        self.device, self.data_dir, self.folder, self.clock = device, data_dir, folder, clock
        self.table: Mapping[str, float] = {}

    def about(self) -> dict[str, Any]:
        """Return what the figures hold for."""
        return {
            "card": self.card,
            "torch": str(torch.__version__),
            "cuda": torch.version.cuda,
            "stand_in": self.stand_in,
        }

    @cached_property
    def card(self) -> str:
        """The card's name."""
        return devices.describe(self.device)

    def check(self) -> None:
        """Raise where the card is lost to this process: then every other case would fail too."""
        devices.synchronize(self.device)

    # What is trained

    @cached_property
    def shared(self) -> share.SharedData:
        """The data set, laid out for all processes."""
        request = data.DataRequest(self.dataset, data.data_dir(self.data_dir), 0, self.size.samples)
        return share.prepare(request, self.folder / "data")

    @property
    def splits(self) -> Splits:
        """All samples, on the card."""
        return dict(resident(self.shared, self.device))

    def cut(self, train: int, test: int = 1000) -> Splits:
        """Return the first samples alone."""
        counts = {"train": train, "test": test}
        return {name: (x[: counts[name]], y[: counts[name]]) for name, (x, y) in self.splits.items()}

    @property
    def image(self) -> tuple[int, ...]:
        """The shape of an image."""
        return tuple(share.attach(self.shared)["train"][0].shape[1:])

    @property
    def recipe(self) -> Recipe:
        """That of the template, for one epoch."""
        return msgspec.structs.replace(load(self.template).recipe, epochs=1)

    @cached_property
    def panel(self) -> list[Sized]:
        """The networks of panel.json, the costliest first."""
        rows = json.loads(PANEL.read_text(encoding="utf-8"))["networks"]
        return self.sized([NetworkSpec.from_dict(row) for row in rows])

    def drawn(self, number: int, seed: int = 0) -> list[Sized]:
        """Return so many networks of the template, a share of each family, none of them of the panel."""
        known = {one.spec.hash for one in self.panel}
        found = generate(load(self.template), self.image, 10, seed, number)
        return self.sized([spec for spec in found if spec.hash not in known])

    def sized(self, specs: Sequence[NetworkSpec]) -> list[Sized]:
        """Return networks with what they are on paper, the costliest first."""
        out = []
        for spec in specs:
            size = sizes(spec.layers, self.image)
            memory = sum(math.prod(one) for one in shapes(spec.layers, self.image))
            out.append(Sized(spec, size.macs, size.params, memory))
        return sorted(out, key=lambda one: one.macs, reverse=True)

    # How it is trained

    def plan(self, recipe: Recipe, spec: NetworkSpec, mode: str = "graph") -> Plan:
        """Return what netpick chooses on this card, in a mode."""
        return replace(choose(recipe, self.device, spec), mode=mode)

    def lane(self) -> Lane:
        """Return a new lane of the card."""
        return make_lane(self.device)

    def free(self) -> int:
        """Return the bytes that are free on the card, without those that torch keeps for later."""
        torch.cuda.empty_cache()
        return devices.free_memory(self.device) or 0

    def threads(self) -> int:
        """Return the threads that the card has room for."""
        about = torch.cuda.get_device_properties(self.device)
        return int(about.multi_processor_count * about.max_threads_per_multi_processor)

    def alone(
        self,
        spec: NetworkSpec,
        recipe: Recipe,
        plan: Plan,
        splits: Splits,
        pieces: Pieces = Pieces(),  # noqa: B008
    ) -> TrainingResult:
        """Train one network on a lane, with nothing beside it."""
        lane = self.lane()
        job = Job(spec, recipe, seed_of(0, spec.hash, 0), plan, self.device)
        with ThreadPoolExecutor(1) as background:
            return run_alone(training(job, lane, splits, background, pieces=pieces), lane)

    def tasks(self, networks: Sequence[Sized], recipe: Recipe, copies: int, mode: str = "graph") -> list[Task]:
        """Return `copies` trainings of each network."""
        return [
            Task(
                Job(spec, recipe, seed_of(0, spec.hash, n), self.plan(recipe, spec, mode), self.device, n),
                self.shared, memory=memory, params=params,
            )
            for spec, _, params, memory in networks
            for n in range(copies)
        ]  # fmt: skip

    def stream(self, tasks: Sequence[Task], layout: Layout, on_start: Callable[[Task], None], prepare: Any) -> Any:
        """Train tasks in processes of the card; yields each as it ends."""
        return gpu_processes.stream(tasks, [self.device], layout, on_start, prepare)

    def context_bytes(self) -> int:
        """Return what a process takes on the card before its first network."""
        before = self.free()
        context = multiprocessing.get_context("spawn")
        ready, over = context.Event(), context.Event()
        process = context.Process(target=load_libraries, args=(self.device, ready, over), daemon=True)
        process.start()
        try:
            if not ready.wait(120):
                raise RuntimeError("a process had not loaded cuDNN and cuBLAS after two minutes")
            return before - self.free()
        finally:
            over.set()
            process.join(10)

    def compiled(self, model: Any) -> Any:
        """Return a model as torch's compiler makes it."""
        return torch.compile(model)

    @staticmethod
    def shrink(device: str, most: int) -> None:
        """Let this process have no more than so many bytes of the card."""
        size = devices.card(device)[0] or most
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / size), device)

    def train_run(self, run: Path) -> bool:
        """Train a run by the command line; return whether it came to its end in the time of this call."""
        options = ["--device", self.device, *(["--data-dir", self.data_dir] if self.data_dir else [])]
        process = subprocess.Popen(netpick_command("train", run, *options))
        left = self.clock.left()
        try:
            process.wait(None if left is None else max(left - STOP_SECONDS, 1))
            return True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
            return False


def load_libraries(device: str, ready: Any, over: Any) -> None:
    """Have cuBLAS and cuDNN loaded, no tensor held, until it is over; run in a process of its own."""
    x = torch.ones(8, 4, 8, 8, device=device)
    (F.conv2d(x, torch.ones(4, 4, 3, 3, device=device)).flatten(1) @ torch.ones(144, 8, device=device)).sum().item()
    del x
    torch.cuda.empty_cache()
    ready.set()
    over.wait(120)
