"""The live class in a real browser: what it answers, to what, and what people do on the board."""

import json
from importlib.resources import files
from urllib.parse import quote

import numpy as np
import pytest
from browsing import Keys
from PIL import Image, ImageDraw
from trained import FAMILIES, said_by_torch, untrained_weights

from netpick.exam import plant
from netpick.exam.run import Run

pytestmark = pytest.mark.browser

THREE = [
    *((0.3, 0.2), (0.4, 0.13), (0.55, 0.12), (0.66, 0.2), (0.66, 0.32), (0.58, 0.42), (0.45, 0.47)),
    *((0.6, 0.52), (0.7, 0.62), (0.7, 0.75), (0.6, 0.86), (0.42, 0.88), (0.28, 0.8)),
]
ASK = """
const [count, done] = arguments;
(async () => {
  const [steps, weights, numbers, images] = await Promise.all(
    ['live_steps', 'live_weights', 'live_numbers', 'images'].map(name => blocks.get(name)));
  const pupils = carriedNetworks(steps, new Int8Array(weights.buffer), numbers), [H, W, C] = head.image, out = [];
  for (let s = 0; s < count; s++) {
    const image = new Float32Array(C * H * W), start = s * H * W;
    for (let c = 0, o = 0; c < C; c++) for (let i = 0; i < H * W; i++) image[o++] = images[(start + i) * C + c] / 255;
    out.push(pupils.map(pupil => [...answerOf(pupil, image).scores]));
  }
  return out;
})().then(done);
"""


@pytest.fixture(scope="module")
def run(trained):
    return Run(trained)


@pytest.fixture(scope="module")
def the_page(page_of, run):
    return page_of(run.path)


@pytest.fixture(scope="module")
def carried(the_page):
    return the_page.js("return JSON.parse(document.getElementById('head').textContent).live.networks")


def source(name):
    return (files("netpick.report.explorer") / "page" / f"{name}.js").read_text("utf-8")


def answered(page):
    page.until("return document.getElementById('view-live').dataset.state === 'answered'", 60)
    return page.settle()


def drawn(page, *path):
    page.drag(".board", *path)
    return answered(page)


def pixels(page, css, *box):
    """The colours of part of a canvas, without how opaque they are."""
    return page.js(
        "const [css, ...box] = arguments, canvas = document.querySelector(css);"
        "return [...canvas.getContext('2d').getImageData(...box).data].filter((_, i) => i % 4 < 3)",
        css, *box,
    )  # fmt: skip


def votes(page):
    return page.js("return [...document.querySelectorAll('.live .vote')].map(each => +each.dataset.votes)")


def most(page):
    return page.text(".verdict strong")


def of_drawing(drawing):
    return f"#live={quote(json.dumps(drawing))}"


def test_answers_in_eight_bits_are_those_of_torch(page, run, carried):
    assert len(run.labels()) == 500
    page.driver.set_script_timeout(120)
    sources = "".join(map(source, ("blocks", "forward", "carried")))
    given = np.array(page.driver.execute_async_script(sources + ASK, 500)).transpose(1, 0, 2)
    wanted = said_by_torch(run, carried)
    assert given.shape == wanted.shape == (17, 500, 10)
    assert (given.argmax(axis=2) == wanted.argmax(axis=2)).mean() >= 0.995
    assert np.abs(np.exp(given) - np.exp(wanted)).mean() < 0.005


def test_who_can_not_answer_is_named_with_the_reason(page, run, carried):
    assert sorted(carried) == sorted(set(run.networks["name"]) - {"Mean", "Steep"})
    page.js("document.querySelector('.left-out').open = true")
    text = page.text(".left-out")
    assert "2 networks" in text
    assert "baseline:nearest_mean has no layers that could be run one by one: Mean" in text
    assert "its training ended as diverged: Steep" in text


