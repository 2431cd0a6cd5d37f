from io import StringIO
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from netpick.exam import plant, theme
from netpick.exam.answer import Answer
from netpick.exam.pictures import BAR, image_grid
from netpick.exam.run import Run

# Machado, Oliveira and Fernandes (2009): how colours look to dichromats, on linear RGB
DICHROMATS = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour, matrix):
    """CIE L*a*b* of a colour as seen through a matrix."""
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    xyz /= [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", DICHROMATS)
def test_colours_are_told_apart_with_every_kind_of_colour_vision(kind):
    seen = {name: lab(colour, DICHROMATS[kind]) for name, colour in theme.COLOURS.items()}
    distances = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(seen, 2)}
    nearest = min(distances, key=distances.get)
    assert distances[nearest] > 30, nearest  # a difference of 2.3 is just noticeable
    right, wrong = lab(theme.RIGHT, DICHROMATS[kind]), lab(theme.WRONG, DICHROMATS[kind])
    assert np.linalg.norm(right - wrong) > 30


def test_shapes_say_what_colours_say():
    assert len({theme.marker(computation) for computation in theme.COLOURS}) == len(theme.COLOURS)
    assert theme.marker("MyOwn") == theme.marker("MyOwn") in theme.OTHER_MARKERS
    styles = theme.network_styles({"R_1": "ResNetStyle", "Basic": "Linear", "R_2": "ResNetStyle", "L": "Linear"})
    assert styles["R_1"]["color"] == styles["R_2"]["color"] == theme.colour("ResNetStyle")
    assert styles["R_1"]["marker"] == theme.marker("ResNetStyle")
    assert len({(s["marker"], str(s["linestyle"])) for s in styles.values()}) == 4
    for other in ({"Basic": "Linear"}, {"L": "Linear", "Basic": "Linear"}):
        assert theme.network_styles(other)["Basic"] == styles["Basic"]


def test_names_at_the_ends_of_lines_do_not_cover_each_other():
    with theme.theme():
        fig = Figure(figsize=(6, 3))
        ax = fig.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 100))
        theme.label_ends(ax, [(y, f"line {y}", theme.INK) for y in (50, 50.1, 50.2, 51, 90)])
        fig.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without what leads to them
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert [text.get_text() for text in ax.texts] == ["line 50", "line 50.1", "line 50.2", "line 51", "line 90"]
    assert all(box.x1 <= fig.bbox.x1 for box in boxes)


def test_a_caveat_stands_beneath_the_title():
    with theme.theme():
        fig = Figure(figsize=(6, 4))
        ax = fig.subplots()
        theme.finish(fig, "A title that is rather long " * 4, "3 good students of 45 " * 6)
        fig.draw_without_rendering()
    small = next(t for t in fig.texts if t.get_text().startswith("3 good students")).get_window_extent()
    assert not small.overlaps(fig._suptitle.get_window_extent())
    assert not small.overlaps(ax.get_tightbbox())
    assert small.y0 > ax.get_tightbbox().y1


def test_colours_and_order_are_the_same_everywhere():
    assert theme.colour("Conv2d") == theme.COLOURS["Conv2d"]
    assert theme.colour("MyOwn") == theme.colour("MyOwn") in theme.OTHERS
    frame = pd.DataFrame(
        {"computation": ["Zeta", "ResNetStyle", "Alpha", "Linear"], "activation": ["X", "Tanh", "None", "X"]}
    )
    assert theme.family_order(frame) == ["Linear", "ResNetStyle", "Alpha", "Zeta"]
    assert theme.family_order(frame, "activation") == ["None", "Tanh", "X"]


def test_stars_and_basic_are_explained_in_the_legend():
    fig = Figure()
    ax = fig.subplots()
    theme.mark_stars(ax, [1.0], [0.99], 0.98)
    theme.mark_stars(ax, [], [])
    theme.basic_line(ax, 0.9)
    theme.basic_line(ax, None)
    assert ax.get_legend_handles_labels()[1] == [
        "gold star: good, and above 98 % in the last attempt", "Basic (one linear layer)",
    ]  # fmt: skip
    assert len(ax.lines) == 1


