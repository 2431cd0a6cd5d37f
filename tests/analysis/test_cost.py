import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure
from matplotlib.colors import to_rgb
from scipy import stats

from netpick import exam
from netpick.analysis import _cost
from netpick.core.errors import NetpickError
from netpick.exam import theme

QUESTIONS = {"study_time": "seconds", "notes": "params", "rough_work": "memory", "steps": "ops", "macs": "macs"}


@pytest.mark.parametrize(("name", "column"), QUESTIONS.items())
def test_table_by_hand(planted, name, column):
    run, _ = planted
    table = run.ask(name, gold=0.93).table
    frame = exam.students(run, gold=0.93)
    base = frame.set_index("name").loc["Basic", column]
    frame = frame[frame["good"]]
    assert table["computation"].iloc[-1] == "all"
    assert set(table["computation"][:-1]) == set(frame["computation"])
    for row in table.to_dict("records"):
        mine = frame if row["computation"] == "all" else frame[frame["computation"] == row["computation"]]
        values = mine[column].tolist()
        assert row["students"] == len(values)
        assert [row["least"], row["most"]] == [min(values), max(values)]
        assert [row["q25"], row["median"], row["q75"]] == pytest.approx(np.percentile(values, [25, 50, 75]).tolist())
        assert row["of_basic"] == pytest.approx(np.median(values) / base)
        assert row["stars"] == mine["star"].sum()
        if len(values) >= 3 and len(set(values)) > 1:
            assert row["correlation"] == pytest.approx(stats.spearmanr(values, mine["accuracy"]).statistic)
        else:
            assert np.isnan(row["correlation"])


def test_sentence_and_figure(planted):
    run, _ = planted
    answer = run.ask("notes", gold=0.93)
    frame = exam.students(run)
    low = frame[frame["good"]].sort_values("params").iloc[0]
    assert f"from {low['params']:,} parameters ({low['name']})" in answer.text
    figure = answer.figure()
    assert figure.axes[1].get_xscale() == "log"
    words = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"other computations", "Basic (above: dashed)", "nobody scores more for less"} <= words
    assert "gold star: good, and above 93 % in the last attempt" in words


def test_each_computation_has_a_facet_on_grey_with_its_front_named_and_basic(planted):
    run, _ = planted
    figure = run.ask("macs", everyone=True).figure()
    frame = exam.students(run)
    facets = {ax.get_title(loc="left"): ax for ax in figure.axes[1:]}
    assert set(facets) == set(frame["computation"])
    basic = frame[frame["name"] == "Basic"].iloc[0]
    beaten = [(frame["macs"] <= one.macs) & (frame["accuracy"] > one.accuracy) for one in frame.itertuples()]
    beaten = [own.any() or (frame["macs"] < one.macs)[frame["accuracy"] >= one.accuracy].any()
              for own, one in zip(beaten, frame.itertuples(), strict=True)]  # fmt: skip
    first = set(frame.loc[~np.array(beaten), "name"])
    for computation, ax in facets.items():
        own = frame[frame["computation"] == computation]
        grey, mine = ax.collections[:2]
        assert len(grey.get_offsets()) == len(frame) - len(own)
        assert {tuple(c) for c in grey.get_facecolor()[:, :3]} == {to_rgb(theme.OTHER_NETWORKS)}
        assert len(mine.get_offsets()) == len(own)
        assert tuple(mine.get_facecolor()[0, :3]) == to_rgb(theme.colour(computation))
        assert {text.get_text() for text in ax.texts} <= first & set(own["name"])
        assert bool(ax.texts) == bool(first & set(own["name"]))
        assert (ax.lines[0].get_xdata()[0], ax.lines[0].get_ydata()[0]) == (basic["macs"], basic["accuracy"])


def test_steps_span_no_decades_and_have_a_linear_axis(planted):
    facets = planted[0].ask("steps").figure().axes[1:]
    assert {ax.get_xscale() for ax in facets} == {"linear"}
    for ax in facets:
        low, high = ax.get_xlim()
        places = np.concatenate([points.get_offsets()[:, 0] for points in ax.collections])
        assert low == 0
        assert places.max() < high


@pytest.mark.parametrize("name", QUESTIONS)
def test_edges(edge, name):
    run, truth = edge
    answer = run.ask(name, everyone=True)
    left_out = len(truth.failed) + len(truth.diverged) + len(truth.pending)
    assert answer.table["students"].iloc[-1] == 24 - left_out
    basic = "Basic" in truth.names
    assert ("no Basic" in answer.note) != basic
    assert answer.table["of_basic"].isna().all() != basic
    assert bool(left_out) == ("left out" in answer.note or "not finished" in answer.note)
    if name == "macs":
        assert answer.figure().axes


def test_threshold_out_of_range(planted):
    with pytest.raises(NetpickError, match=r"good is 80.0: give a number from 0 to 1"):
        planted[0].ask("macs", good=80)


