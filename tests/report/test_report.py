import base64
import errno
import gc
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import weakref
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from netpick.core.errors import NetpickError, RunError, WorkError
from netpick.exam import pick, plant, questions
from netpick.exam.answer import Answer
from netpick.exam.run import Run
from netpick.report.drawings import LARGEST, drawing
from netpick.report.figures import BYTES, WIDE, Written, each_figure, embedded, shrunk, write_figures
from netpick.report.markup import html_pages, markdown, markdown_pages, parts
from netpick.report.page import write_markdown, write_report

SOME = ("scores", "weird")
"""Few enough to draw for real in a moment."""
EVIL = "<script>alert('&')</script>"

BROKEN = {
    "boom": '"""What raises?"""\ndef ask(run):\n    1 / 0\n',
    "late": """
        '''What raises only when the figure is written?'''
        from matplotlib.figure import Figure
        from netpick.exam import Answer
        def ask(run):
            def draw():
                fig = Figure()
                fig.text(0, 0, "$no such thing: \\\\nothing$")
                return fig
            return Answer(run.networks, "All is well.", draw)
        """,
    "listed": """
        '''What gives a list in place of a table?'''
        from matplotlib.figure import Figure
        from netpick.exam import Answer
        def ask(run):
            return Answer([1, 2], "Two.", Figure)
        """,
    "leaves": '"""What leaves?"""\nimport sys\ndef ask(run):\n    sys.exit(3)\n',
}
HOSTILE = f"""
    '''Is {EVIL} | *this* shown?

    With `code` and {EVIL}.

    Columns
    -------
    a|b : {EVIL}
        and more
    '''
    import pandas as pd
    from matplotlib.figure import Figure
    from netpick.exam import Answer
    def ask(run):
        def draw():
            fig = Figure((3, 2))
            fig.suptitle({EVIL!r})
            return fig
        frame = pd.DataFrame({{{EVIL!r}: [{EVIL!r}, "a|b"], "n": [1.5, None]}})
        return Answer(frame, {f"{EVIL} 50 % [x](javascript:y) ![z](q)"!r}, draw, {EVIL!r} + ".")
    """


class Page(HTMLParser):
    """Reads a page, and fails where tags are not closed in order, or an attribute could act."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.headings, self.text, self.found = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert not [name for name in attrs if name.startswith("on")]
        self.found.append((tag, attrs))
        if "id" in attrs:
            assert attrs["id"] not in self.ids
            self.ids.append(attrs["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, []))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.headings and self.open and self.open[-1] == self.headings[-1][0]:
            self.headings[-1][1].append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    plant(folder, 14, 60, epochs=2, failed=1, diverged=1, pending=1)
    return folder


@pytest.fixture
def run(folder):
    return Run(folder)


@pytest.fixture(scope="module")
def answers(folder):
    """The answer of each question, or what it raised instead."""
    out, run = {}, Run(folder)
    for name in questions.questions():
        try:
            out[name] = questions.ask(run, name)
        except NetpickError as e:
            out[name] = e
    out["pick"] = pick(run)
    return out


@pytest.fixture
def asked_before(answers, monkeypatch, blank_figures):
    """Answer all questions in a moment, with figures that are blank."""

    def ask(run, question):
        if isinstance(answers[question.name], NetpickError):
            raise answers[question.name]
        return answers[question.name]

    monkeypatch.setattr(questions, "ask", ask)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # most of the time, where all else is so fast


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Stand in an empty folder, and write and load modules of the user's own ./analysis there."""
    monkeypatch.chdir(tmp_path)

    def write(**modules):
        (tmp_path / "analysis").mkdir()
        for name, text in modules.items():
            (tmp_path / "analysis" / f"{name}.py").write_text(textwrap.dedent(text))
        return [questions.own_question(f"analysis/{name}.py") for name in modules]

    return write


@pytest.fixture
def blank_figures(monkeypatch):
    """Draw nothing, so that all questions can be asked in a moment; gives weak references to the figures."""
    drawn = []

    def figure(self):
        fig = Figure((2, 1))
        drawn.append(weakref.ref(fig))
        return fig

    monkeypatch.setattr(Answer, "figure", figure)
    return drawn


