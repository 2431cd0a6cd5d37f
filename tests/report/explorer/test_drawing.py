"""Drawings are brought to the form of the run's own images: size, place, and values."""

import re
from importlib.resources import files

import numpy as np
import pytest

from netpick.report.explorer.page import SCRIPTS

FORM = {"shape": [1, 28, 28], "paper": [0.0], "ink": [1.0], "filled": False, "size": 20.0, "pen": 2.5}
MASS = FORM | {"middle": "mass", "centre": [14.0, 14.0]}
BOX = FORM | {"middle": "box", "centre": [14.0, 13.0], "size": 24.0}
COLOURS = FORM | {"shape": [3, 12, 20], "paper": [1.0, 1.0, 1.0], "ink": [0.0, 0.0, 0.5], "size": 10.0,
                  "middle": "box", "centre": [6.0, 10.0]}  # fmt: skip
FILLED = {"shape": [3, 4, 6], "paper": [0.5, 0.5, 0.5], "ink": [1.0, 1.0, 1.0], "filled": True}
PAGE = files("netpick.report.explorer") / "page"
LINES = """
const [form, lines, width] = arguments, sheet = blankSheet(form);
for (const line of lines) {
  stroke(sheet, line.map(([x, y]) => [x * sheet.width, y * sheet.height]), width * sheet.cell, form.ink);
}
return [fitted(sheet), asItLies(sheet)].map(image => image && [...image]);
"""


@pytest.fixture
def drawn(driver):
    """Draw lines, given in shares of the sheet, with a pen of so many pixels: the image in its form, and as it lies."""
    driver.get("about:blank")
    source = "".join((PAGE / f"{name}.js").read_text("utf-8") for name in ("forward", "drawing"))

    def draw(form, lines, width=2.5):
        shape = tuple(form["shape"])
        return [
            image if image is None else np.array(image).reshape(shape)
            for image in driver.execute_script(source + LINES, form, lines, width)
        ]

    return draw


def middle(image):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return [(image * y).sum() / image.sum(), (image * x).sum() / image.sum()]


def box(image, least=0.5):
    rows, columns = np.flatnonzero((image > least).any(axis=1)), np.flatnonzero((image > least).any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


SEVEN = [[[0.2, 0.1], [0.45, 0.1], [0.3, 0.6]]]


@pytest.mark.browser
@pytest.mark.parametrize(("zoom", "x", "y"), [(1, 0, 0), (0.5, 0.4, 0.3), (1.4, 0.2, 0.0), (0.35, 0.0, 0.7)])
def test_wherever_and_however_large_it_is_drawn_networks_see_the_same(drawn, zoom, x, y):
    plain, _ = drawn(MASS, SEVEN)
    moved = [[[x + zoom * a, y + zoom * b] for a, b in line] for line in SEVEN]
    seen, _ = drawn(MASS, moved, 2.5 * zoom)
    for image in (plain[0], seen[0]):
        assert middle(image) == pytest.approx([14, 14], abs=0.1)
        top, _, bottom, _ = box(image, 0.3)
        assert 19 <= bottom - top <= 21
    assert np.abs(plain - seen).mean() < 0.02


@pytest.mark.browser
def test_the_box_is_put_in_the_middle_where_those_of_the_data_are(drawn):
    seen, lies = drawn(BOX, [[[0.2, 0.2], [0.2, 0.6]], [[0.2, 0.6], [0.3, 0.6]]])
    assert box(seen[0]) == pytest.approx((2, 8, 26, 18), abs=1)
    assert box(lies[0])[0] < 6


@pytest.mark.browser
def test_what_would_not_fit_around_its_mass_stays_within_the_frame(drawn):
    """All the weight is at the left: the line would leave the frame at the right."""
    seen, _ = drawn(MASS, [[[0.1, 0.5], [0.15, 0.5]], *[[[0.1, 0.4], [0.1, 0.6]]] * 3, [[0.15, 0.5], [0.9, 0.5]]], 1)
    _, left, _, right = box(seen[0], 0.2)
    assert right - left in (20, 21)
    assert right <= 28


@pytest.mark.browser
def test_a_line_is_as_wide_as_its_pen(drawn):
    _, lies = drawn(MASS, [[[0.25, 0.5], [0.75, 0.5]]], 4)
    assert lies[0, :, 14].sum() == pytest.approx(4, abs=0.05)
    assert lies[0].sum() == pytest.approx(14 * 4 + np.pi * 4, rel=0.01)


@pytest.mark.browser
def test_a_dot_stays_a_dot_and_nothing_is_nothing(drawn):
    seen, _ = drawn(MASS, [[[0.9, 0.9]]], 1)
    assert 0 < seen.sum() < 60
    assert drawn(MASS, [])[0] is None


@pytest.mark.browser
def test_ink_and_paper_have_their_colours(drawn):
    seen, _ = drawn(COLOURS, [[[0.5, 0.2], [0.5, 0.8]]], 3)
    assert seen[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert seen[:, 6, 10] == pytest.approx([0.0, 0.0, 0.5], abs=1e-6)


@pytest.mark.browser
def test_photographs_are_taken_as_they_lie(drawn):
    seen, lies = drawn(FILLED, [[[0.0, 0.0], [0.2, 0.2]]], 1)
    np.testing.assert_array_equal(seen, lies)
    assert lies[:, 3, 5].tolist() == [0.5, 0.5, 0.5]


def test_no_two_sources_of_the_page_give_something_the_same_name():
    """They become one script, in which the second function of a name would take the place of the first."""
    pattern = re.compile(r"^(?:async )?(?:function|const|let|class) +(\w+)", re.MULTILINE)
    names = [name for source in SCRIPTS for name in pattern.findall((PAGE / f"{source}.js").read_text("utf-8"))]
    assert sorted(names) == sorted(set(names))
