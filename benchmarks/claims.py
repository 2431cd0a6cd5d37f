"""How often a sentence is wrong where the truth is known: a simulation for each claim that the questions make.

Each function below draws one run of which the truth is known (mostly: there is nothing to find), asks the question, and
says whether its sentence claims what it must not, or whether its interval covers the truth. The rate over many such
runs is to lie where the claim promises; what is too far from it, by its own 95 % interval, is a fault (exit code 1).
Answers are drawn from a seed, so that the same command gives the same numbers on every machine.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _claims import numbers
from _common import console, machine, main, new_parser, positive, print_machine, print_table, write_json
from scipy.stats import binomtest

from netpick.analysis._lines import chance, over_lines, sentence
from netpick.exam import pick as choose
from netpick.exam import plant
from netpick.exam.planted.redrawn import Redrawn
from netpick.exam.run import Run


class Claim(NamedTuple):
    """What a question says, one simulation of it, and between which rates that is to be true."""

    what: str
    draw: Callable[[np.random.Generator], bool]
    low: float
    high: float


CLAIMS: dict[str, Claim] = {}
Draw = Callable[[np.random.Generator], bool]


def claim(what: str, low: float, high: float) -> Callable[[Draw], Draw]:
    """Enter a simulation in the list under its own name."""

    def enter(draw: Draw) -> Draw:
        CLAIMS[draw.__name__] = Claim(what, draw, low, high)
        return draw

    return enter


@cache
def written(networks: int, samples: int, replicates: int = 1) -> Path:
    """Write a planted run whose answers are then redrawn, once for each size."""
    folder = Path(tempfile.mkdtemp(prefix="netpick-claims-")) / "run"
    plant(folder, networks, samples, epochs=1, replicates=replicates, scores="none", compact=True)
    return folder


def equal(rng: np.random.Generator, networks: int, samples: int, replicates: int = 1, right: float = 0.95) -> Redrawn:
    """Draw a run whose networks are all equally good: each is right on each sample with the same probability."""
    folder = written(networks, samples, replicates)
    labels = Run(folder).labels()
    wrong = rng.random((replicates, networks, samples)) >= right
    return Redrawn(folder, np.where(wrong, (labels + 1) % 10, labels))


@claim("versus, all networks equal: the best against Basic is called real", 0.0, 0.05)
def versus(rng: np.random.Generator) -> bool:
    """Ask as it is asked by default: the winner of 300 against Basic."""
    return "that is real" in equal(rng, 300, 360).ask("versus").text


@claim("versus with 4 replicates, all networks equal: the best against Basic is called real", 0.0, 0.05)
def versus_replicates(rng: np.random.Generator) -> bool:
    """Ask for the winner of 60 where replicates differ by their samples alone."""
    return "that is real" in equal(rng, 60, 360, replicates=4).ask("versus").text


@claim("compare --a BEST, all networks equal: the best is really better than any", 0.0, 0.05)
def compare_best(rng: np.random.Generator) -> bool:
    """Ask for the winner against all others."""
    run = equal(rng, 300, 360)
    top = run.network_names()[int(np.argmax((run.predicted() == run.labels()).mean(axis=1)))]
    return bool(run.ask("compare", a=top).table["real"].any())


def guessed(rng: np.random.Generator, networks: int, samples: int, right: float = 0.9) -> Redrawn:
    """Draw equal networks with scores: how sure a network is says nothing about whether it is right."""
    run = equal(rng, networks, samples, right=right)
    top = rng.uniform(0.5, 0.99, (networks, samples))
    p = np.repeat(((1 - top) / 9)[:, :, None], 10, axis=2)
    np.put_along_axis(p, run.predicted()[:, :, None].astype(int), top[:, :, None], axis=2)
    return Redrawn(run.path, run.predicted(), np.log(p).astype(np.float32))


@claim("pick, all networks equal: the interval of what is suggested covers the truth", 0.93, 1.0)
def pick(rng: np.random.Generator) -> bool:
    """Ask for the most accurate of 60."""
    found = choose(equal(rng, 60, 360), maximize=["accuracy"], give_up=0).judged
    return found is not None and found.low <= 0.95 <= found.high


@claim("committee, all networks equal: the interval of the best single one covers the truth", 0.93, 1.0)
def committee(rng: np.random.Generator) -> bool:
    """Ask for small committees of 20."""
    row = equal(rng, 60, 360).ask("committee", largest=2, draws=2, everyone=True).table.iloc[0]
    return bool(row["low"] <= 0.95 <= row["high"])


@claim("committee, none matches and all guess: the interval of what is chosen well covers the truth", 0.93, 1.0)
def committee_size(rng: np.random.Generator) -> bool:
    """Ask for committees of 15 networks that guess one of two classes: of any size and rule they are right by half."""
    run = equal(rng, 60, 360, right=0.5)
    answers = run.predicted()
    answers[0] = run.labels()  # the network to match is never wrong
    names = run.network_names()
    found = Redrawn(run.path, answers).ask("committee", members=names[1:16], target=names[0], draws=2, everyone=True)
    low, high = map(float, re.findall(r"chosen so has \S+ % \(95 % interval (\S+) % to (\S+) %\)", found.text)[0])
    return low <= 50 <= high


@claim("agreement, errors independent: pairs chosen err together as often as any, on average of the splits", 0.9, 1.0)
def agreement(rng: np.random.Generator) -> bool:
    """Ask for the best pair of 60 networks, which are wrong on a fifth of the samples."""
    run = equal(rng, 60, 360, right=0.8)
    text = run.ask("agreement", shuffles=9, everyone=True).text
    low, high = map(float, re.findall(r"both wrong on \S+ % \(95 % interval (\S+) % to (\S+) %\)", text)[0])
    return low <= 4 <= high


@claim("sets, all networks equal: some network is told from the first", 0.0, 0.05)
def sets(rng: np.random.Generator) -> bool:
    """Ask with the default weights."""
    table = guessed(rng, 60, 360).ask("sets", method="LAC", everyone=True).table
    return bool((~table["tied"]).any())


@claim("cascade, confidence says nothing and networks are equal: what it keeps covers 100 %", 0.93, 1.0)
def cascade(rng: np.random.Generator) -> bool:
    """Ask to keep all of the accuracy."""
    text = guessed(rng, 60, 360).ask("cascade", keep=1.0, everyone=True).text
    found = re.findall(r"a cascade keeps \S+ % \(95 % interval (\S+) % to (\S+) %\)", text)
    return not found or float(found[0][0]) <= 100 <= float(found[0][1])


@claim("sweep, four equal values with three replicates: the best is more than noise", 0.0, 0.05)
def sweep(rng: np.random.Generator) -> bool:
    """Compare the best with the next."""
    values = rng.normal(size=(4, 3))
    frame = {"accuracy": values.mean(axis=1), "spread": values.std(axis=1, ddof=1), "replicates": 3}
    order = pd.DataFrame(frame).sort_values("accuracy", ascending=False)
    return bool(chance(order, "accuracy")[0] < 0.05)


@claim("sweep, the best of 20 lines of four equal values with three replicates: more than noise", 0.0, 0.05)
def sweep_chosen(rng: np.random.Generator) -> bool:
    """Speak of the line with the best student of all."""
    table = lines(rng.normal(size=(20, 4, 3)), rng)
    return "which is more than noise" in sentence(table, "lr", "accuracy", "test").split(" On ")[0]


@claim("sweep, 8 networks take four values each in its own way, some cells missing: one is best over all", 0.0, 0.05)
def sweep_over(rng: np.random.Generator) -> bool:
    """Look whether any value is told from the best, where replicates share how their network takes a value."""
    own = rng.normal(size=(8, 4, 1)) * rng.uniform(0.5, 2, (8, 1, 1))
    found = over_lines(lines(own + rng.normal(0, 0.3, (8, 4, 3)), rng, missing=0.15), "accuracy")
    return found is not None and bool((found.p < 0.05).any())


def lines(values: np.ndarray, rng: np.random.Generator, missing: float = 0.0) -> pd.DataFrame:
    """Return the table of a sweep from (lines, values, replicates) of a metric, the line with the best one first."""
    frame = pd.DataFrame(np.argwhere(np.ones(values.shape[:2])), columns=["line", "value"])
    frame["accuracy"], frame["spread"] = values.mean(axis=2).ravel(), values.std(axis=2, ddof=1).ravel()
    frame = frame.assign(replicates=values.shape[2], name="N", seconds=1.0)
    frame["best"] = frame["accuracy"] == frame.groupby("line")["accuracy"].transform("max")
    top = frame.groupby("line")["accuracy"].transform("max")
    frame = frame.assign(value=list("abcd") * len(values), top=top).sort_values("top", ascending=False, kind="stable")
    return frame[rng.random(len(frame)) >= missing]


@claim("why_hard, ResNetStyle reads 40 samples and all have ReLU: activation or size is said to", 0.0, 0.05)
def why_hard(rng: np.random.Generator) -> bool:
    """Ask of 60 networks, of which those of other computations read one of these samples in 20."""
    run = Run(written(60, 360))
    reads = (run.networks["computation"] == "ResNetStyle").to_numpy()
    chance = np.where(np.arange(360) < 40, np.where(reads[:, None], 0.95, 0.05), 0.98)
    wrong = rng.random((len(reads), 360)) >= chance
    found = Redrawn(run.path, np.where(wrong, (run.labels() + 1) % 10, run.labels())).ask("why_hard", everyone=True)
    return bool(found.table["way"].isin(["activation", "size"]).any())


@claim("compare, all networks equal: some computation is really better", 0.0, 0.05)
def compare_computations(rng: np.random.Generator) -> bool:
    """Ask for computations, within activations."""
    return bool(equal(rng, 60, 360).ask("compare").table["real"].any())


@claim("compare by activation, ResNetStyle better and all ReLU: some activation is really better", 0.0, 0.05)
def compare_activations(rng: np.random.Generator) -> bool:
    """Ask for activations where computations differ and activations do not."""
    folder = written(60, 360)
    labels, networks = Run(folder).labels(), Run(folder).networks
    right = np.where(networks["computation"] == "ResNetStyle", 0.98, 0.9) + rng.normal(0, 0.01, len(networks))
    wrong = rng.random((len(networks), 360)) >= right[:, None]
    table = Redrawn(folder, np.where(wrong, (labels + 1) % 10, labels)).ask("compare", by="activation").table
    return bool(table["real"].any())


CLAIMS.update({name: Claim(*claimed) for name, claimed in numbers.CLAIMS.items()})


def rate(name: str, times: int) -> dict[str, object]:
    """Draw a claim's runs, and say how often it came out and whether that is what it promises."""
    what, draw, low, high = CLAIMS[name]
    came = sum(draw(np.random.default_rng([i, *name.encode()])) for i in range(times))
    sure = binomtest(came, times).proportion_ci(0.95, method="exact")
    kept = sure.high >= low and sure.low <= high
    return {"claim": name, "what": what, "times": times, "rate": came / times, "from": low, "to": high, "kept": kept}


def work() -> int:
    """Simulate, print the table, and fail where a promise is broken."""
    parser = new_parser(__doc__)
    parser.add_argument("--only", metavar="NAME", choices=sorted(CLAIMS), nargs="+", help="these claims alone")
    parser.add_argument("--times", type=positive, default=100, help="runs to draw for each (100)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    rows = pd.DataFrame([rate(name, args.times) for name in args.only or CLAIMS])
    columns = ["claim", "what", "rate", "from", "to", "kept"]
    print_table(f"{args.times} runs each", columns, rows[columns].itertuples(index=False))
    broken = rows.loc[~rows["kept"], "claim"].tolist()
    console.print(f"broken: {', '.join(broken)}" if broken else "all promises kept", style="red" if broken else "green")
    write_json(args.json, {"machine": facts, "claims": rows.to_dict("records")})
    return int(bool(broken))


if __name__ == "__main__":
    main(work)
