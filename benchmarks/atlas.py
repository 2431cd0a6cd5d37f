"""Write docs/atlas.md: the hard images of whole data sets, test and training, from runs with crossed folds.

    python benchmarks/atlas.py runs/mnist-folds runs/fashion-folds [--to docs/atlas.md]

Each run was made with `--set recipe.folds=K`, so that training images have answers of networks that never saw them.
Counts are worked out here from the Parquet; figures and sentences are those of the questions. Trains nothing.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from netpick import Run, exam
from netpick.core.errors import NetpickError
from netpick.report.figures import shrunk

WIDE, BYTES = 1100, 150_000
"""Pixels and bytes that a figure has at most."""
SPLITS = {"test": "test", "left_out": "training, left out"}
QUESTIONS = {
    "weird": "Weird: nearly all are wrong in the same way",
    "confusing": "Confusing: no two agree",
    "suspects": "Suspects: the label is probably wrong",
    "why_hard": "Which family reads what",
    "strategies": "Who reads most",
}
HEAD = """# The hard-sample atlas

Which images of a data set are hard, in all of it and not in its test set alone? With
[crossed folds](howto/every_sample.md) each training image is answered by networks that never saw it, so that one run
examines a whole data set. `python benchmarks/atlas.py` writes this page from finished runs: counts from the Parquet,
figures and sentences from the questions.

A share of an image is over the networks that answered it. "All" and "none" are of these: where a hundred networks
answered an image and a thousand another, the hundred agree more easily, so that the two lines of a table are not to be
compared in these columns.
"""


def counts(run: Run) -> pd.DataFrame:
    """Return a row a split: images, how many networks answered each, and how many all, few or none of them read.

    Of all students, at the last epoch, from predicted classes and labels alone.
    """
    rows = []
    for split, words in SPLITS.items():
        _, predicted, labels = exam.final(run, split=split)
        answered = (predicted >= 0).sum(axis=0)
        right = ((predicted == labels) & (predicted >= 0)).sum(axis=0)
        share = right / answered
        rows.append(
            {
                "images": words,
                "number": f"{len(labels):,}",
                "networks that answered each": f"{answered.min():,} to {answered.max():,}"
                if answered.min() < answered.max()
                else f"{answered.min():,}",
                "mean share right": exam.percent(float(share.mean())),
                "all right": f"{(right == answered).sum():,}",
                "under half right": f"{(share < 0.5).sum():,}",
                "under a tenth": f"{(share < 0.1).sum():,}",
                "none right": f"{(right == 0).sum():,}",
            }
        )
    return pd.DataFrame(rows)


def found(run: Run) -> pd.DataFrame:
    """Return a row a split: how many images are easy, weird, confusing and suspect to the good students."""
    rows = []
    for split, words in SPLITS.items():
        row = {"images": words}
        for name in ("easy", "weird", "confusing"):
            row[name] = f"{len(run.ask(name, split=split).table):,}"
        suspects = run.ask("suspects", split=split).table
        row["suspect"] = f"{int(suspects['suspect'].sum()):,}"
        rows.append(row)
    return pd.DataFrame(rows)


def by_class(run: Run) -> pd.DataFrame:
    """Return a row a class: training images under half right, and the class that is most often said instead."""
    _, predicted, labels = exam.final(run, split="left_out")
    answered = predicted >= 0
    share = ((predicted == labels) & answered).sum(axis=0) / answered.sum(axis=0)
    votes = exam.votes(predicted, len(run.classes))
    rows = []
    for c, name in enumerate(run.classes):
        hard = (labels == c) & (share < 0.5)
        said = votes[hard].sum(axis=0)
        said[c] = 0
        often = run.classes[int(said.argmax())] if said.any() else "-"
        rows.append(
            (name, f"{(labels == c).sum():,}", f"{hard.sum():,}", exam.percent(hard.sum() / (labels == c).sum()), often)
        )
    return pd.DataFrame(rows, columns=["class", "images", "under half right", "share", "mostly said of these"])


def table(frame: pd.DataFrame) -> str:
    """Return a frame as a table of Markdown, numbers to the right."""
    head = [list(frame.columns), ["---", *["---:"] * (frame.shape[1] - 1)]]
    rows = [[re.sub(r"[|\n]", "/", str(cell)) for cell in row] for row in [*head, *frame.to_numpy().tolist()]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def draw(run: Run, name: str, pictures: Path) -> str:
    """Ask a question of the images that were left out, write its figure, and return what the page says of it."""
    try:
        answer = run.ask(name, split="left_out")
        file = pictures / f"{run.name}-{name}.png"
        answer.save(file)
    except NetpickError as error:
        return f"`{name}` has no answer: {error}.\n"
    file.write_bytes(shrunk(file, WIDE, BYTES)[0])
    note = f" ({answer.note})" if answer.note else ""
    return f"{answer.text}{note}\n\n![{run.name}: {name}]({pictures.name}/{file.name})\n"


def block(path: Path, pictures: Path) -> str:
    """Return the part of the page that a run has, and write its figures."""
    run = Run(path)
    recipe, manifest = run.recipe, run.manifest
    folds = recipe.get("folds") or 0
    if "left_out" not in set(run.samples["split"].astype(str)):
        raise NetpickError(f"{path}: was trained without folds: make it with `--set recipe.folds=10`")
    changed = f" --limit {manifest['limit']}" if manifest.get("limit") else ""
    out = [
        f"## {manifest['dataset']}\n",
        "```sh\n"
        f"netpick generate {manifest['source']} --dataset {manifest['dataset']}{changed} --set recipe.folds={folds} "
        f"--run runs/{run.name}\nnetpick train runs/{run.name}\n```\n",
        f"{len(exam.students(run)):,} networks, {recipe['epochs']} epochs, {folds} folds: "
        f"{_minutes(run):.0f} minutes on {_workers(run)} cores, beside other programs.\n",
        table(counts(run)),
        "By the questions, to the good students:\n",
        table(found(run)),
        "Of the training images, by class:\n",
        table(by_class(run)),
    ]
    for name, title in QUESTIONS.items():
        out += [f"### {title}\n", draw(run, name, pictures)]
    return "\n".join(out).replace(str(run.path), f"runs/{run.name}")


def _minutes(run: Run) -> float:
    return float(run.trainings["seconds"].sum()) / 60 / _workers(run)


def _workers(run: Run) -> int:
    return int(run.manifest.get("training", {}).get("workers", 1))


def work() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run with folds")
    parser.add_argument("--to", type=Path, default=Path("docs/atlas.md"), metavar="FILE", help="the page (%(default)s)")
    args = parser.parse_args()
    pictures = args.to.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    try:
        parts = [HEAD, *(block(path, pictures) for path in args.runs)]
    except NetpickError as error:
        raise SystemExit(f"atlas.py: {error}") from None
    args.to.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    work()
