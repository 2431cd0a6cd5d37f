"""Every operation that a catalogue network may have, in ONNX, against torch."""

import numpy as np
import pytest
import torch
from forward_cases import CASES, IMAGE, SCALING, drawn

from netpick.exam.device.graph import IR_VERSION, OPSET
from netpick.exam.device.translated import NODES, translated
from netpick.exam.forward_pass import lowered

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(0))


def steps_of(name):
    model = drawn(CASES[name])
    weights = {key: values.numpy() for key, values in model.state_dict().items()}
    return model, lowered(CASES[name], IMAGE, weights, SCALING)


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_what_torch_does(name, images):
    model, steps = steps_of(name)
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in SCALING)
    with torch.no_grad():
        wanted = torch.log_softmax(model((images - mean) / std).flatten(1), 1).numpy()
    made, _ = translated(steps, IMAGE, {})
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"image": images.numpy()})
    np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=1e-4)
    (one,) = session.run(None, {"image": images.numpy()[:1]})
    np.testing.assert_allclose(one, wanted[:1], atol=1e-4, rtol=1e-4)


def test_every_step_has_its_nodes_and_the_file_is_for_old_runtimes():
    assert set(NODES) == {step.op for name in CASES for step in steps_of(name)[1]}
    made, _ = translated(steps_of("linear")[1], IMAGE, {"classes": ["a", 'b"'], "run": "r"})
    assert (made.ir_version, made.opset_import[0].version) == (IR_VERSION, OPSET) == (8, 17)
    assert {entry.key: entry.value for entry in made.metadata_props} == {"classes": '["a", "b\\""]', "run": "r"}