def test_log_axis_where_values_span_decades():
    assert theme.spans_decades([1, 100, 1000])
    assert not theme.spans_decades([1, 10])
    assert not theme.spans_decades([0, 1000])
    assert not theme.spans_decades([])


def test_titles_are_wrapped_to_the_figure():
    with theme.theme():
        fig = theme.finish(Figure(), "word " * 40)
    assert max(map(len, fig.get_suptitle().splitlines())) <= 83
    assert fig.get_size_inches()[0] * fig.dpi == 1200


def test_lines_of_a_title_are_about_equally_long():
    assert theme.wrapped("short", 10) == ["short"]
    assert theme.wrapped("", 10) == []
    title = "The kind of network that has the highest median score has most gold stars too for its number"
    first, second = theme.wrapped(title, 10)
    assert f"{first} {second}" == title
    assert abs(len(first) - len(second)) < 10
    long = "Conv2dThenLinear_" + "1" * 40
    assert long in theme.wrapped(f"{long} is the best network of all that were ever trained here", 10)[0]


def drawn(fig):
    """Return the figure as SVG whose texts are texts."""
    file = StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        fig.savefig(file, format="svg")
    return file.getvalue()


@pytest.mark.parametrize("name", ["$x_{$", "a$b$c", r"5 \$ and $6", "$"])
def test_a_dollar_in_a_name_begins_no_formula(name):
    with theme.theme():
        fig = Figure()
        ax = fig.subplots()
        ax.set_xticks([0], [theme.plain(name)])
    assert drawn(fig).count(f">{name}<") == 1
    with theme.theme():
        fig = theme.finish(Figure(), f"{name} is best", f"not {name}")
    svg = drawn(fig)
    assert f">{name} is best<" in svg
    assert f">not {name}<" in svg
    assert fig.get_suptitle() == f"{name} is best"  # the report's words for who can't see it


def test_black_or_white_is_readable_on_every_colour():
    def luminance(c):
        return np.dot(
            [0.2126, 0.7152, 0.0722], [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in c]
        )

    for colour in mpl.colormaps["cividis"](np.linspace(0, 1, 50))[:, :3]:
        a, b = sorted(luminance(to_rgb(c)) for c in (colour, theme.readable_on(colour)))
        assert (b + 0.05) / (a + 0.05) >= 4.5  # what WCAG 2 asks of small text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.6, 30, ["0.5", "1", "2", "5", "10", "20", "50"]),
        (3, 5000, ["1", "10", "100", "1,000", "10,000"]),
        (10, 5e8, None),
    ],
)
def test_ticks_of_a_log_axis_are_plain_numbers_where_values_are_near(low, high, ticks):
    with theme.theme():
        ax = Figure().subplots()
        ax.plot([low, high], [1, 2])
        ax.set_xscale("log")
        theme.log_axis(ax.xaxis, low, high)
        ax.figure.draw_without_rendering()
        labels = [t.get_text() for t in ax.get_xticklabels()]
    if ticks is None:
        assert any("10^" in label for label in labels)
    else:
        assert set(ticks) <= set(labels)
        assert not any("$" in label for label in labels)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theme") / "run"
    plant(folder, 12, 60, epochs=1, classes=12)
    return Run(folder)


def test_image_grid_draws_each_image_and_the_share_of_votes(run):
    label = int(run.labels()[7])
    votes = np.zeros((2, 12))
    votes[0, label], votes[0, (label + 1) % 12] = 3, 1
    votes[1, int(run.labels()[9])] = 4
    fig = image_grid(run, [7, 9], ["one", "two"], votes)
    ax = fig.axes[0]
    assert np.array_equal(ax.images[0].get_array(), run.image(7))
    assert np.array_equal(ax.images[1].get_array(), run.image(9))
    heights = sorted(round(p.get_height() / BAR, 6) for p in ax.patches)
    assert [h for h in heights if h] == [0.25, 0.75, 1.0]
    right = [p for p in ax.patches if p.get_height() and p.get_facecolor()[:3] == to_rgb(theme.RIGHT)]
    assert [round(p.get_height() / BAR, 6) for p in right] == [0.75, 1.0]
    assert f"no. 7: {label}\none" in {t.get_text() for t in ax.texts}