def test_a_drawn_3_is_read_as_a_3_by_most(page):
    drawn(page, *THREE)
    given = votes(page)
    assert most(page) == "3"
    assert sum(given) == 17
    assert given[3] > 17 / 2
    assert f"{given[3]} of 17 networks say 3" in page.said()
    rows = page.rows("What each network says")
    assert sum(row[3] == "3" for row in rows) == given[3]


@pytest.mark.parametrize(("paper", "ink"), [("white", "#203080"), ("#111", "#eee")])
def test_so_is_an_image_of_a_3_whatever_its_colours(page, tmp_path, paper, ink):
    image = Image.new("RGB", (420, 640), paper)
    ImageDraw.Draw(image).line([(120 + 200 * x, 240 + 200 * y) for x, y in THREE], fill=ink, width=34, joint="curve")
    image.save(tmp_path / "three.png")
    page.find(".tools input[type=file]").send_keys(str(tmp_path / "three.png"))
    answered(page)
    assert most(page) == "3"


def test_what_is_no_image_is_said_and_changes_nothing(page, tmp_path):
    (tmp_path / "<b>no.png").write_text("no image")
    page.find(".tools input[type=file]").send_keys(str(tmp_path / "<b>no.png"))
    page.until("return document.getElementById('said').textContent.includes('<b>no.png is no image')")
    assert page.text(".verdict") == "Nothing is drawn yet."


def test_a_sample_is_answered_as_it_was_in_the_exam(page, run, carried):
    scores = run.scores(networks=carried)
    first, second = np.sort(scores, axis=2)[:, :, [-1, -2]].transpose(2, 0, 1)
    sample = int((first - second).min(axis=0).argmax())  # nobody hesitates
    page.open(of_drawing({"i": sample}))
    answered(page)
    assert votes(page) == np.bincount(scores[:, sample].argmax(axis=1), minlength=10).tolist()
    means = [
        float(each.split()[0]) / 100
        for each in page.js(
            "return [...document.querySelectorAll('.live .vote')].map(each => each.lastChild.textContent)"
        )
    ]
    np.testing.assert_allclose(means, np.exp(scores[:, sample]).mean(axis=0), atol=0.01)


def test_votes_by_computation_are_those_of_their_networks(page, run, carried):
    drawn(page, *THREE)
    family = dict(zip(run.networks["name"], run.networks["computation"], strict=True))
    wanted = {}
    for name, *_, said, _ in page.rows("What each network says"):
        wanted[family[name], said] = wanted.get((family[name], said), 0) + 1
    cells = page.js(
        "return [...document.querySelectorAll('.families .cell')]"
        ".map(c => [c.dataset.computation, c.dataset.class, c.innerText])"
    )
    assert {(kind, c): int(n) for kind, c, n in cells if n} == wanted
    assert {kind for kind, *_ in cells} == set(FAMILIES)


def test_the_selection_votes_and_a_class_selects_its_voters(page):
    drawn(page, *THREE)
    page.js("netpick.set({filters: {c: ['Conv2d', 'ResNetStyle']}})")
    page.settle()
    assert sum(votes(page)) == 4
    page.js("netpick.set({filters: {}})")
    page.settle()
    said = {row[0]: row[3] for row in page.rows("What each network says")}
    page.find(".live .vote[data-class='3']").click()
    page.settle()
    assert page.selected() == {name for name, given in said.items() if given == "3"}
    page.js("netpick.set({filters: {q: 'Mean'}})")
    page.settle()
    assert "all 17 that do are asked" in page.text(".asked")
    assert sum(votes(page)) == 17


def test_samples_that_were_voted_on_most_alike_come_first(page, run, carried):
    drawn(page, *THREE)
    table = np.stack([np.bincount(column, minlength=10) for column in run.predicted(networks=carried).T])
    apart = np.abs(table - votes(page)).sum(axis=1)
    nearest = np.argsort(apart, kind="stable")[:12].tolist()
    labels = page.js("return [...document.querySelectorAll('.alike .tile')].map(each => each.title)")
    assert labels == [f"no. {s}, {run.classes[run.labels()[s]]}" for s in nearest]
    page.find(".alike .tile").click()
    page.settle()
    assert f"no. {nearest[0]}," in page.text("#view-sample h2")
    page.press("Lay the sample here")
    answered(page)
    assert votes(page) == table[nearest[0]].tolist()