# ---------------------------------------------------------------- figures


def test_figures_are_written_and_answers_recorded(run, tmp_path):
    seen = []
    written = write_figures(run, tmp_path / "a/b", names=SOME, on_progress=lambda *args: seen.append(args))
    assert [w.name for w in written] == list(SOME)
    assert seen == [("scores", 1, 2), ("weird", 2, 2)]
    for one in written:
        answer = run.ask(one.name)
        pd.testing.assert_frame_equal(one.table, answer.table)
        assert (one.text, one.note, one.error) == (answer.text, answer.note, "")
        assert one.title == questions.find(one.name).title
        assert one.title in one.alt
        assert one.seconds > 0
        assert one.files == (tmp_path / f"a/b/{one.name}.svg", tmp_path / f"a/b/{one.name}.png")
        assert ET.parse(one.file("svg")).getroot().tag.endswith("}svg")
        with Image.open(one.file("png")) as image:
            assert image.width == 1200
            assert image.convert("L").getextrema()[0] < 128  # something is on it
        for path in one.files:  # as if it had been asked for alone
            assert path.read_bytes() == answer.save(tmp_path / path.name).read_bytes()
        assert one.file("pdf") is None


def test_no_formats_asks_and_draws_nothing(run, tmp_path, blank_figures):
    written = write_figures(run, tmp_path / "none", (), ["scores", "scores"])
    assert [(w.name, w.files) for w in written] == [("scores", ())]
    assert written[0].text
    assert blank_figures == []
    assert not (tmp_path / "none").exists()


def test_one_question_that_fails_is_recorded_and_the_others_go_on(run, tmp_path, own, blank_figures):
    boom, listed, leaves = own(boom=BROKEN["boom"], listed=BROKEN["listed"], leaves=BROKEN["leaves"])
    (tmp_path / "boom.svg").write_text("of an earlier run")
    names = [boom, "scores", listed, "weird", leaves, "versus"]
    written = {w.name: w for w in write_figures(run, tmp_path, names=names)}
    assert list(written) == ["boom", "scores", "listed", "weird", "leaves", "versus"]
    assert [name for name, w in written.items() if w.error] == ["boom", "listed", "leaves"]
    assert "boom.py, line 3) failed: ZeroDivisionError: division by zero" in written["boom"].error
    assert "DataFrame, got a list" in written["listed"].error
    assert "leaves.py, line 4) failed: SystemExit: 3" in written["leaves"].error
    assert not any("\n" in w.error for w in written.values())
    assert written["boom"].files == ()
    assert written["boom"].title == "What raises?"
    assert not (tmp_path / "boom.svg").exists()
    assert {p.stem for p in tmp_path.glob("*.png")} == {"scores", "weird", "versus"}


def test_questions_that_lie_where_the_user_stands_are_not_asked(run, tmp_path, asked_before):
    (tmp_path / "analysis").mkdir()
    for name in ("scores", "mine"):
        (tmp_path / "analysis" / f"{name}.py").write_text("open('executed', 'w').close()")
    assert [w.name for w in write_figures(run, tmp_path / "out", ())] == list(questions.questions())
    write_report(run, tmp_path / "page.html")
    assert not (tmp_path / "executed").exists()


def test_what_fails_only_when_the_file_is_written_is_recorded_too(run, tmp_path, own):
    late, scores = write_figures(run, tmp_path, names=[*own(late=BROKEN["late"]), "scores"])
    assert "question 'late'" in late.error
    assert "ValueError" in late.error
    assert not list(tmp_path.glob("late.*"))
    assert scores.error == ""


def test_figures_are_let_go_between_questions(run, tmp_path, blank_figures):
    alive = []
    for _ in each_figure(run, tmp_path, ("png",), SOME):
        alive.append(sum(ref() is not None for ref in blank_figures))
    assert alive == [0, 0]
    assert blank_figures


