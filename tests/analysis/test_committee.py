import re
from collections import Counter

import numpy as np
import pytest
from handmade import make_run, sure

from netpick import exam
from netpick.analysis import committee
from netpick.analysis._matching import Enough, Tried
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.planted.redrawn import Redrawn
from netpick.exam.run import Run

N = 300


def random_exam(seed, members=6, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, N)
    logits = rng.normal(size=(members, N, classes)) + 1.2 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    return p, labels


def test_probabilities_are_averaged():
    p, labels = random_exam(0)
    margins = committee.probability_margins(np.log(p).astype(np.float32), labels)
    expected = [(p[: k + 1].mean(axis=0).argmax(axis=1) == labels).mean() for k in range(len(p))]
    assert committee.accuracies(margins).tolist() == expected


def test_votes_are_counted_and_equal_ones_go_to_the_voters_of_better_rank():
    p, labels = random_exam(1)
    predicted = p.argmax(axis=2)
    found = committee.accuracies(committee.vote_margins(predicted, labels, 4, 6))
    undecided = 0
    for size in range(1, 7):
        right = 0
        for j in range(N):
            votes = Counter(predicted[:size, j].tolist())
            strength = {c: (n, sum(6 - m for m in range(size) if predicted[m, j] == c)) for c, n in votes.items()}
            top = [c for c in votes if strength[c] == max(strength.values())]
            undecided += len(top) > 1
            right += top == [labels[j]]
        assert found[size - 1] == right / N
    assert undecided < 0.05 * 6 * N  # equal votes of equal ranks count as wrong


def test_one_vote_more_outweighs_all_ranks():
    """Of 50 members the 26 that rank lowest are right."""
    predicted = np.array([[1]] * 24 + [[0]] * 26)
    assert committee.accuracies(committee.vote_margins(predicted, np.array([0]), 2, 50))[-1] == 1
    predicted = np.array([[1]] * 25 + [[0]] * 25)
    assert committee.accuracies(committee.vote_margins(predicted, np.array([0]), 2, 50))[-1] == 0


def test_greedy_takes_what_helps_most():
    p, labels = random_exam(2, members=7)
    margins = committee.probability_margins(np.log(p).astype(np.float32), labels)
    chosen = []
    while len(chosen) < 5:
        gain = {m: (p[[*chosen, m]].mean(0).argmax(1) == labels).sum() for m in range(7) if m not in chosen}
        chosen.append(max(gain, key=lambda m: (gain[m], -m)))
    assert committee.greedy(margins, 5) == chosen


