import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, recall_score, roc_auc_score

from netpick.core.metrics import evaluate


def log_softmax(x):
    return (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(np.float32)


def example(samples=200, classes=4, levels=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, classes)) if levels is None else rng.integers(0, levels, (samples, classes))
    return log_softmax(x.astype(float)), rng.integers(0, classes, samples)


@pytest.mark.parametrize("levels", [None, 2, 5])
def test_agrees_with_scikit_learn_with_and_without_ties(levels):
    scores, labels = example(levels=levels)
    got = evaluate("test", scores, labels, 0.5)
    p = np.exp(scores.astype(float))
    assert got.loss == pytest.approx(log_loss(labels, p / p.sum(axis=1, keepdims=True)), rel=1e-6)
    assert got.accuracy == accuracy_score(labels, scores.argmax(axis=1))
    assert got.class_accuracy == pytest.approx(recall_score(labels, scores.argmax(axis=1), average=None))
    assert got.class_auc == pytest.approx([roc_auc_score(labels == c, scores[:, c]) for c in range(4)])
    assert (got.split, got.eval_seconds) == ("test", 0.5)
    assert got.scores.dtype == np.float32
    assert np.array_equal(got.scores, scores)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(2, 4), st.integers(1, 3), st.integers(0, 10**6))
def test_auc_is_the_share_of_pairs_in_the_right_order(samples, classes, levels, seed):
    scores, labels = example(samples, classes, levels, seed)
    got = evaluate("test", scores, labels, 0.0)
    for c in range(classes):
        pairs = [
            (a > b) + 0.5 * (a == b) for a in scores[labels == c, c].tolist() for b in scores[labels != c, c].tolist()
        ]
        assert got.class_auc[c] == (
            pytest.approx(sum(pairs) / len(pairs)) if pairs else pytest.approx(np.nan, nan_ok=True)
        )
        if not (labels == c).any():
            assert np.isnan(got.class_accuracy[c])


def test_first_of_equal_scores_is_the_prediction():
    got = evaluate("test", np.zeros((3, 3)), np.array([0, 1, 2], dtype=np.int16), 0.0)
    assert got.accuracy == pytest.approx(1 / 3)
    assert got.class_accuracy == (1, 0, 0)
    assert got.class_auc == (0.5, 0.5, 0.5)


def test_class_that_is_everywhere_has_no_auc():
    got = evaluate("test", np.zeros((3, 2)), np.array([1, 1, 1]), 0.0)
    assert np.isnan(got.class_auc).all()
    assert np.isnan(got.class_accuracy[0])
    assert got.class_accuracy[1] == 0


def test_scores_that_are_not_numbers_give_metrics_that_are_not():
    scores, labels = example()
    scores[3, labels[3]] = np.nan
    got = evaluate("test", scores, labels, 0.0)
    assert np.isnan(got.loss)
    assert np.isnan(got.class_auc[labels[3]])
    assert evaluate("test", np.where(np.isnan(scores), -np.inf, scores), labels, 0.0).loss == np.inf


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="do not go together"):
        evaluate("test", np.zeros((3, 2)), np.zeros(4, int), 0.0)


def test_ten_thousand_samples_take_milliseconds():
    scores, labels = example(10_000, 10)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        evaluate("test", scores, labels, 0.0)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05  # 5 ms on an idle core