def test_a_bug_of_ours_is_shown_as_one_with_its_line(run, tmp_path, monkeypatch):
    def ask(run, name, **options):
        raise KeyError("nothing here")

    monkeypatch.setattr(questions, "ask", ask)
    (one,) = write_figures(run, tmp_path, names=["scores"])
    assert one.error == "question 'scores' (scores.py) failed: KeyError: 'nothing here'"


def test_scores_that_were_not_kept_cost_those_questions_alone(tmp_path, blank_figures):
    plant(tmp_path / "run", 12, 50, epochs=1, scores="none")
    written = write_figures(Run(tmp_path / "run"), tmp_path / "f", ("svg",), ["sets", "scores", "weird"])
    assert "keeps no scores" in written[0].error
    assert written[1].error == written[2].error == ""


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"formats": ["gif"]}, "no format 'gif'.*svg, .png|svg, png"),
        ({"formats": ["pgn"]}, r"did you mean 'png'\?"),
        ({"names": ["wierd"]}, r"no question 'wierd' \(did you mean 'weird'\?\)"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(run, tmp_path, kwargs, message):
    with pytest.raises(NetpickError, match=message):
        each_figure(run, tmp_path / "f", **kwargs)  # at once, not at the first `next`
    assert not (tmp_path / "f").exists()


def test_a_run_without_finished_trainings_is_refused_once(tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1, pending=0)
    for path in (tmp_path / "run/trainings").glob("*"):
        path.unlink()
    with pytest.raises(RunError, match="no finished training"):
        write_report(Run(tmp_path / "run"), tmp_path / "page.html")
    assert not list(tmp_path.glob("*page*"))


def test_unwritable_places_are_one_line_and_nothing_is_asked(run, tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "ask", lambda *args: pytest.fail("asked"))
    file = tmp_path / "file"
    file.write_text("")
    attempts = {
        f"{file} can't be made a folder": lambda: write_figures(run, file),
        f"{file}/x can't be made a folder": lambda: write_figures(run, file / "x"),
        f"{file}/p.html can't be written": lambda: write_report(run, file / "p.html"),
        f"{tmp_path} is not a file": lambda: write_report(run, tmp_path),
        "/dev/null is not a file": lambda: write_report(run, "/dev/null"),
        f"{file}/p.md can't be written": lambda: write_markdown(run, file / "p.md", tmp_path / "i", "c"),
        f"{file} can't be made": lambda: write_markdown(run, tmp_path / "p.md", file, "c"),
        "rows is -1": lambda: write_report(run, tmp_path / "p.html", rows=-1),
    }
    for message, attempt in attempts.items():
        with pytest.raises(NetpickError, match=re.escape(message)) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_page_and_no_half_of_a_new_one(run, tmp_path, monkeypatch, blank_figures):
    page = tmp_path / "page.html"
    page.write_text("old")

    def full(file):
        os.ftruncate(file, os.fstat(file).st_size // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match=r"page\.html can't be written \(No space left on device\)"):
        write_report(run, page, names=["scores"])
    assert page.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_without_room_for_temporary_files_the_page_is_not_blamed(run, tmp_path, monkeypatch, blank_figures):
    import tempfile

    page = tmp_path / "page.html"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WorkError, match=r"the figures can't be kept among the temporary files .*gone.* TMPDIR") as said:
        write_report(run, page, names=["scores"])
    assert str(page) not in str(said.value)
    assert not page.exists()


# ---------------------------------------------------------------- images


def test_an_image_is_made_small_whatever_is_on_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (150, 240, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    data, size = shrunk(tmp_path / "noise.png", 120, 4000)
    assert len(data) <= 4000
    assert Image.open(BytesIO(data)).size == size
    assert 30 <= size[0] < 120
    assert size[0] / size[1] == pytest.approx(240 / 150, rel=0.03)
    assert shrunk(tmp_path / "noise.png", 120)[1] == (120, 75)


def test_few_colours_survive_exactly(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 20:40], pixels[:, 40:] = (0, 114, 178), (255, 194, 10)
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    data, size = shrunk(tmp_path / "flag.png")
    assert size == (60, 40)
    assert (np.asarray(Image.open(BytesIO(data)).convert("RGB")) == pixels).all()


@pytest.mark.parametrize(
    ("inside", "svg_stays"),
    [
        ("<text>a &lt; b</text>", True),
        (f"<g>{'g' * LARGEST}</g>", False),
        ("<script>alert(1)</script>", False),
        ("<g onload='alert(1)'/>", False),
        ("<a href='https://x.test'><text>x</text></a>", False),
        ("<use href='https://x.test/y.svg#z'/>", False),
        ("<image href='https://x.test/y.png'/>", False),
        ("<image href='data:image/svg+xml;base64,AA'/>", False),
        ("<rect style='fill: url(https://x.test)'/>", False),
        ("<foreignObject/>", False),
        ("<text>\x01</text>", False),  # no XML
    ],
)
def test_only_a_drawing_that_is_known_to_be_harmless_and_is_not_large_is_part_of_a_page(tmp_path, inside, svg_stays):
    svg, png = tmp_path / "x.svg", tmp_path / "x.png"
    svg.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 6"><metadata>m</metadata>{inside}</svg>')
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(png)
    (figure,) = Page(drawn := embedded(Written("x", "x?", files=(svg, png), alt="<b>'"))).found[:1]
    if svg_stays:
        assert drawn == """<svg viewBox="0 0 8 6" role="img" aria-label="&lt;b&gt;'"><text>a &lt; b</text></svg>"""
    else:
        assert figure[0] == "img"
        assert figure[1]["alt"] == "<b>'"
        assert (figure[1]["width"], figure[1]["height"]) == ("80", "60")
        assert base64.b64decode(figure[1]["src"].removeprefix("data:image/png;base64,")) == shrunk(png)[0]
    assert embedded(Written("x", "x?", error="no")) == ""


def test_what_refers_to_something_within_a_drawing_still_does_and_never_to_another_drawing():
    given = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 6">'
        '<defs><style>*{color: red}</style><clipPath id="c"><rect/></clipPath></defs><path id="m" d="M 0 0 \nz"/>'
        '<g id="unused" clip-path="url(#c)"><use xlink:href="#m"/></g></svg>'
    )
    one, two = (ET.fromstring(drawing(given.encode(), name, "alt")) for name in ("one", "two"))
    for name, root in (("one", one), ("two", two)):
        assert {e.get("id") for e in root.iter()} - {None} == {f"{name}-c", f"{name}-m"}
        assert root.find("g").attrib == {"clip-path": f"url(#{name}-c)"}
        assert root.find("g/use").get("href") == f"#{name}-m"
        assert not list(root.iter("style"))  # its rules would be those of the whole page


# ---------------------------------------------------------------- the HTML page


def test_every_question_is_on_the_page(run, tmp_path, asked_before):
    written = write_report(run, tmp_path / "new/page.html", run_as="runs/planted")
    text = (tmp_path / "new/page.html").read_text("utf-8")
    page = Page(text)
    known = questions.questions()
    assert [w.name for w in written] == ["pick", *known]
    assert all(w.files == () for w in written)
    assert sorted(i for i in page.ids if i in {"pick", *known}) == sorted(["pick", *known])
    assert [a["href"] for a in page.all("a")] == [f"#{i}" for i in page.ids]  # the contents, in order
    for one in written:
        assert page.words.count(one.title) >= 2  # in the contents, and over the answer
        asked = "pick runs/planted" if one.name == "pick" else f"ask runs/planted {one.name}"
        assert f"netpick {asked}" in page.words
        said = one.text or one.error
        assert " ".join(said.replace("`", "").split()) in page.words.replace("\N{NO-BREAK SPACE}", " ")
    images = [attrs for attrs in page.all("svg") if attrs["aria-label"]]
    assert len(images) == sum(not w.error for w in written)
    assert not list((tmp_path / "new").glob(".*"))


def test_the_page_begins_with_what_was_found_and_ends_with_the_run(run, tmp_path, asked_before):
    write_report(run, tmp_path / "page.html")
    write_markdown(run, tmp_path / "page.md", tmp_path / "images", "c")
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    outline = [(tag, "".join(text).strip()) for tag, text in page.headings]
    groups = {title: [each.title for each in held] for title, held in questions.groups().items()}
    assert [text for tag, text in outline if tag == "h2"] == ["What was found", *groups, "The run"]
    assert [text for _, text in outline[1:5]] == [
        "What was found", "Which network should one pick?", titles_of("strategies"), titles_of("weird"),
    ]  # fmt: skip
    under = ""
    for tag, text in outline[5:]:
        under = text if tag == "h2" else under
        if tag == "h3" and under in groups:
            assert text in groups[under]
    levels = [int(tag[1]) for tag, _ in outline]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for words in (page.words, (tmp_path / "page.md").read_text("utf-8")):
        assert words.index("Pareto front") < words.index(titles_of("scores"), words.index("Pareto front"))
        assert words.rindex("Trainings") > words.rindex(titles_of("compare"))


def titles_of(name):
    return questions.find(name).title


def test_the_page_says_what_the_data_are_and_which_network_to_pick(run, tmp_path, blank_figures):
    run.manifest["template"] = {"description": f"Shoes & {EVIL}"}
    picked = pick(run)
    write_report(run, tmp_path / "page.html", rows=50)
    text = (tmp_path / "page.html").read_text("utf-8")
    words = Page(text).words
    assert words.index(f"Shoes & {EVIL}") < words.index("What was found")
    assert words.index("planted: 60 test samples of 1 × 8 × 8") < words.index("What was found")
    section = text[text.index('<section id="pick"') : text.index('<section id="strategies"')]
    (marked,) = re.findall(r'<tr class="marked">(.*?)</tr>', section, re.DOTALL)
    assert f"<td>{picked.name}</td>" in marked
    assert f"{100 * picked.table.set_index('name')['accuracy'][picked.name]:.2f} %" in marked


def test_the_page_needs_nothing_else(run, tmp_path):
    write_report(run, tmp_path / "page.html", folder=tmp_path / "kept", names=SOME)
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.found}.isdisjoint({"script", "iframe", "object", "embed", "form"})
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert "default-src 'none'" in text
    for tag, attrs in page.found:
        for key in ("src", "href"):
            if key in attrs:
                assert attrs[key].startswith("#" if tag in ("a", "use") else "data:"), (tag, attrs[key][:40])
    assert not re.search(r"url\((?!#)|@import|https?:", re.sub(r"base64,[\w+/=]+", "", text))
    figures = page.all("svg")
    assert len(figures) == len(SOME)
    assert all(questions.find(name).title in attrs["aria-label"] for attrs, name in zip(figures, SOME, strict=True))
    for name in SOME:  # what is written in a figure is text of the page
        lines = [t.text for t in ET.parse(tmp_path / f"kept/{name}.svg").iter("{http://www.w3.org/2000/svg}text")]
        assert len(lines) > 10
        for line in filter(None, lines):
            assert " ".join(line.split()) in page.words
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_the_page_says_what_the_run_is(run, folder, tmp_path, blank_figures):
    manifest = run.manifest
    manifest["training"] = {"device": "A fast one", "workers": 3, "torch": "9.9"}
    manifest["versions"] = {"torch": "1.0", "numpy": "2.0"}
    manifest["recipe"]["optimizer_args"] = {"amsgrad": True}
    write_report(run, tmp_path / "page.html", names=["weird"], rows=3)
    words = Page((tmp_path / "page.html").read_text("utf-8")).words
    for part in (
        "A planted exam", "planted: 60 test samples of 1 × 8 × 8", "10: 0, 1, 2,", "A fast one, 3 workers",
        "torch 9.9, numpy 2.0", "amsgrad yes", "13 of 14 finished: 11 done, 1 diverged, 1 failed",
        "the run is not finished: 1 of 14", "The best of 11 networks, and Basic", "≥ 80 % ≥ 90 %",
    ):  # fmt: skip
        assert part.replace(" ", "") in words.replace(" ", ""), part