@pytest.mark.parametrize(("samples", "columns"), [(1, 1), (3, 3), (4, 4), (6, 6), (7, 4), (10, 5), (18, 6)])
def test_image_grid_has_rows_of_the_same_length_in_the_middle(run, samples, columns):
    fig = image_grid(run, range(samples), [""] * samples, np.ones((samples, 12)), title="What is it?")
    ax = fig.axes[0]
    extents = [image.get_extent() for image in ax.images]
    left = sorted({round(x, 6) for x, *_ in extents})
    assert len(left) == columns
    assert 0 < left[0] < 10 - max(x for _, x, *_ in extents) + 0.5
    assert 0.2 < fig.get_size_inches()[1] - max(y for *_, y in extents) < 1
    assert all(a[1] < b[0] for a, b in pairwise(extents[:columns]))
    assert fig.get_suptitle() == "What is it?"
    fig.draw_without_rendering()
    above = fig.get_window_extent().y1 - fig._suptitle.get_window_extent().y1
    assert 0 < above < 0.2 * fig.dpi  # however high the figure is


def test_image_grid_draws_names_with_dollars_as_they_are(run):
    names = [*run.classes]
    try:
        run.manifest["classes"] = ["$x_{$" if i % 2 else "a$b$c" for i in range(12)]
        svg = drawn(image_grid(run, [0, 1, 2, 3], ["$x_{$ or\na$b$c"] * 4, np.ones((4, 12))))
    finally:
        run.manifest["classes"] = names
    assert svg.count(">$x_{$ or<") == 4
    assert ">a$b$c<" in svg  # of a caption
    assert ">$x_{$<" in svg  # of a bar


def test_image_grid_of_nothing_and_of_colour_images(run, tmp_path):
    assert "There is none." in {t.get_text() for t in image_grid(run, [], []).axes[0].texts}
    plant(tmp_path / "run", 12, 60, epochs=1, shape=(3, 8, 8))
    colour = Run(tmp_path / "run")
    assert image_grid(colour, [0], ["x"]).axes[0].images[0].get_array().shape == (8, 8, 3)


def test_small_print_and_a_legend_below_do_not_cover_each_other():
    with theme.theme():
        fig = Figure(figsize=(6, 4))
        ax = fig.subplots()
        for i in range(5):
            ax.plot([0, 1], [i, 1], label=f"a line with a long name, number {i}")
        theme.legend_below(fig, ax, columns=2)
        theme.finish(fig, "Title", "3 good students of 45 (at least 80 % in every attempt)")
        fig.draw_without_rendering()
    small = next(t for t in fig.findobj(Text) if t.get_text().startswith("3 good students")).get_window_extent()
    assert small.y0 >= 0
    assert not any(small.overlaps(t.get_window_extent()) for t in fig.legends[0].get_texts())
    assert not small.overlaps(ax.get_tightbbox())


def test_captions_and_bars_of_named_classes_do_not_cover_each_other(run):
    names = [*run.classes]
    long = ["long sleeved pullover", "trouser and jeans", "ankle boots (high)", "handbag or shoulder bag"]
    votes = np.zeros((12, 12))
    votes[:, 0], votes[:, 1], votes[:, 2] = 5, 4, 1
    try:
        run.manifest["classes"] = [long[i % 4] for i in range(12)]
        fig = image_grid(run, range(12), [f"100 % of them:\ncalled {long[i % 4]}" for i in range(12)], votes, title="T")
    finally:
        run.manifest["classes"] = names
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= fig.bbox.x1 for box in boxes)
    assert {"50 %", "40 %", "10 %"} <= {text.get_text() for text in fig.axes[0].texts}


def test_characters_that_the_font_lacks_are_drawn_without_a_word(recwarn, tmp_path):
    def draw():
        figure = Figure()
        figure.subplots().set_title("\x00 \U000e0041 漢字")
        return figure

    Answer(pd.DataFrame(), "", draw).save(tmp_path / "figure.png")
    assert [str(warning.message) for warning in recwarn] == []
