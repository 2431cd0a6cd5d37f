"""What a notebook shows: all that an answer has, as text, and pictures that are pictures."""

import base64
import re
from io import BytesIO

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from netpick.exam import plant
from netpick.exam.answer import Answer
from netpick.exam.run import Run

HOSTILE = '<img src=x onerror="alert(1)">&amp;'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plant(folder := tmp_path_factory.mktemp("runs") / "a<b>", networks=30, samples=60, epochs=2)
    return Run(folder)


def test_an_answer_shows_its_sentence_figure_and_table():
    frame = pd.DataFrame({"network": [f"N_{n}" for n in range(12)], "accuracy": [0.5] * 12, HOSTILE: [HOSTILE] * 12})
    answer = Answer(frame, f"Said: {HOSTILE}", Figure, f"Note: {HOSTILE}", shares=["accuracy"], suggested="N_3")
    html = answer._repr_html_()
    assert 'onerror="' not in html
    assert html.count("&lt;img") == 10 + 4  # cells, heading, sentence, note, and the sentence as the picture's text
    assert html.count("50.00 %") == 10
    assert "<td><b>N_3</b></td>" in html
    assert "2 more rows" in html
    picture = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", html)[1])
    assert Image.open(BytesIO(picture)).format == "PNG"


def test_a_figure_shows_itself(run):
    picture = Image.open(BytesIO(run.ask("best").figure()._repr_png_()))
    assert picture.format == "PNG"
    assert min(picture.size) > 100


def test_a_run_shows_what_it_is(run):
    html = run._repr_html_()
    assert "a&lt;b&gt;" in html
    assert f"{len(run.networks)} networks" in html
    assert f"{len(run.trainings)} of {run.wanted} trainings" in html


def test_a_run_picks(run):
    limit = int(run.networks["params"].median())
    chosen = run.pick(max_params=limit, computation="Conv2d", maximize=["accuracy"], minimize=["params"])
    row = run.networks.set_index("name").loc[chosen.name]
    assert row["computation"] == "Conv2d"
    assert row["params"] <= limit
    assert set(chosen.table["computation"]) == {"Conv2d"}