def test_amounts_are_written_as_people_read_them():
    assert _cost.amount(7850, "parameters") == "7,850 parameters"
    assert _cost.amount(1.25e6, "macs") == "1.25 million macs"
    assert _cost.amount(999.9e6, "macs") == "1,000 million macs"
    assert _cost.amount(0.415, "s") == "0.41 s"
    assert _cost.amount(0.0000123, "s") == "0.000012 s"
    assert _cost.amount(226.3, "s") == "226 s"
    assert _cost.times(2.06, 1) == ", 2.1 times that of Basic"
    assert _cost.times(99.7, 1) == ", 100 times that of Basic"
    assert _cost.times(2469, 2) == ", 1,234 times that of Basic"
    assert _cost.times(6, 2, (1, 3)) == ", 3 times that of Basic (2 to 6, by its single epochs)"
    assert _cost.times(float("nan"), 1) == _cost.times(1, None) == ""


def paradox(folder, groups=8, each=12, samples=200):
    """A run in which computations that cost more are better, and within each who spends more is worse."""
    labels = np.zeros(samples, int)
    rng = np.random.default_rng(0)
    answers, networks = {}, {}
    for group in range(groups):
        spent = rng.permutation(each)
        for i, (cost, noise) in enumerate(zip(spent, rng.normal(0, 7, each), strict=True)):
            name, wrong = f"g{group}-{i}", int(np.clip(0.9 * each * (groups - group) / 7 + cost + noise, 0, 39))
            answers[name] = sure((np.arange(samples) < wrong).astype(int), 2)
            networks[name] = {"computation": f"c{group}", "macs": int(100 + 14 * group + cost)}
    return make_run(folder, answers, labels, networks)


def test_who_spends_more_is_compared_with_those_of_the_same_computation(tmp_path):
    answer = paradox(tmp_path / "run").ask("macs")
    whole = answer.table.iloc[-1]
    assert whole["correlation"] > 0.1
    assert whole["high"] < 0
    assert "Within a computation who spends more scores" in answer.text
    assert "worse (rank correlation" in answer.text
    assert f"Over all together it is {whole['correlation']:.2f}" in answer.text
    ends = answer.table["within"].iloc[:-1]
    assert f"from {ends.min():.2f} to {ends.max():.2f} in 8 of them" in answer.text


def test_an_association_that_is_not_there_is_seldom_said_and_its_interval_covers():
    rng = np.random.default_rng(1)
    groups = pd.Series(np.repeat(list("abcdef"), [5, 6, 8, 10, 12, 20]))
    real, covered = [], []
    for _ in range(150):
        x, luck = rng.normal(size=(2, len(groups)))
        shift = groups.map(dict(zip("abcdef", 5 * rng.normal(size=6), strict=True)))
        real.append(exam.association(pd.Series(x + shift), pd.Series(luck + shift), groups).real)
        both = exam.association(pd.Series(x + shift), pd.Series(x + luck - shift), groups)
        covered.append(both.low <= 6 / np.pi * np.arcsin(np.sqrt(0.5) / 2) <= both.high)
    assert np.mean(real) <= 0.09
    assert np.mean(covered) >= 0.9


def test_association_by_scipy_and_where_there_is_none():
    rng = np.random.default_rng(2)
    x, y = (pd.Series(v) for v in rng.normal(size=(2, 30)))
    found = exam.association(x, y)
    theirs = stats.spearmanr(x, y)
    assert found.correlation == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.05)
    assert found.low < found.correlation < found.high
    groups = pd.Series(np.repeat(["a", "b"], 15))
    parts = [stats.spearmanr(x[groups == g], y[groups == g]).statistic for g in "ab"]
    assert exam.association(x, y, groups).correlation == pytest.approx(np.mean(parts))
    assert np.isnan(exam.association(x[:4], y[:4]).correlation)
    assert np.isnan(exam.association(x, 0 * y).p)


def test_a_multiple_of_a_time_of_milliseconds_carries_its_spread(planted):
    run, _ = planted
    answer = run.ask("study_time")
    rows = run.epochs[(run.epochs["network"] == "Basic") & (run.epochs["split"] == "test")]
    seconds, median = rows["train_seconds"], answer.table["median"].iloc[-1]
    ends = [median / (len(rows) * seconds.max()), median / (len(rows) * seconds.min())]
    low, high = (exam.figures(end) if end < 100 else f"{end:,.0f}" for end in ends)
    assert f"times that of Basic ({low} to {high}, by its single epochs)" in answer.text


def test_few_students_are_drawn_one_by_one_and_not_as_a_box(tmp_path):
    labels = np.zeros(20, int)
    answers = {f"n{i}": sure((np.arange(20) < i % 3).astype(int), 2) for i in range(9)}
    networks = {name: {"computation": "few" if i > 5 else "many"} for i, name in enumerate(answers)}
    run = make_run(tmp_path / "run", answers, labels, networks)
    for question in ("notes", "strategies"):
        ax = run.ask(question).figure().axes[0]
        assert len([patch for patch in ax.patches if patch.get_path().vertices.shape[0] > 4]) == 1
        ticks = [t.get_text() for t in (ax.get_yticklabels() if question == "notes" else ax.get_xticklabels())]
        said = {"notes": ["few (3)", "many (6)"], "strategies": ["few 3 of 3 passed", "many 6 of 6 passed"]}
        assert [" ".join(t.split()) for t in ticks] == said[question]
