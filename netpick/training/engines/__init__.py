"""What trains one network: one folder or file an engine, the table of them, and the one way to train.

A new engine is a module with the face of `engine.Engine`, and a row in `ENGINES`. None of them loads torch or numba
before it trains.
"""

from __future__ import annotations

from netpick.core import devices
from netpick.core.result import TrainingResult
from netpick.networks.paper.whole_networks import is_baseline
from netpick.training import baselines
from netpick.training.engines import compiled, eager, explicit, graphs, reference
from netpick.training.engines.engine import Engine
from netpick.training.job import Data, Job

ENGINES: dict[str, Engine] = {
    "graph": graphs,
    "compiled": compiled,
    "explicit": explicit,
    "eager": eager,
    "reference": reference,
}
"""By the mode of a plan, the ones that are to be preferred first."""


def train(job: Job, data: Data) -> TrainingResult:
    """Train one network and evaluate it after every epoch.

    Returns
    -------
    TrainingResult
        `done`, or `diverged` or `timeout` with the epochs that were finished before. Exceptions of torch pass through.
    """
    with devices.tf32(job.device, job.plan.precision == "tf32"):
        if is_baseline(job.spec.layers):
            from netpick.training.parts import Parts

            parts = Parts.of(job, data)
            return baselines.train(job, parts.arrays(), parts.left_out)
        return ENGINES[job.plan.mode].train(job, data)
