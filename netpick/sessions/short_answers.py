"""Answers of new classifiers to a few samples of a run, as a file has them: which samples, and which classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.sessions.given_answers import GivenAnswers, sample_key
from netpick.sessions.given_paper import Paper, check_classes
from netpick.store.reader import Reader


def answers_to(run: Reader, path: str | Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read the answers of classifiers that answered the same few samples.

    Parameters
    ----------
    run : the run whose samples they are, by the names that it has for them, or else their numbers
    path : a CSV or Parquet file, long or wide as for `import_run`; in a long one of one classifier the column network
        may be missing

    Returns
    -------
    names, items, predicted
        Of the classifiers; numbers of the samples; classes (classifiers, samples), those of the last epoch.

    Raises
    ------
    DataError
        A sample or a class that the run does not have, or whatever else is refused of an import.
    """
    answers = GivenAnswers.read(path)
    rows = run.samples[run.samples["split"] == "test"].sort_values("sample")
    names = rows["name"].tolist() if run.imported else [str(sample) for sample in rows["sample"]]
    place = {name: i for i, name in enumerate(names)}
    if odd := [name for name in answers.samples if name not in place]:
        raise DataError(f"{path}: {run.path} has no sample {listed(odd, 3)}: give answers to its own")
    paper = Paper(names, rows["label"].to_numpy(np.int16), run.classes)
    check_classes(paper, answers)
    order = sorted(answers.samples, key=sample_key)
    last = {given.network: given.predicted for given in answers.answers(order, paper.numbers, len(run.classes))}
    return list(last), np.array([place[name] for name in order]), np.array([*last.values()])
