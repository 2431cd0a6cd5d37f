"""Every computation for images of any shape: grey or coloured, not square, one row, of two to a thousand classes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netpick.core.errors import CatalogueError
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.layouts import COMPUTATIONS, cubic_factorisation
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import check

SIDES = st.integers(4, 40)
IMAGES = st.tuples(st.sampled_from([1, 3]), SIDES, SIDES) | st.tuples(st.just(1), st.just(1), SIDES)
CLASSES = st.sampled_from([2, 3, 10]) | st.integers(2, 1000)


def cell(kind: str, computation: str, options: str = "") -> template.Template:
    most = "count = 2" if kind == "sampled" else "depth = [2, 4]"
    name, activation = (f'"{computation}"', '"ReLU"') if kind == "sampled" else (f'["{computation}"]', '["ReLU"]')
    text = (
        f'title = "t"\n[[cells]]\nkind = "{kind}"\ncomputation = {name}\nactivation = {activation}\n{most}\n{options}'
    )
    return template.parse(text)


@pytest.mark.parametrize("computation", COMPUTATIONS)
@settings(max_examples=12, deadline=None)
@given(IMAGES, CLASSES, st.integers(0, 99), st.sampled_from(["", "square = 0.0\n", 'factorisation = "random"\n']))
@example((1, 17, 19), 2, 0, "")  # whose product has no three factors
@example((3, 4, 4), 1000, 0, "")
@example((1, 1, 37), 2, 0, "")
def test_every_computation_takes_every_shape(computation, image, classes, seed, options):
    for kind in ("sampled", "grid"):
        found = generate(cell(kind, computation, options if kind == "sampled" else ""), image, classes, seed)
        assert found
        for spec in found:
            size = check(spec.layers, image, classes)
            with torch.device("meta"):
                model = build(spec.layers).eval()
                scores = model(torch.empty(2, *image))
            assert tuple(scores.shape) == (2, classes)
            assert size.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("computation", COMPUTATIONS)
@pytest.mark.parametrize(("image", "classes"), [((3, 7, 12), 5), ((1, 13, 4), 2), ((1, 1, 9), 3)])
def test_a_step_of_training_lowers_the_loss(computation, image, classes):
    torch.manual_seed(0)
    (spec, *_) = generate(cell("sampled", computation, "channels = [2, 4]\nplanes = 4\nbias = 1.0\n"), image, classes)
    for tuned in (False, True):
        model = build(spec.layers, tuned=tuned)
        x, y = torch.randn(6, *image), torch.arange(6) % classes
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        losses = []
        for _ in range(2):
            loss = F.nll_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
            optimizer.step()
            losses.append(loss.item())
        assert losses[1] < losses[0]


@given(SIDES, SIDES)
def test_the_cut_of_a_conv3d_keeps_the_number_of_values(height, width):
    cut = cubic_factorisation(height, width)
    assert math.prod(cut) == height * width
    if math.gcd(height, width) == 1 and cut[0] == 1:  # then there are no three numbers from 3 on
        n = height * width
        assert not any(
            n % a == 0 and (n // a) % b == 0 and n // a // b >= 3 for a in range(3, n) for b in range(3, n // a)
        )


def test_cuts_that_are_known():
    known = {
        (28, 28): (16, 7, 7),
        (8, 8): (4, 4, 4),
        (32, 32): (16, 8, 8),
        (32, 33): (8, 11, 12),
        (17, 19): (1, 17, 19),
    }
    for sides, cut in known.items():
        assert cubic_factorisation(*sides) == cut


def test_a_kernel_that_is_written_out_is_not_cut():
    with pytest.raises(CatalogueError, match="does not fit"):
        generate(cell("grid", "Conv3d", "kernel_size = [[[5, 5, 5]]]\n"), (1, 8, 8), 10)
