"""The live class's arithmetic: every operation that a catalogue network may have, in a browser, against torch."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from forward_cases import CASES, IMAGE, SCALING, drawn

from netpick.exam.forward_pass import lowered
from netpick.exam.forward_steps import LOWERED
from netpick.networks.paper.spec import shapes


def as_json(steps):
    return [
        {"op": step.op, "of": step.of, **step.sizes, "numbers": [n.tolist() for n in step.numbers],
         "weight": None if step.weight is None else step.weight.ravel().tolist()}
        for step in steps
    ]  # fmt: skip


ASK = """
const arrays = step => ({...step, weight: step.weight && Float32Array.from(step.weight),
                         numbers: step.numbers.map(each => Float32Array.from(each))});
const answers = (steps, images) =>
  images.map(image => [...forward({steps: steps.map(arrays)}, Float32Array.from(image))]);
"""


def source():
    return (files("netpick.report.explorer") / "page/forward.js").read_text("utf-8") + ASK


@pytest.fixture(scope="module")
def answered(driver):
    """What the browser answers in every case, and what torch does."""
    images = torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in SCALING)
    asked, wanted = {}, {}
    for name, layers in CASES.items():
        model = drawn(layers)
        weights = {key: values.numpy() for key, values in model.state_dict().items()}
        asked[name] = as_json(lowered(layers, IMAGE, weights, SCALING))
        with torch.no_grad():
            wanted[name] = torch.log_softmax(model((images - mean) / std).flatten(1), 1).numpy()
    pixels = images.flatten(1).tolist()
    script = "const [cases, images] = arguments; return Object.entries(cases).map(([k, v]) => [k, answers(v, images)]);"
    return dict(driver.execute_script(source() + script, asked, pixels)), wanted


@pytest.mark.browser
@pytest.mark.parametrize("name", CASES)
def test_the_browser_computes_what_torch_does(answered, name):
    got, wanted = answered
    np.testing.assert_allclose(np.array(got[name]), wanted[name], atol=1e-4, rtol=1e-4)


def test_every_operation_has_its_case():
    there = {each.op for layers in CASES.values() for each in layers}
    assert set(LOWERED) | {"Add", "Concat"} == there
    assert all(shapes(layers, IMAGE) for layers in CASES.values())
