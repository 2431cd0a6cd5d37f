"""Pieces of work that are made ahead of the one that is used."""

import threading
from itertools import count

import pytest

from netpick.exam import ahead


def test_what_is_made_comes_in_order_and_no_more_is_held():
    started, gate = [], threading.Event()

    def make(number):
        started.append(number)
        if number == 0:
            gate.wait(5)  # the others overtake it
        return number**2

    found = ahead(make, count(), threads=2)
    threading.Timer(0.05, gate.set).start()
    assert [next(found) for _ in range(5)] == [0, 1, 4, 9, 16]
    found.close()
    assert set(started) <= set(range(7))  # of endless pieces: the five, and two more
    assert list(ahead(make, [])) == []


def test_an_error_comes_where_its_piece_would():
    found = ahead(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(found), next(found)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(found)