def test_the_best_networks_stand_in_order_with_basic_marked(run, tmp_path, blank_figures):
    write_report(run, tmp_path / "page.html", names=["weird"])
    text = (tmp_path / "page.html").read_text("utf-8")
    rows = re.findall(
        r"<tr( class=\"marked\")?><td class=\"n\">(\d+)</td><td>([^<]+)</td>.*?(\d[\d.]*) %</td></tr>", text
    )
    last = run.epochs[run.epochs["epoch"] == 2].set_index("network")["accuracy"]
    done = run.trainings.loc[run.trainings["status"] == "done", "network"].astype(str)
    expected = sorted(last.loc[done], reverse=True)
    places = [int(place) for _, place, _, _ in rows]
    shown = [float(accuracy) for *_, accuracy in rows]
    assert places[:10] == list(range(1, 11))
    assert shown[:10] == pytest.approx([100 * a for a in expected[:10]], abs=0.005)
    assert [name for mark, _, name, _ in rows if mark] == ["Basic"]
    for _, place, name, accuracy in rows:
        assert 100 * last[name] == pytest.approx(float(accuracy), abs=0.005)
        assert expected[int(place) - 1] == pytest.approx(last[name])


def test_what_a_user_names_is_shown_and_never_acts(tmp_path, own):
    mine = own(hostile=HOSTILE, boom=BROKEN["boom"])
    folder = tmp_path / "<b> 'run'"
    plant(folder, 12, 50, epochs=1)
    manifest = tomllib.loads((folder / "run.toml").read_text())
    manifest |= {"title": EVIL, "source": EVIL, "dataset": EVIL, "training": {"device": EVIL}}
    manifest["classes"][3] = EVIL
    (folder / "run.toml").write_text(tomli_w.dumps(manifest))
    names = folder / "networks.parquet"
    for table_ in [names, *folder.glob("trainings/*"), *folder.glob("epochs/*"), *folder.glob("predictions/*")]:
        rename(table_)
    written = write_report(Run(folder), tmp_path / "page.html", names=[*mine, "best"])
    assert [bool(w.error) for w in written] == [False, True, False]
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.found}
    assert EVIL not in text
    assert page.words.count(EVIL) > 12
    assert "<i>Basic" in page.words
    assert "i" not in {tag for tag, _ in page.found}
    assert f"netpick ask '{folder}'".replace("'run'", "'\"'\"'run'\"'\"'") in page.words
    assert f"Is {EVIL} | *this* shown?" in page.words
    assert EVIL in page.all("svg")[0]["aria-label"]

    write_markdown(Run(folder), tmp_path / "page.md", tmp_path / "img", "x`y```z", mine)
    text = (tmp_path / "page.md").read_text("utf-8")
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    ours = {"<details>", "</details>", "<summary>", "</summary>", "</a>"}
    assert set(re.findall(r"<[^>\n]*>", outside)) <= ours | {
        f'<a id="{n}">' for n in ("found", "group-1", "hostile", "boom", "the-run")
    }
    assert "````sh\nx`y```z\n````" in text
    assert "](javascript" not in outside.replace("\\](javascript", "")
    assert r"| a\|b |" in outside
    assert outside.count("&lt;script&gt;alert('&amp;')&lt;/script&gt;") > 10