def test_blocks_do_not_change_what_greedy_takes(monkeypatch):
    p, labels = random_exam(3, members=9)
    margins = committee.probability_margins(np.log(p).astype(np.float32), labels)
    whole = committee.greedy(margins, 6)
    monkeypatch.setattr(committee, "BLOCK", 2)
    assert committee.greedy(margins, 6) == whole
    np.testing.assert_array_equal(committee.probability_margins(np.log(p).astype(np.float32), labels), margins)


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """A, B and C err on different samples: two of three are always right. The others err together; Best on 5 %."""
    labels = np.arange(N) % 3
    wrong = {f"Dull_{i}": np.arange(N) % 7 == 0 for i in range(5)}
    wrong.update({name: np.arange(N) // 3 % 10 == i for i, name in enumerate(("A_0", "A_1", "A_2"))})
    wrong["Best"] = np.arange(N) // 3 % 20 == 19
    p = {name: sure(np.where(w, (labels + 1) % 3, labels), 3) for name, w in wrong.items()}
    networks = {name: {"params": 100, "macs": 10} for name in wrong} | {"Best": {"params": 5000, "macs": 600}}
    return make_run(tmp_path_factory.mktemp("committee") / "run", p, labels, networks)


def test_finds_the_planted_committee_and_no_other(trio):
    answer = committee.ask(trio, draws=50)
    table = answer.table
    assert table.iloc[0][["choice", "size", "macs", "matches"]].tolist() == ["single", 1, 600.0, True]
    for rule in ("votes", "probabilities"):
        greedy = table[(table["choice"] == "greedy") & (table["rule"] == rule)]
        assert set(greedy["member"].head(3)) == {"A_0", "A_1", "A_2"}
        assert greedy["size"].tolist() == list(range(1, 9))
        assert greedy["accuracy"].iloc[2] == 1
        assert not greedy["matches"].iloc[:2].any()
        assert greedy["macs"].tolist() == [10.0 * k for k in range(1, 9)]
        assert greedy["params"].tolist() == [100.0 * k for k in range(1, 9)]
        assert greedy["seconds"].tolist() == [2.0 * k for k in range(1, 9)]
        assert greedy["macs_share"].iloc[2] == 30 / 600
    assert answer.text.startswith(
        "The best network alone (of all 9, chosen anew in each of 5 splits, Best in 3 of them) has "
    )
    chosen = (
        "well chosen, 3 of them by votes (in all 5 splits, 0.05 times its macs), and what is chosen so has 100 % (95 %"
    )
    assert f"{chosen} interval 100 % to 100 %), " in committee.ask(trio, target="Best", draws=2).text
    assert answer.figure().axes


def test_random_committees_are_the_mean_of_all(trio):
    """All 8 members leave nothing to chance, and one member is a network by itself."""
    table = committee.ask(trio, draws=400).table
    random = table[(table["choice"] == "random") & (table["rule"] == "votes")].set_index("size")
    assert random.loc[8, "low"] == random.loc[8, "high"] == pytest.approx(random.loc[8, "accuracy"])
    splits = exam.Splits.of(trio, trio.labels(), parts=3, times=5)
    each = [(trio.predicted() == trio.labels())[:, splits.samples(k)].mean(axis=1) for k in range(5)]
    right = np.mean(each, axis=0)
    assert random.loc[1, "accuracy"] == pytest.approx(right[:8].mean(), abs=0.01)
    assert (random.loc[1, "low"], random.loc[1, "high"]) == pytest.approx((right[:8].min(), right[:8].max()))
    assert (random["low"] <= random["accuracy"] + 1e-9).all()
    assert (random["accuracy"] <= random["high"] + 1e-9).all()


def test_members_are_chosen_on_one_third_and_judged_on_another(tmp_path):
    """By hand: the first member, and the network to match, are the best on the part that chooses."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    wrong = rng.random((12, N)) < 0.1
    said = np.where(wrong, (labels + 1) % 3, labels)
    run = make_run(tmp_path / "run", {f"N{i}": sure(a, 3) for i, a in enumerate(said)}, labels)
    answer = committee.ask(run, everyone=True)
    table, splits = answer.table, exam.Splits.of(run, labels, parts=3, times=5)
    top = int(wrong.sum(axis=1).argmin())
    pool = [i for i in range(12) if i != top]
    single, first = [], []
    for k in range(5):
        choose, judge = splits.samples(k, 0), splits.samples(k)
        on_choose, on_judge = 1 - wrong[:, choose].mean(axis=1), 1 - wrong[:, judge].mean(axis=1)
        single.append(on_judge[on_choose.argmax()])
        first.append(on_judge[max(pool, key=lambda i: (on_choose[i], -i))])
    assert table["accuracy"].iloc[0] == pytest.approx(np.mean(single))
    greedy = table[(table["choice"] == "greedy") & (table["rule"] == "votes")]
    assert greedy["accuracy"].iloc[0] == pytest.approx(np.mean(first))
    assert table["accuracy"].iloc[0] < 1 - wrong.mean(axis=1).min()  # the best of equals is not as good as it seems
    assert (table["p"] > 0.05)[greedy.index[0]]
    named = committee.ask(run, everyone=True, target=f"N{top}")
    assert named.table["accuracy"].iloc[0] == pytest.approx(
        np.mean([1 - wrong[top, splits.samples(k)].mean() for k in range(5)])
    )
    assert "it is the best one" not in named.text


def test_size_and_rule_are_chosen_on_samples_that_judge_neither_them_nor_the_members(trio):
    """All but the network to match guess one of two classes: of any size and rule a committee is right by half.

    The best of the judged accuracies is well above that; what is chosen on the second part is not.
    """
    rng, labels = np.random.default_rng(0), trio.labels()
    best, judged, most = trio.network_names().index("Best"), [], []
    for _ in range(5):
        wrong = rng.random((9, N)) < 0.5
        wrong[best] = False
        said = np.where(wrong, (labels + 1) % 3, labels)
        scores = np.log(np.stack([sure(one, 3) for one in said])).astype(np.float32)
        answer = committee.ask(Redrawn(trio.path, said, scores), target="Best", draws=2, everyone=True)
        greedy = answer.table[answer.table["choice"] == "greedy"]
        assert answer.text.count("no committee of up to 8 does, and ") == 2
        judged += [float(x) / 100 for x in re.findall(r"what is chosen so has (\S+) %", answer.text)]
        most.append(greedy["accuracy"].max())
        assert greedy["chosen"].sum() == pytest.approx(1)
    assert np.mean(judged) == pytest.approx(0.5, abs=0.02)
    assert np.mean(most) > 0.52


def test_the_smallest_that_matches_is_chosen_on_the_second_part_and_judged_on_the_third():
    splits = exam.Splits(np.array([[0, 1, 2], [2, 0, 1]]), 3, [])
    votes = Tried("greedy", "votes", np.array([[0.7, 0.9], [0.9, 0.8]]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    means = Tried("greedy", "probabilities", np.array([[0.6, 0.8], [0.95, 0.7]]), np.array([[0.5, 0.6], [0.7, 0.8]]))
    found = Enough.of([votes, means], np.array([[0.9, 0.85], [0.6, 0.6]]), splits)
    # Of two members both rules match in the first split, by probabilities better; one votes well enough in the second.
    assert found.accuracy.mean == pytest.approx((0.7 + 0.2) / 2)
    assert found.more.mean == pytest.approx((0.1 - 0.4) / 2)
    assert found.picked.to_dict() == {("probabilities", 2): 1, ("votes", 1): 1}
    assert (found.rule, found.size, found.matches) == ("votes", 2, False)  # on average none has 0.875


def test_says_when_one_other_matches_it(tmp_path):
    labels = np.arange(N) % 3
    wrong = {"Target": np.arange(40), "Steady": np.arange(2), "Plain_0": np.arange(60), "Plain_1": np.arange(60)}
    said = {name: labels.copy() for name in wrong}
    for name, samples in wrong.items():
        said[name][samples] = (labels[samples] + 1) % 3
    run = make_run(tmp_path / "run", {n: sure(a, 3) for n, a in said.items()}, labels)
    answer = committee.ask(run, members=["Steady", "Plain"], target="Target", draws=2, everyone=True)
    assert "well chosen, Steady alone (in all 5 splits, " in answer.text
    assert "that is real" in answer.text
    fig = answer.figure()
    title = " ".join(fig.get_suptitle().split())
    assert title == ("No committee needed: one of the networks of Steady, Plain alone matches Target (3 of 4 networks)")
    assert any("the range of the draws" in t.get_text() for t in fig.texts)


def test_committees_are_dots_with_intervals_at_a_few_sizes(trio):
    answer = committee.ask(trio, draws=3)
    (ax,) = answer.figure().axes
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert len(dots) == 4
    chosen = answer.table[(answer.table["choice"] == "greedy") & (answer.table["rule"] == "votes")]
    (shown,) = (line for line in dots if line.get_label() == "well chosen, by votes")
    sizes = [int(tick.get_text().split()[0]) for tick in ax.get_xticklabels()]
    assert sizes == [size for size in (1, 2, 3, 5, 9, 15) if size < chosen["size"].max()] + [chosen["size"].max()]
    assert shown.get_ydata().tolist() == chosen.set_index("size").loc[sizes, "accuracy"].tolist()


def test_same_seed_same_answer(trio):
    one, two, other = (committee.ask(trio, draws=3, seed=s).table for s in (1, 1, 2))
    assert one.equals(two)
    assert not one.equals(other)


def test_members_by_name_by_computation_and_by_beginning(tmp_path):
    plant(tmp_path / "run", 20, 60, epochs=1)
    run = Run(tmp_path / "run")
    frame = exam.students(run)
    best = exam.best(frame)

    def pool(*words):
        return committee.pool_of(run, frame[frame["name"] != best], list(words), everyone=True)[0]

    linear = frame.loc[(frame["computation"] == "Linear") & (frame["name"] != best), "name"]
    assert pool("Linear") == linear.tolist()
    assert pool("LinearReLU", "Basic") == [n for n in frame["name"] if n.startswith("LinearReLU") and n != best] + [
        "Basic"
    ]
    small = committee.pool_of(run, frame, None, everyone=True)[0]
    assert len(small) == 10
    assert frame.loc[frame["name"].isin(small), "params"].max() <= frame.loc[~frame["name"].isin(small), "params"].min()


def test_one_network_alone_sits_with_its_replicates(tmp_path):
    """All of them together leave nothing to chance; one alone is their mean."""
    run = Run(plant(tmp_path / "run", 12, 200, epochs=2, replicates=3, classes=4).folder)
    answer = committee.ask(run, members=["Basic"], largest=3, draws=60)
    labels = run.labels()
    given = np.stack([np.exp(run.scores(networks="Basic", replicate=r)[0].astype(float)) for r in range(3)])
    together, each = given.mean(axis=0).argmax(axis=1) == labels, given.argmax(axis=2) == labels
    splits = exam.Splits.of(run, labels, parts=3, times=5)
    judged = [splits.samples(k) for k in range(5)]
    random = answer.table[(answer.table["choice"] == "random") & (answer.table["rule"] == "probabilities")]
    random = random.set_index("size")
    assert random.index.tolist() == [1, 2, 3]
    assert random.loc[3, "accuracy"] == pytest.approx(np.mean([together[one].mean() for one in judged]))
    means = [each[:, one].mean(axis=1) for one in judged]
    assert random.loc[1, "low"] >= np.mean(means, axis=0).min() - 1e-9
    assert random.loc[1, "high"] <= np.mean(means, axis=0).max() + 1e-9
    spent = run.epochs[run.epochs["network"] == "Basic"].groupby("replicate")["train_seconds"].sum()
    assert random.loc[3, "seconds"] == pytest.approx(spent.sum())
    assert "with replicates of Basic (3 of them)" in answer.text
    drawn = answer.table[(answer.table["choice"] == "random") & (answer.table["size"] == 3)]
    assert f", 3 together {exam.percent(drawn['accuracy'].max())} by" in answer.text
    assert "were asked for" not in answer.note
    assert "there are 3 replicates of Basic, and not the 5" in committee.ask(run, members="Basic", largest=5).note
    best = exam.best(exam.students(run))  # its own replicates too, beside itself
    assert committee.ask(run, members=[best], largest=2).table["size"].max() == 2


def test_members_like_basic_by_default(tmp_path, monkeypatch):
    labels = np.arange(30) % 3
    names = ["Basic", *(f"N{i}" for i in range(14))]
    networks = {"Basic": {"params": 10}} | {f"N{i}": {"params": 8 + i} for i in range(14)}
    run = make_run(tmp_path / "run", {n: sure(labels, 3) for n in names}, labels, networks)
    pool, who = committee.pool_of(run, exam.students(run), None, everyone=False)
    assert pool == ["Basic", *(f"N{i}" for i in range(13))]
    assert who == "networks with at most twice the params of Basic"
    monkeypatch.setattr(committee, "MOST", 5)
    some, of = committee.pool_of(run, exam.students(run), None, everyone=False)
    assert len(some) == 5
    assert set(some) < set(pool)
    assert of == "5 drawn from 14 networks with at most twice the params of Basic"
    assert committee.pool_of(run, exam.students(run), pool, everyone=False)[0] == pool  # who is named is not drawn from


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": ["Dul_"]}, r"members: no good student .* 'Dul_'.*did you mean 'Dull_"),
        ({"members": ["A_0"]}, "a committee needs two members and there is 1"),
        ({"target": "Bst"}, r"no network 'Bst' \(did you mean 'Best'\?\)"),
        ({"largest": 1}, "largest is 1"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_impossible_options_are_refused(trio, options, message):
    with pytest.raises(NetpickError, match=message):
        committee.ask(trio, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "basic": False, "scores": "none"},
        {"classes": 2, "epochs": 2},
        {"epochs": 2, "replicates": 2, "validation": 50, "failed": 1, "diverged": 1, "pending": 1},
    ],
)
def test_runs_of_all_kinds_are_answered(tmp_path, options):
    plant(tmp_path / "run", 12, 60, **options)
    answer = committee.ask(Run(tmp_path / "run"), everyone=True)
    without = options.get("scores") == "none"
    assert set(answer.table["rule"]) == {"", "votes"} | (set() if without else {"probabilities"})
    assert ("votes only" in answer.note) == without
    assert answer.figure().axes
