"""Which kind of network gets the hard samples right?

A sample is hard when fewer than the share `hard` of the networks get it right. Networks are grouped in five ways: by
what their layers are (with convolutions or without), by their first layer, computation, activation, and size
(quarters by params). For each hard sample and each group, the share of the group that is right is compared with the
share of all other networks, and with that of networks that are like it in what else may make the difference: those of
the same computation; for a group that is made up of whole computations, those with the same activation.

Columns
-------
A row is a hard sample and a group that gets it right more often than others like it do; the largest differences come
first, sample by sample.

sample, label : the sample's number and true class
right : share of all networks asked that get it right
way : how networks are grouped: `layers`, `first layer`, `computation`, `activation`, `size`; of groups that are made
    up of the same networks one is kept
group : name of the group
networks : networks in the group
share : of the group, that is right
others : share of all networks outside the group that is right
within : `computation` or `activation`, in which networks are alike that are compared; empty where the group shares
    neither with anybody else, and is compared with all
share_within, others_within : share of the group, and of the others, that is right, where networks are alike: the others
    are weighted to be of the computations, or activations, that the group is of
p : corrected p-value of "the group is right no more often than others that are alike"
only : whether the group, and nobody else, reads this sample: at least half of it, and at most the share `stray` of the
    others

Method: Fisher's exact test, one-sided, within strata (Birch 1964, "The detection of partial association"), for each
sample and group; p-values of all of them together are corrected by Holm's method. Groups of fewer than `least` networks
are left out; of more than 2,000 networks a share of each family is drawn. What a group has in common may still not be
why: where all ResNetStyle networks have ReLU, say, they are compared with others that have it, but not with others of
their size.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _alike
from netpick.exam import Answer, NetpickError, Run, holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure


QUARTERS = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
COLUMNS = (
    "sample", "label", "right", "way", "group", "networks", "share", "others", "within", "share_within",
    "others_within", "p", "only",
)  # fmt: skip
LIKE = {"computation": "of the same computation", "activation": "with the same activation"}


def ask(
    run: Run,
    *,
    hard: float = 0.5,
    alpha: float = 0.05,
    stray: float = 0.02,
    least: int = 5,
    images: int = 12,
    networks: int = exam.MANY,
    seed: int = 0,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Find, for each hard sample, the groups of networks that get it right more often than the others.

    Parameters
    ----------
    hard : float
        A sample is hard when less than this share of the networks get it right.
    alpha : float
        Largest corrected p-value of a group that is listed.
    stray : float
        Share of the other networks that may be right where "only" one group is said to be.
    least : int
        Networks that a group must have.
    images : int
        Samples in the figure.
    networks : int
        Where there are more, so many are drawn, a share of each family; time grows with their square.
    seed : int
        Of the networks that are drawn.
    """
    exam.check_count("networks", networks)
    hard, alpha = exam.check_fraction("hard", hard), exam.check_fraction("alpha", alpha)
    stray = exam.check_fraction("stray", stray)
    least, images = exam.check_count("least", least), exam.check_count("images", images)
    chosen = exam.selected(run, everyone, good, gold, quantile, split)
    chosen, who = exam.drawn_of(chosen, networks, exam.whom(chosen, everyone, split), seed)
    names, predicted, labels = exam.final(run, chosen["name"], split)
    right = exam.marked(predicted, labels)
    share = exam.rates(right, 0)
    samples = np.flatnonzero(share < hard)
    asked = run.networks.set_index("name").loc[names]
    groups = groups_of(asked, least)
    table = _compare(right, samples, groups, asked, least)
    if table is None:
        raise NetpickError(
            f"none of the groups that {len(names)} networks fall into has at least {least} and leaves others beside: "
            "give a lower `least`, or ask everyone"
        )
    alike = also(asked, groups)
    table = table[(table["p"] <= alpha) & (table["share_within"] > table["others_within"])]
    table["only"] = (table["share"] >= 0.5) & (table["others"] <= stray)
    table["label"], table["right"] = labels[table["sample"]], share[table["sample"]]
    table["gap"] = table["share_within"] - table["others_within"]
    table["widest"] = table.groupby("sample")["gap"].transform("max")
    table = table.sort_values(["widest", "sample", "gap"], ascending=[False, True, False], ignore_index=True)[
        [*COLUMNS]
    ]
    nobody = int((share == 0).sum())
    shown = table["sample"].unique()[:images]
    votes = exam.votes(predicted[:, shown], len(run.classes))
    return Answer(
        table,
        _text(table, len(samples), nobody, len(labels), who, alike),
        lambda: _draw(run, table, shown, votes, alike, exam.how_many(chosen), split),
        exam.notes(run, exam.said_of_samples(run, split, (predicted >= 0).sum(axis=0), len(names)), first=True),
        shares=("right", "share", "others", "share_within", "others_within"),
        columns=("sample", "group", "share", "others", "p", "share_within", "others_within", "within", "only"),
    )


def groups_of(networks: pd.DataFrame, least: int = 1) -> dict[tuple[str, str], np.ndarray]:
    """Return who is in each group, by way and name; a row of `networks` a network.

    Left out are groups of fewer than `least`, groups that leave nobody outside, and repetitions of an earlier one.
    """
    ops = [[layer["op"] for layer in json.loads(text)] for text in networks["layers"]]
    convolves = ["with convolutions" if any(_is_convolution(op) for op in o) else "without convolutions" for o in ops]
    first = [next((op for op in o if op == "Linear" or _is_convolution(op)), "none") for o in ops]
    place = networks["params"].rank(method="average", pct=True)
    size = ["" if np.isnan(p) else QUARTERS[min(int(4 * (p - 1e-9)), 3)] for p in place]
    ways = {
        "computation": networks["computation"],
        "activation": networks["activation"],
        "layers": convolves,
        "first layer": first,
        "size": size,
    }
    out: dict[tuple[str, str], np.ndarray] = {}
    seen = set()
    for way, values in ways.items():
        column = np.asarray(values, dtype=str)
        for name in sorted(set(column) - {""}):  # nobody told how large an imported network is
            members = column == name
            if members.tobytes() not in seen and least <= members.sum() < len(members):
                seen.add(members.tobytes())
                out[way, name] = members
    return out


