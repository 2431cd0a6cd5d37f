"""How long do the students study?

Study time is the time of the optimisation steps of all epochs together, in seconds on the device of the run;
evaluation, loading and measuring are not in it. For a network with replicates it is their mean. Where `netpick time`
has measured all networks alone, it is the number of steps times the time of one step alone; else it was taken while the
networks were trained, several at a time. A note says which.

Columns of the answer, a row a computation and last a row `all`:

- `computation`: the kind of layer that does the work
- `students`: number of students
- `least`, `q25`, `median`, `q75`, `most`: study time among them, in seconds
- `of_basic`: the median as a multiple of the study time of `Basic`; missing where the run has no `Basic`
- `stars`: gold stars among them
- `star_median`: median study time of these, in seconds; missing where there are none
- `correlation`: of study time with the last score, from -1 to 1; missing below three students, and where they
  are equal
- `within`, `low`, `high`: the same among students of one computation, and its 95 % interval; in the row `all` the mean
  over the computations; missing below five students

`Basic` is one linear layer and nothing else. Quartiles are interpolated linearly; the correlation is Spearman's, of
ranks. Over all students it mixes what more of it brings with how computations differ; `within` doesn't: each
computation counts by its number of students less one, and the interval is that of Fisher's z with the variance of rank
correlations (Bonett and Wright 2000, Psychometrika 65). Good students only, unless `everyone` is asked.
"""

from __future__ import annotations

from netpick import exam
from netpick.analysis import _cost
from netpick.exam import Answer, Run

COST = _cost.Cost("seconds", "Study time", "studies for", "s")


def ask(
    run: Run,
    *,
    everyone: bool = False,
    good: float = exam.GOOD,
    gold: float = exam.GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> Answer:
    """Describe the distribution by computation, beside `Basic` and the gold stars."""
    return _cost.answer(run, COST, everyone, good, gold, quantile, split, exam.times(run), _span(run))


def _span(run: Run) -> tuple[float, float] | None:
    """Return how long `Basic` would study if all epochs were its shortest or its longest; None where nobody knows.

    Its time is some milliseconds, which one hiccup of the machine can double.
    """
    rows = exam.evaluations(run)
    rows = rows[rows["network"] == "Basic"]
    epochs = rows["epoch"].nunique()
    if epochs < 2 or exam.alone(run):
        return None
    shortest, longest = rows["train_seconds"].min(), rows["train_seconds"].max()
    return (epochs * shortest, epochs * longest) if shortest > 0 else None
