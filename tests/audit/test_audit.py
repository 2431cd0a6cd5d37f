"""Each question's answer is that which is worked out from the run's files another way, to the last number said."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from audit import (
    ability_audit,
    costs_audit,
    families_audit,
    pairs_audit,
    scores_audit,
    sureness_audit,
    sweep_audit,
    together_audit,
    votes_audit,
)
from audit.said import percent, says, words_of
from scipy import stats

from netpick.exam.questions.listing import questions

CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("scores", scores_audit.scores, {}),
    ("strategies", scores_audit.strategies, {}),
    ("strategies", scores_audit.strategies, {"gold": 0.93}),
    ("activations", families_audit.activations, {}),
    ("attempts", scores_audit.attempts, {}),
    ("attempts", scores_audit.attempts, {"by": "family"}),
    ("attempts", scores_audit.attempts, {"by": "attempt"}),
    ("curves", scores_audit.curves, {}),
    ("curves", scores_audit.curves, {"gain": 0.05}),
    ("best", scores_audit.best, {}),
    ("best", scores_audit.best, {"by": "auc"}),
    *((question, partial(costs_audit.cost, question=question), {}) for question in costs_audit.COLUMNS),
    ("macs", partial(costs_audit.cost, question="macs"), {"gold": 0.93}),
    ("layer_times", costs_audit.layer_times, {}),
    ("versus", pairs_audit.versus, {}),
    ("versus", pairs_audit.versus, {"first": "ResNetStyle_1", "second": "Conv1d_1"}),
    ("compare", families_audit.families, {}),
    ("compare", families_audit.families, {"by": "activation"}),
    ("compare", families_audit.families, {"by": "family"}),
    ("compare", pairs_audit.one_with_all, {"a": "Conv1d_1"}),
    ("compare", pairs_audit.two, {"a": "ResNetStyle_1", "b": "Conv1d_1"}),
    ("sweep", sweep_audit.sweep, {}),
    ("sweep", sweep_audit.sweep, {"by": "activation"}),
    ("sweep", sweep_audit.sweep, {"by": "computation"}),
    ("agreement", together_audit.agreement, {}),
    ("agreement", together_audit.agreement, {"by": "computation"}),
    ("cascade", sureness_audit.cascade, {}),
    ("cascade", sureness_audit.cascade, {"keep": 0.9}),
    ("committee", together_audit.committee, {}),
    ("sets", sureness_audit.sets, {}),
    ("sets", sureness_audit.sets, {"method": "LAC", "coverage": 0.9}),
    ("ability", ability_audit.ability, {}),
    ("ability", ability_audit.ability, {"rows": "networks"}),
    ("easy", votes_audit.easy, {}),
    ("easy", votes_audit.easy, {"at_least": 0.9}),
    ("weird", votes_audit.weird, {}),
    ("weird", votes_audit.weird, {"wrong": 1.0}),
    ("weird", votes_audit.weird, {"same": 0.9}),
    ("confusing", votes_audit.confusing, {}),
    ("confusing", votes_audit.confusing, {"top": 0.6, "entropy": 0.5}),
    ("mistakes", votes_audit.mistakes, {}),
    ("suspects", votes_audit.suspects, {}),
    ("suspects", votes_audit.suspects, {"confidence": 1.0}),
    ("representative", votes_audit.representative, {}),
    ("learning", votes_audit.learning, {}),
    ("why_hard", votes_audit.why_hard, {}),
]


@pytest.mark.parametrize(
    ("question", "audit", "options"),
    CASES,
    ids=lambda x: x if isinstance(x, str) else "" if callable(x) else str(x or ""),
)
def test_the_answer_is_what_the_files_have(audited, question, audit, options):
    answer = audited.run.ask(question, **options)
    audit(audited.raw, **options).confirm(answer.table, answer.text, audited.raw)


def test_the_best_compared_with_all_others_is_what_the_files_have(audited):
    best = audited.raw.best()
    answer = audited.run.ask("compare", a=best)
    pairs_audit.one_with_all(audited.raw, best).confirm(answer.table, answer.text, audited.raw)


def test_the_note_counts_what_is_missing_and_says_how_much_is_luck(audited):
    raw, answer = audited.raw, audited.run.ask("strategies")
    said = words_of(answer.note, raw)
    ended, last = raw.table("trainings")["status"].value_counts(), raw.epochs()[lambda f: f["epoch"] == raw.last_epoch]
    groups = last.groupby("network")["accuracy"]
    freedom = int((groups.size() - 1).sum())
    frame, labels = raw.students(), raw.labels()
    first = frame.sort_values(["accuracy", "macs", "params", "name"], ascending=[False, True, True, True]).head(50)
    right = raw.right(list(first.index))
    apart = np.median([(a != b).sum() for a, b in combinations(right, 2)])
    by_samples = [percent(1.96 * np.sqrt(apart) / len(labels)), len(labels)]
    if not freedom:  # the cheapest of the upper half are named, to be trained again
        upper = frame[frame["accuracy"] >= frame["accuracy"].median()]
        expected = [*by_samples, 95, *upper.sort_values("seconds")["name"].head(5)]
        assert all(says(one, word) for one, word in zip(expected, said, strict=True)), (expected, said)
        return
    each = raw.manifest["recipe"]["replicates"]
    wanted = each * len(raw.table("networks"))
    spread = np.sqrt(((last["accuracy"] - groups.transform("mean")) ** 2).sum() / freedom)
    smallest = stats.t.ppf(0.975, freedom) * spread * np.sqrt(2 / each)
    expected = [
        wanted - ended.sum(),
        wanted,
        ended["failed"],
        ended["diverged"],
        each,
        each,
        percent(smallest),
        95,
        freedom,
        *by_samples,
    ]
    assert all(says(one, word) for one, word in zip(expected, said, strict=True)), (expected, said)


def test_every_question_is_audited():
    # The front of `pareto` is found by all pairs in tests/analysis/test_pareto.py, its judging in tests/exam. `changes`
    # reads two runs, `variance` wants replicates: they are worked out from files in tests/analysis. What `short`
    # chooses and foretells is held against Bayes' rule in tests/exam/test_short_exam.py.
    assert set(questions()) == {question for question, _, _ in CASES} | {"pareto", "changes", "variance", "short"}