def test_keys_alone_draw_undo_and_clear(page):
    board = page.find(".board")
    page.js("arguments[0].focus()", board)
    page.keys(*[Keys.ARROW_UP] * 3)
    page.keys(*[Keys.ARROW_DOWN] * 6, held=Keys.SPACE)
    answered(page)
    assert most(page) == "1"
    page.keys(Keys.SPACE)
    answered(page)
    assert page.js("return netpick.state.live.d.length") == 2
    page.keys(Keys.BACKSPACE)
    assert page.js("return netpick.state.live.d.length") == 1
    page.keys(Keys.DELETE)
    page.until("return document.querySelector('.verdict').textContent === 'Nothing is drawn yet.'")


def test_a_link_reopens_the_drawing_and_back_undoes_a_line(page):
    drawn(page, *THREE)
    before, url = votes(page), page.driver.current_url
    drawn(page, (0.1, 0.9), (0.9, 0.1))
    page.driver.back()
    page.until("return netpick.state.live.d.length === 1")
    answered(page)
    assert votes(page) == before
    page.open(url.partition("#")[1] + url.partition("#")[2])
    answered(page)
    assert votes(page) == before


@pytest.mark.parametrize("live", [
    *("{", "7", "null", "[]", '{"d": 3}', '{"d": [3, null, [1]]}', '{"d": [["x", "AAAA"], [9, "%%"], [9, "AAAA", 1]]}'),
    *('{"i": 1e9, "p": "length"}', '{"i": -1, "p": 0}'),
])  # fmt: skip
def test_an_address_that_is_no_drawing_draws_nothing(page, live):
    page.open(f"#live={quote(live)}")
    assert page.text(".verdict") == "Nothing is drawn yet."


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True), (2560, False)])
def test_it_fits_every_screen(page, width, dark):
    page.size(width, 900, dark=dark)
    drawn(page, *THREE)
    cut = page.js(
        """const cut = e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
        return [...document.querySelectorAll('#view-live *')].filter(e => !e.closest('.scroll') && cut(e))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    assert most(page) == "3"


def test_colours_and_two_classes(page_of, tmp_path):
    plant(tmp_path / "run", 14, 60, shape=(3, 6, 9), classes=2, epochs=1)
    untrained_weights(tmp_path / "run")
    run, page = Run(tmp_path / "run"), page_of(tmp_path / "run")
    names = page.js("return JSON.parse(document.getElementById('head').textContent).live.networks")
    assert len(names) == 14
    first, second = np.exp(said_by_torch(run, names)).transpose(2, 0, 1)
    page.open(of_drawing({"i": 7}))
    answered(page)
    sure = page.js(
        "return [...document.querySelectorAll('.live .vote')].map(each => parseFloat(each.lastChild.innerText))"
    )
    assert sure == pytest.approx([100 * first[:, 7].mean(), 100 * second[:, 7].mean()], abs=0.5)
    shown = pixels(page, ".seen", 0, 0, 9, 6)
    assert shown == run.image(7).ravel().tolist()
    page.press("Clear")
    page.js("document.querySelector('.tools input[type=color]').value = '#00ff80'")
    drawn(page, (0.2, 0.5), (0.8, 0.5))
    assert pixels(page, ".board", 84, 56, 1, 1) == [0, 255, 128]
    assert page.errors() == []


def test_none_may_travel_at_all(page_of, run):
    page = page_of(run.path, live_networks=0)
    assert page.js("return document.getElementById('view-live').hidden")
    assert page.errors() == []
