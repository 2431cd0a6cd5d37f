"""The page as a whole: its address, the keyboard, all widths, and what strangers may have put into a run."""

import json
import re
import time

import pytest
from browsing import Keys
from manifests import unsealed

from netpick.exam import best, labelled, plant, students
from netpick.exam.run import Run

pytestmark = pytest.mark.browser

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"

FAINT = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = text => rgb(text).slice(0, 3).map(c => c / 255)
  .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const canvas = document.createElement('canvas'), pixel = canvas.getContext('2d', {willReadFrequently: true});
const plain = c => { pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = c; pixel.fillRect(0, 0, 1, 1);
  return `rgb(${[...pixel.getImageData(0, 0, 1, 1).data].join()})`; };
const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (c !== 'rgba(0, 0, 0, 0)') return plain(c); } return 'rgb(255,255,255,1)'; };
const written = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
return [...document.body.querySelectorAll('*')].filter(e => written(e) && e.offsetParent && !e.disabled &&
    !['SCRIPT', 'STYLE', 'OPTION', 'NOSCRIPT'].includes(e.tagName) && !e.closest(':disabled')).filter(e => {
  const [a, b] = [light(plain(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  return (a + .05) / (b + .05) < 4.5;
}).map(e => e.outerHTML.slice(0, 90))
"""

CUT = """
return [...document.body.querySelectorAll('*')].filter(e => e.offsetParent && !e.closest('.scroll') &&
    e.getBoundingClientRect().right > arguments[0] + 1).map(e => e.outerHTML.slice(0, 90))
"""

NAMELESS = """
return [...document.querySelectorAll('button, input, select, [tabindex="0"], [role]')].filter(e => e.offsetParent)
  .filter(e => !(e.getAttribute('aria-label') || e.innerText?.trim() || e.labels?.length))
  .map(e => e.outerHTML.slice(0, 90))
"""


def what_is_seen(page):
    names = ("#selected", "#view-sample h2", "#view-network h2", "#view-epochs output", "#wall-note")
    return [*map(page.text, names), page.selected(), page.table("#view-committee .scroll table")]


def test_an_address_opens_what_was_seen_and_back_undoes(page):
    begun = what_is_seen(page)
    page.press("Conv2d")
    page.choose("Order", "entropy of the votes").choose("Across", "params")
    page.drag("#scatter", (0.5, 0.02), (0.8, 0.5), (0.99, 0.88))
    page.type("#wall", Keys.HOME)
    page.type("#epoch", Keys.HOME)
    page.until("return location.hash.includes('e=0')")
    seen, address = what_is_seen(page), page.js("return location.hash")
    assert seen != begun
    page.open(address)
    assert what_is_seen(page) == seen

    page.open()
    page.press("Linear")
    page.press("weird")
    page.driver.back()
    page.until("return !location.hash.includes('only')")
    assert page.settle().how_many() < 38
    assert page.find("#view-wall button.chip").get_attribute("aria-pressed") == "false"
    page.driver.back()
    page.until("return netpick.state.selection.every(Boolean)")
    assert what_is_seen(page.settle()) == begun
    page.driver.forward()
    page.until("return !netpick.state.selection.every(Boolean)")


@pytest.mark.parametrize(
    "fragment", ["#s=%%%&e=99&i=x&n=-4&x=nothing&by=by", "#f={%22r%22:{%22macs%22:7}}&only=[1]&p={}", "#f=[&p=3&only=4"]
)
def test_an_address_that_makes_no_sense_is_as_none(page, fragment):
    page.open(fragment)
    assert page.how_many() == 38
    assert page.text("#view-epochs output") == "3 of 3"


def test_the_focus_stays_where_something_was_pressed(page):
    page.open("#i=3&n=5")
    for view, css in (("sample", ".vote:enabled"), ("sample", "[data-reads]:enabled"), ("network", "li .link + .link")):
        page.js("document.querySelector(arguments[0]).focus()", f"#view-{view} {css}")
        page.keys(Keys.ENTER)
        assert page.js("return document.activeElement.closest('section').id") == f"view-{view}"
    page.rows("The samples as a table")
    page.js("[...document.querySelectorAll('#view-wall .paging button')].at(-1).focus()")
    page.keys(Keys.ENTER, Keys.ENTER)
    assert "51 to 75" in page.text("#view-wall .paging")


def test_a_page_that_nobody_touches_draws_nothing(page):
    page.js(
        """window.drawn = 1;
        const {prototype} = CanvasRenderingContext2D, real = prototype.clearRect;
        prototype.clearRect = function (...box) { window.drawn++; return real.apply(this, box); };"""
    )
    end = time.monotonic() + 10
    while page.js("const {drawn} = window; window.drawn = 0; return drawn"):
        assert time.monotonic() < end
        time.sleep(0.3)


def test_all_is_reached_by_the_keyboard(page):
    page.open("#i=3&n=5")
    page.js(
        """window.reached = [];
        document.addEventListener('focusin', ({target: e}) => reached.push(
            [e.closest('section')?.id ?? '', e.id, parseFloat(getComputedStyle(e).outlineWidth)]));"""
    )
    page.keys(*[Keys.TAB] * 250)
    reached = page.js("return window.reached")
    assert [one for one in reached if one[2] < 2] == []  # where the focus is, is seen
    assert {one[0] for one in reached} >= {
        "view-epochs", "view-networks", "view-wall", "view-sample", "view-network", "view-committee",
    }  # fmt: skip
    assert {"scatter", "wall", "epoch"} <= {one[1] for one in reached}
    assert page.js(NAMELESS) == []


@pytest.mark.parametrize(
    ("width", "scale", "dark"), [(390, 2, False), (640, 2, True), (1280, 1, False), (3840, 1, True)]
)
def test_nothing_is_cut_off_and_all_can_be_read(page, width, scale, dark):
    """640 pixels is a screen of 1280 at a zoom of 200 %."""
    page.size(width, 900, scale, dark)
    page.open("#i=3&n=5&o=9")
    space = page.js("return document.documentElement.clientWidth")
    assert page.js("return document.documentElement.scrollWidth") <= space
    assert page.js(CUT, space) == []
    assert page.js(FAINT) == []
    page.open("#i=3&n=5")
    assert page.js(FAINT) == []


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    plant(folder, 14, 60, classes=3, epochs=2, shape=(1, 10, 10))
    manifest = folder / "run.toml"
    text = re.sub(
        r"^classes = \[.*?\]", lambda _: f"classes = {json.dumps([EVIL, '<b>x', '&amp; ]]> ${1}'])}",
        unsealed(manifest), flags=re.DOTALL | re.MULTILINE,
    )  # fmt: skip
    manifest.write_text(re.sub(r'^title = ".*"$', lambda _: f"title = {json.dumps(EVIL)}", text, flags=re.MULTILINE))
    return folder


def test_what_comes_from_strangers_is_text(page_of, hostile):
    page = page_of(hostile)
    page.requests()
    page.open("#i=3&n=5")
    assert page.text("h1") == EVIL
    assert EVIL in page.text("#view-committee")
    for name in ("The networks as a table", "The samples as a table"):
        page.rows(name)
    page.type("#wall", Keys.HOME)
    assert EVIL in page.text("#view-sample")
    page.size(390, 900)
    assert page.js(CUT, 390) == []
    assert page.js("return Math.max(...[...document.querySelectorAll('th, .tile')].map(e => e.offsetHeight))") < 120
    assert page.js("return window.hacked") is None
    assert page.js("return document.querySelectorAll('b, img').length") == 0
    assert [url for url in page.requests() if not url.startswith((page.url, "about:", "data:,"))] == []
    assert page.errors() == []


def test_the_policy_lets_nothing_in_and_nothing_out(page):
    page.requests()
    page.js(
        """for (const [tag, key] of [['img', 'src'], ['script', 'src'], ['iframe', 'src'], ['link', 'href']]) {
            const e = document.createElement(tag); e.rel = 'stylesheet'; e[key] = 'http://127.0.0.1:9/x';
            document.body.append(e); }
        const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s);"""
    )
    refused = page.driver.execute_async_script(
        "fetch('http://127.0.0.1:9/x').then(() => arguments[0](false), () => arguments[0](true))"
    )
    assert refused
    assert page.js("return window.hacked") is None
    assert any("content security policy" in error.lower().replace("-", " ") for error in page.errors())


def test_a_page_opens_with_the_hardest_sample_and_the_best_network(page, folder, given, labels):
    frame = students(Run(folder))
    right = (given.to_numpy() == labels).sum(axis=0)
    sample = int(right.argmin())
    assert page.js("return location.hash") == ""
    assert page.text("#view-sample h2") == f"Sample no. {sample}, {Run(folder).classes[labels[sample]]}"
    assert page.text("#view-network h2") == best(frame)
    assert labelled(Run(folder), frame) in page.text("#view-network")
    page.press("Conv2d")
    assert page.js("return location.hash").startswith("#f=")
    page.driver.back()
    page.until("return location.hash === ''")
    assert page.settle().how_many() == len(frame)


def test_the_best_is_said_to_be_flattered_and_is_not_tested_on_what_chose_it(page, folder):
    frame = students(Run(folder))
    label, names = labelled(Run(folder), frame), Run(folder).networks["name"].tolist()
    rows = {row[0].partition(",")[0]: row[0] for row in page.table("#view-committee .scroll table")}
    assert label in rows["Its best member"]
    page.press("Conv2d")
    rows = {row[0].partition(",")[0]: row[0] for row in page.table("#view-committee .scroll table")}
    many = (frame["computation"] == "Conv2d").sum()
    assert f"best of {many} on these samples, which flatters it" in rows["Its best member"]
    assert "selects on these very samples" in page.text("#view-committee")
    page.type("#view-network label:nth-of-type(2) input", next(n for n in names if n != best(frame)), Keys.ENTER)
    assert "p = " not in page.text("#paired")
    assert f"{best(frame)} is {label}" in page.text("#view-network")
