import json
from pathlib import Path

import numpy as np
import pytest

from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.paper.spec import NetworkSpec, check

PANEL = Path(__file__).parents[2] / "benchmarks" / "panel.json"


@pytest.fixture(scope="module")
def panel():
    return json.loads(PANEL.read_text(encoding="utf-8"))


def test_twenty_different_networks_of_all_computations(panel):
    specs = [NetworkSpec.from_dict(one) for one in panel["networks"]]
    assert len({spec.name for spec in specs}) == len({spec.hash for spec in specs}) == len(specs) == 20
    assert {spec.computation for spec in specs} == set(COMPUTATIONS)
    assert len({spec.activation for spec in specs}) >= 6


def test_all_shapes_fit_and_the_work_is_spread_from_8_thousand_to_500_million_flops(panel):
    flops = [
        2 * check(NetworkSpec.from_dict(one).layers, tuple(panel["shape"]), panel["classes"]).macs
        for one in panel["networks"]
    ]
    assert flops == sorted(flops)
    assert flops[0] == pytest.approx(8e3, rel=0.05)
    assert flops[-1] == pytest.approx(500e6, rel=0.05)
    steps = np.diff(np.log(flops))
    assert 0.3 * steps.mean() < steps.min()
    assert steps.max() < 1.7 * steps.mean()


def test_torch_gives_log_probabilities(panel):
    import torch

    from netpick.networks.modules.build import build

    for one in panel["networks"]:
        model = build(NetworkSpec.from_dict(one).layers).eval()
        with torch.inference_mode():
            scores = model(torch.randn(2, *panel["shape"]))
        assert scores.shape == (2, panel["classes"])
        assert scores.exp().sum(1).numpy() == pytest.approx([1, 1], abs=1e-4)
