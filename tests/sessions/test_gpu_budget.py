from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick.sessions.workers.gpu_budget import Budget, Layout, bytes_needed, layout, occupancy
from netpick.training import cards
from netpick.training.cards import FIXED_BYTES


@pytest.fixture
def figures(monkeypatch):
    """Give figures of cards values that don't depend on what was measured."""

    def given(**values):
        for name, value in values.items():
            monkeypatch.setattr(cards, name, value)

    return given


@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1), st.integers(1, 5)), max_size=30),
    st.integers(0, 150),
    st.floats(0.5, 4),
)
def test_all_are_trained_in_their_order_and_never_over_budget(needs, total, load):
    budget, waiting, running, order = Budget(total, load), list(enumerate(needs)), {}, []
    while waiting or running:
        while waiting and budget.admit(waiting[0][0], waiting[0][1][0], waiting[0][1][1]):
            key, (_, _, turns) = waiting.pop(0)
            running[key] = turns
            order.append(key)
        assert running  # nobody waits for ever
        held = [needs[key] for key in running]
        assert len(held) == 1 or sum(need for need, _, _ in held) <= total
        assert len(held) == 1 or sum(load for _, load, _ in held) <= load + 1e-9
        assert budget.used == sum(need for need, _, _ in held)
        running = {key: turns - 1 for key, turns in running.items()}
        for key in [key for key, turns in running.items() if not turns]:
            del running[key]
            budget.leave(key)
    assert order == list(range(len(needs)))
    assert budget.used == 0


def test_what_was_measured_counts_and_teaches_the_next_prediction():
    budget = Budget(1000 * 2**20)
    assert budget.admit("a", 200 * 2**20, 0.1)
    budget.measured("a", 400 * 2**20 - FIXED_BYTES)  # twice what was predicted
    assert budget.used == 400 * 2**20
    assert budget.admit("b", 200 * 2**20, 0.1)
    assert budget.used == 800 * 2**20
    assert not budget.admit("c", 101 * 2**20, 0.1)  # would be taken for 202
    budget.measured("b", 100 * 2**20 - FIXED_BYTES)
    assert budget.admit("c", 101 * 2**20, 0.1)


def test_the_data_set_has_room_once_however_many_read_it():
    budget = Budget(1000)
    assert budget.admit("a", 400, 0.1)
    budget.set_aside(300)
    budget.set_aside(300)
    assert not budget.admit("b", 301, 0.1)
    assert budget.admit("b", 300, 0.1)
    budget.leave("a")
    budget.leave("b")
    assert budget.admit("c", 5000, 0.1)  # one alone is tried


def test_one_that_fits_nowhere_is_tried_alone():
    budget = Budget(10)
    assert budget.admit("large", 99, 0.1)
    assert not budget.admit("small", 1, 0.1)
    budget.leave("large")
    assert budget.admit("small", 1, 0.1)


def test_networks_that_fill_the_card_are_few_at_a_time(figures):
    figures(THREADS=132 * 2048, LOAD=4.0)
    budget = Budget(10**12)
    full = occupancy(memory=132 * 2048, layers=1, batch_size=25)
    assert full == 1
    assert [budget.admit(i, 1, full) for i in range(6)] == [i < 4 for i in range(6)]
    # Basic: 1588 elements in 3 layers, 25 samples: 13,233 threads of 270,336
    assert occupancy(1588, 3, 25) == pytest.approx(0.04895, abs=1e-5)


def test_the_need_of_a_linear_network(figures):
    figures(VALUE_COPIES=3, WEIGHT_COPIES=5)
    # Basic at batch 25: 1588 elements a sample three times, 7850 parameters five times, 4 bytes each
    assert bytes_needed(1588, 7850, 25) - FIXED_BYTES == 4 * (3 * 39700 + 39250)
    assert type(bytes_needed(1588, 7850, 25)) is int


@pytest.mark.parametrize(
    ("number", "cores", "wanted", "expected"),
    [
        (1, 16, None, Layout(2, 8)),
        (1, 2, None, Layout(1, 8)),
        (8, 16, None, Layout(1, 8)),
        (1, 16, 1, Layout(1, 1)),
        (1, 16, 16, Layout(2, 8)),
        (2, 16, 9, Layout(2, 3)),
        (1, 1, 3, Layout(1, 3)),
    ],
)
def test_processes_and_streams(figures, number, cores, wanted, expected):
    figures(PROCESSES=2, STREAMS=8)
    assert layout(number, cores, wanted) == expected
