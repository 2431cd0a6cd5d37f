"""The front, found by comparing every network with every other."""

import pytest

from netpick.core.errors import NetpickError
from netpick.exam import Run, plant, students


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plant(folder := tmp_path_factory.mktemp("runs") / "run", networks=60, samples=80, epochs=2)
    return Run(folder)


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_nobody_beats_a_network_of_the_front(run, cost):
    answer = run.ask("pareto", cost=cost)
    everyone = [*students(run)[["name", cost, "accuracy"]].itertuples(index=False, name=None)]

    def is_beaten(price, accuracy):
        return any(p <= price and a >= accuracy and (p, a) != (price, accuracy) for _, p, a in everyone)

    front = {name for name, price, accuracy in everyone if not is_beaten(price, accuracy)}
    assert set(answer.table["name"]) - {answer.runner_up} == front - {answer.runner_up}
    assert answer.name in front
    assert f"{len(front)} are on the Pareto front" in answer.text


def test_a_cost_that_there_is_not_is_refused(run):
    with pytest.raises(NetpickError, match="cost"):
        run.ask("pareto", cost="money")