def rename(path):
    """Give networks names with HTML in them, in one Parquet file, everything else as it was."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = pq.ParquetFile(path).read()
    for key in ("name", "network"):
        if key in read.column_names:
            at = read.column_names.index(key)
            values = pa.array([f"<i>{v}" for v in read[key].to_pylist()]).cast(pa.string())
            read = read.set_column(at, key, values)
    pq.write_table(read.replace_schema_metadata(None), path)  # not the old checksum


# ---------------------------------------------------------------- the Markdown page


def test_markdown_links_lead_somewhere_and_images_are_small(run, tmp_path):
    page = tmp_path / "docs/exam.md"
    written = write_markdown(run, page, tmp_path / "docs/my exam (1)", "make exam", names=SOME, run_as="runs/x")
    text = page.read_text("utf-8")
    assert text.endswith("\n")
    assert "```sh\nmake exam\n```" in text
    anchors = re.findall(r'<a id="([\w-]+)">', text)
    assert anchors == ["found", "group-1", *SOME, "the-run"]
    links = re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text)
    assert len(links) == 7
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors
        else:
            image = page.parent / unquote(link)
            assert image.stat().st_size <= BYTES
            assert Image.open(image).width <= WIDE
    for one in written:
        assert f"## {one.title}" in text
        assert f"```sh\nnetpick ask runs/x {one.name}\n```" in text
        assert f"![Figure for “{one.title}”" in text


def test_markdown_tables_are_tables(run, tmp_path, asked_before):
    write_markdown(run, tmp_path / "exam.md", tmp_path / "exam", "c")
    text = (tmp_path / "exam.md").read_text("utf-8")
    lines = text.splitlines()
    widths = {}
    for i, line in enumerate(lines):
        if line.startswith("|"):
            width = len(re.findall(r"(?<!\\)\|", line))
            if not lines[i - 1].startswith("|"):
                assert lines[i - 1] == ""
                assert re.fullmatch(r"\|( -+:? \|)+", lines[i + 1])
                widths[i] = first = width
            assert width == first, line
    assert len(widths) > 15
    assert (
        text.count("<details>") == text.count("</details>") == sum(1 for i in widths if lines[i - 2].startswith("<su"))
    )
    assert "{{" not in text
    assert "\n\n\n\n" not in text


def test_the_same_run_gives_the_same_page(run, tmp_path):
    for name in ("a", "b"):
        write_markdown(run, tmp_path / name / "exam.md", tmp_path / name / "exam", "make exam", ["weird"])
    for path in ("exam.md", "exam/weird.png"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


# ---------------------------------------------------------------- texts


def test_a_docstring_comes_apart():
    doc = "Q?\n\nOne\ntwo `x`.\n\nColumns\n-------\na, b : first\n    and more\nc : second\n\nLast : not\na list.\n"
    heading, text, columns, last = (out := parts(doc))[1], out[0], out[2], out[3]
    assert (heading.kind, heading.text) == ("heading", "Columns")
    assert (text.kind, text.text) == ("text", "One two `x`.")
    assert columns.entries == [("a, b", "first and more"), ("c", "second")]
    assert (last.kind, last.text) == ("text", "Last : not a list.")
    (points,) = parts("Q?\n\n- `a`: first\n  and more\n- second\n")
    assert (points.kind, [text for _, text in points.entries]) == ("points", ["`a`: first and more", "second"])
    (broken,) = parts("Q?\n\n- first\nno point\n")
    assert (broken.kind, broken.text) == ("text", "- first no point")
    assert parts("Q?") == []


@given(st.text())
def test_markdown_reads_nothing_in_a_text(text):
    out = markdown(text)
    assert "\n" not in out
    assert not re.search(r"[<>$]", out)
    bare = re.sub(r"`[\w ./=-]+`", "", out)  # a code span is literal
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]|~]", re.sub(r"\\\\", "", bare).replace("\\`", "").replace("\\*", "")
                         .replace("\\[", "").replace("\\]", "").replace("\\|", "").replace("\\~", ""))  # fmt: skip
    assert not re.match(r"(#+|[-+*]|\d+[.)])\s", out)


@given(st.text())
def test_html_reads_nothing_in_a_text(text):
    out = html_pages().from_string("{{ x }}{{ x | prose }}").render(x=text)
    assert not re.search(r"<(?!/?code>)", out)
    assert '"' not in out
    assert "'" not in out


def test_the_markdown_environment_escapes_unless_told_otherwise():
    pages = markdown_pages()
    assert pages.from_string("{{ x }} {{ x | as_is }} {{ x | cell }}").render(x="*a*|") == r"\*a\*\| *a*| \*a\*\|"
    assert pages.from_string("{{ x | fenced }}").render(x="a``b") == "```sh\na``b\n```"
    assert pages.from_string("{{ x | fenced }}").render(x="a````b") == "`````sh\na````b\n`````"


def test_the_page_is_made_without_torch():
    code = "import sys, netpick.report.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