def also(networks: pd.DataFrame, groups: dict[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], str]:
    """Say of each group in what else all its networks are alike, by computation and activation, where others differ.

    Which of both makes the difference can't be told then.
    """
    out = {}
    for (way, name), members in groups.items():
        other = [column for column in ("computation", "activation") if column != way and networks[column].nunique() > 1]
        shared = [(column, networks.loc[members, column].unique()) for column in other]
        common = [in_words(column, values[0]) for column, values in shared if len(values) == 1]
        out[way, name] = f", all of them {' and '.join(common)}" if common else ""
    return out


def _is_convolution(op: str) -> bool:
    return op.startswith("Conv") or op == "BasicBlock"


def _compare(
    right: np.ndarray,
    samples: np.ndarray,
    groups: dict[tuple[str, str], np.ndarray],
    networks: pd.DataFrame,
    least: int,
) -> pd.DataFrame | None:
    """Return a row for each group and sample: shares inside and outside, and the corrected p-value.

    A sample is asked of those that answered it; None where nobody of them makes a group beside others.
    """
    parts = []
    for rows, columns in exam.blocks(right[:, samples]):
        members = {key: of[rows] for key, of in groups.items()}
        members = {key: of for key, of in members.items() if least <= of.sum() < len(of)}
        if members:
            parts.append(_shares(right[rows][:, samples[columns]] > 0, members, networks.iloc[rows], samples[columns]))
    if not parts:
        return None
    table = pd.concat(parts, ignore_index=True)
    return table.assign(p=holm(table["p"]))


def _shares(
    right: np.ndarray, groups: dict[tuple[str, str], np.ndarray], networks: pd.DataFrame, samples: np.ndarray
) -> pd.DataFrame:
    """Return the rows of samples that all networks answered."""
    n = len(right)
    total = right.sum(axis=0)
    computation, activation = (networks[column].to_numpy(str) for column in ("computation", "activation"))
    parts = []
    for (way, name), members in groups.items():
        within, strata = _alike.strata_of(members, computation, activation)
        alike = _alike.compare(right, members, strata)
        inside, size = right[members].sum(axis=0), int(members.sum())
        parts.append(
            pd.DataFrame(
                {
                    "way": way,
                    "group": name,
                    "networks": size,
                    "sample": samples,
                    "share": inside / size,
                    "others": (total - inside) / (n - size),
                    "within": within,
                    "share_within": alike.share,
                    "others_within": alike.others,
                    "p": alike.p,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def in_words(way: str, group: str) -> str:
    """Name the networks of a group in a sentence."""
    if way == "activation":
        return "networks without activations" if group == "None" else f"networks with {group}"
    words = {
        "computation": f"{group} networks",
        "layers": f"networks {group}",
        "first layer": f"networks that begin with {group}",
    }
    return words.get(way, f"the {group} by params")


def _text(
    table: pd.DataFrame, hard: int, nobody: int, samples: int, who: str, alike: dict[tuple[str, str], str]
) -> str:
    if not hard:
        return f"No sample is hard: {who} get each of {samples} right often enough."
    told = table["sample"].nunique()
    none = f", and {nobody} of these none gets right" if nobody else ""
    are = "is" if hard == 1 else "are"
    said = f"Of {samples} samples {hard} {are} hard for {who}{none}."
    if not told:
        return f"{said} No group of networks gets any of them right more often than others like it, beyond chance."
    first = table.drop_duplicates("sample").head(3)
    sentences = [_sentence(row._asdict(), alike) for row in first.itertuples()]
    return f"{said} For {told} of them some kind of network does better than others like it. {' '.join(sentences)}"


def _sentence(row: dict, alike: dict[tuple[str, str], str]) -> str:
    also = alike[row["way"], row["group"]]
    who = in_words(row["way"], row["group"]) + (f"{also}," if also else "")
    shares = f"{exam.percent(row['share'], 0)} of them, {exam.percent(row['others'], 0)} of the others"
    if row["within"]:
        within = [exam.percent(row[column], 0) for column in ("share_within", "others_within")]
        shares += f"; {LIKE[row['within']]} {' and '.join(within)}"
    if row["only"]:
        return f"Only {who} read number {row['sample']} ({shares})."
    return f"{who[0].upper() + who[1:]} read number {row['sample']} more often ({shares})."


def _draw(
    run: Run, table: pd.DataFrame, shown: np.ndarray, votes: np.ndarray, alike: dict[tuple[str, str], str], few: str,
    split: str,
) -> Figure:  # fmt: skip

    first = table.drop_duplicates("sample").set_index("sample")
    captions = []
    for sample in shown:
        row = first.loc[sample]
        name = {"activation": f"activation {row['group']}", "first layer": f"first {row['group']}"}
        mark = "only " if row["only"] else ""
        shares = f"{100 * row['share']:.0f} %, others {100 * row['others']:.0f} %"
        captions.append(f"{mark}{name.get(row['way'], row['group'])}\n{shares}")
    title = (
        _sentence(table.iloc[0].to_dict(), alike) if len(table) else "No kind of network is better at the hard samples"
    )
    return exam.image_grid(run, list(shown), captions, votes, split, f"{title.rstrip('.')} ({few})")
