"""Asking a run: who the students are, how they voted, whether a difference is real; questions, picking, export.

All that a question needs can be imported from here, and is looked up when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.core.errors import NetpickError, RunError, SpecError, WorkError, listed, suggest
    from netpick.core.words import percent, points, short
    from netpick.exam import theme
    from netpick.exam.answer import Answer
    from netpick.exam.ballots import FEW, ballot, final, final_scores, first_replicates, halves, votes
    from netpick.exam.checks import check_count, check_fraction, done, need_network, need_split, notes
    from netpick.exam.exports import export
    from netpick.exam.marks import (
        GOLD,
        GOOD,
        TIMED,
        TINY,
        alone,
        attempts,
        basic,
        best,
        selected,
        students,
        timed,
        times,
        whom,
    )
    from netpick.exam.network_card import card
    from netpick.exam.picking.picking import pick
    from netpick.exam.pictures import image_grid
    from netpick.exam.planted.planted import plant
    from netpick.exam.questions.questions import Question, ask
    from netpick.exam.run import Run
    from netpick.exam.significance import (
        ROUNDS,
        Bootstrap,
        Difference,
        bootstrap_difference,
        holm,
        mcnemar,
        mcnemar_counts,
        verdict,
    )

__all__ = [
    "FEW",
    "GOLD",
    "GOOD",
    "ROUNDS",
    "TIMED",
    "TINY",
    "Answer",
    "Bootstrap",
    "Difference",
    "NetpickError",
    "Question",
    "Run",
    "RunError",
    "SpecError",
    "WorkError",
    "alone",
    "ask",
    "attempts",
    "ballot",
    "basic",
    "best",
    "bootstrap_difference",
    "card",
    "check_count",
    "check_fraction",
    "done",
    "export",
    "final",
    "final_scores",
    "first_replicates",
    "halves",
    "holm",
    "image_grid",
    "listed",
    "mcnemar",
    "mcnemar_counts",
    "need_network",
    "need_split",
    "notes",
    "percent",
    "pick",
    "plant",
    "points",
    "selected",
    "short",
    "students",
    "suggest",
    "theme",
    "timed",
    "times",
    "verdict",
    "votes",
    "whom",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        ".core.errors": ("NetpickError", "RunError", "WorkError", "SpecError", "listed", "suggest"),
        ".core.words": ("percent", "points", "short"),
        "theme": (),
        "run": ("Run",),
        "answer": ("Answer",),
        "questions.questions": ("ask", "Question"),
        "network_card": ("card",),
        "exports": ("export",),
        "picking.picking": ("pick",),
        "planted.planted": ("plant",),
        "pictures": ("image_grid",),
        "marks": (
            "GOOD",
            "GOLD",
            "TINY",
            "attempts",
            "TIMED",
            "timed",
            "alone",
            "times",
            "students",
            "selected",
            "whom",
            "best",
            "basic",
        ),
        "ballots": ("FEW", "first_replicates", "final", "final_scores", "halves", "votes", "ballot"),
        "checks": ("check_fraction", "check_count", "need_network", "need_split", "done", "notes"),
        "significance": (
            "ROUNDS",
            "Difference",
            "mcnemar",
            "mcnemar_counts",
            "holm",
            "Bootstrap",
            "bootstrap_difference",
            "verdict",
        ),
    },
)
