"""What the parts of gpu.py say and choose, of cases that are made up."""

from __future__ import annotations

import pytest

from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.spec import check


@pytest.mark.parametrize("image", [(1, 28, 28), (1, 8, 8)])
def test_there_is_a_network_that_fits_for_every_operation(scripts, image):
    networks = list(scripts.equality.one_of_each(image))
    assert [spec.name for spec in networks] == [f"operation {op}" for op in OPERATIONS]
    for spec in networks:
        op = spec.name.removeprefix("operation ")
        assert op in [layer.op for layer in spec.layers]
        check(spec.layers, image, 2 if op == "BinaryLogSigmoid" else 10)


def test_a_loss_that_differs_is_named(scripts):
    row = {"apart": 2e-8, "rounding": 1e-8, "random": False, "plan": "fp32/graph/fused/tuned", "accuracy": [0.5, 0.5]}
    other = {"B": {"apart": 5e-3}, "C": {"random": True, "apart": 0.2}, "D": {"apart": 5e-3, "rounding": 1e-3}}
    cases = {"operation A": row, **{f"operation {name}": row | differs for name, differs in other.items()}}
    text = scripts.equality.section(cases, {})
    assert "| operation | 4 | 3 | 5.0e-03 |" in text
    assert "Not in agreement: operation B." in text


def test_a_choice_is_judged_where_it_had_no_part(scripts):
    # The second way is twice as fast on each network; the third is best on one alone, by much.
    rows = [{1: 2.0, 2: 1.0, 3: 4.0}, {1: 2.0, 2: 1.0, 3: 4.0}, {1: 2.0, 2: 1.0, 3: 1e-6}]
    judged = scripts.judged.judge(rows[:2], 1)
    assert (judged.chosen, judged.gain.mean, judged.value) == (2, pytest.approx(2.0), 2)
    lured = scripts.judged.judge(rows, 1)
    assert lured.chosen == 3
    assert lured.gain.mean == pytest.approx((0.5 * 0.5 * 2.0) ** (1 / 3))  # by the others each is misled
    assert lured.value == 1


def test_one_network_alone_decides_nothing(scripts):
    assert scripts.judged.judge([{1: 2.0, 2: 1.0}], 1).value == 1
    assert "no interval" in str(scripts.judged.ratio([2.0]))


@pytest.mark.parametrize(("faster", "expected"), [([4.0, 4.1, 3.9], (2, 16)), ([0.9, 1.2, 1.0], (2, 8))])
def test_a_way_goes_into_the_table_where_it_is_faster_beyond_doubt(scripts, faster, expected):
    table = {**scripts.table.values(), "PROCESSES": 2, "STREAMS": 8}
    ways = [[2, 8, 4.0, 16], [2, 16, 4.0, 16]]
    costs = [[1.0, 100.0, 1e4, 1e5, 1e6, 0.5], [1.0, 300.0, 3e4, 1e5, 2e6, 0.7]]
    same = {"table": 100.0, "ways": ways, "failed": [], "costs": costs}
    cases = {f"other networks, turn {n}": {**same, "chosen": 100.0 * times} for n, times in enumerate(faster)}
    figures = scripts.lanes.figures(cases, table)
    assert (figures["PROCESSES"], figures["STREAMS"]) == expected


def test_costs_of_trainings_that_are_sums_are_found(scripts):
    table = scripts.table.values()
    true = {
        "TRAINING_SECONDS": 0.2,
        "OP_SECONDS": 4e-6,
        "WEIGHT_SECONDS": 3e-12,
        "VALUE_SECONDS": 2e-11,
        "MAC_SECONDS": 4e-13,
    }
    counts = [[1.0, 1e4 * a, 1e8 * b, 1e9 * c, 1e11 * d] for a, b, c, d in [(1, 2, 3, 4), (4, 1, 2, 9), (2, 40, 1, 1),
              (9, 1, 40, 2), (1, 1, 1, 1), (30, 5, 3, 50)]]  # fmt: skip
    rows = [[*row, sum(a * b for a, b in zip(row, true.values(), strict=True))] for row in counts]
    assert scripts.lanes.fitted(rows, table) == pytest.approx(true, rel=1e-6)


def test_bf16_is_taken_from_the_size_on_where_it_is_faster(scripts):
    def row(macs, tf32, bf16):
        return {"macs": macs, "seconds": {"fp32": 2 * tf32, "tf32": tf32, "bf16": bf16}}

    table = {"BF16_MACS": 50_000_000}
    rows = {f"N{n}": row(2**n * 10**5, 1.0, 2.0 if n < 2 else 0.5) for n in range(9)}  # all below the table's
    assert 2 * 10**5 < scripts.precision.figures(rows, table)["BF16_MACS"] < 4 * 10**5
    never = {f"N{n}": row(2**n * 10**8, 1.0, 2.0) for n in range(9)}
    assert scripts.precision.figures(never, table)["BF16_MACS"] == scripts.precision.NEVER


@pytest.mark.parametrize(
    ("train", "spread", "said"),
    [(200.0, 0.001, ("minutes: met", "times: met")), (400.0, 0.001, ("minutes: not met", "times: not met")),
     (200.0, 1.5, ("minutes: met", "times: open"))],
)  # fmt: skip
def test_the_goals_of_the_study_are_judged_by_intervals(scripts, train, spread, said):
    mean = 2500 / 1001
    sample = {f"N{n}": mean * (1 + spread * (-1) ** n) for n in range(10)}
    run = {"generate": 10.0, "train": train, "statuses": {"done": 1001}, "sessions": 1, "networks": 1001}
    text = scripts.study.section({"careful 1": {"seconds": sample}, "the run": run}, {})
    for sentence in said:
        assert sentence in text
