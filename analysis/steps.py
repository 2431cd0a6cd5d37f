"""In how many steps do the students work out an answer?

Steps are the distinct nodes of the autograd graph of one forward pass: how many operations there are, not how large.

Columns of the answer, a row a computation and last a row `all`:

- `computation`: the kind of layer that does the work
- `students`: number of students
- `least`, `q25`, `median`, `q75`, `most`: number of steps among them
- `of_basic`: the median as a multiple of the steps of `Basic`; missing where the run has no `Basic`
- `stars`: gold stars among them
- `star_median`: median number of steps of these; missing where there are none
- `correlation`: of steps with the last score, from -1 to 1; missing below three students, and where they
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

COST = _cost.Cost("ops", "Steps", "takes", "steps")


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
    return _cost.answer(run, COST, everyone, good, gold, quantile, split)
