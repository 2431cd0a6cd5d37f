"""Asking a run: who the students are, how they voted, whether a difference is real; questions, picking, export.

All that a question needs can be imported from here, and is looked up when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.core.advice import command
    from netpick.core.errors import NetpickError, RunError, SpecError, WorkError, listed, suggest
    from netpick.core.result import LEFT_OUT
    from netpick.core.threads import ahead
    from netpick.core.words import counted_word, figures, percent, points, quoted, short
    from netpick.exam import examination, foresight, item_response, questions, short_exam, theme
    from netpick.exam.across_folds import AcrossFolds
    from netpick.exam.answer import Answer
    from netpick.exam.answered import (
        SHARED,
        blocks,
        comparing_split,
        is_whole,
        marked,
        need_shared,
        rates,
        said_of_networks,
        said_of_samples,
        within_folds,
    )
    from netpick.exam.associations import Association, association
    from netpick.exam.ballots import (
        FEW,
        ballot,
        final,
        final_scores,
        first_replicates,
        first_trainings,
        halves,
        score_blocks,
        votes,
    )
    from netpick.exam.checks import (
        check_choice,
        check_count,
        check_fraction,
        choosing_split,
        done,
        need_known,
        need_network,
        need_split,
        need_trained,
        notes,
    )
    from netpick.exam.designs import layers
    from netpick.exam.drawn import MANY, drawn_of, some_of
    from netpick.exam.examination import examine
    from netpick.exam.exports import export
    from netpick.exam.first_look import look
    from netpick.exam.fixes import write_fixes
    from netpick.exam.item_response import ResponseModel
    from netpick.exam.joined import RELABELLED, Sides
    from netpick.exam.luck import luck_of_the_seed, said_of_luck
    from netpick.exam.marks import (
        DIGITS,
        ENOUGH,
        GOLD,
        GOOD,
        TINY,
        attempts,
        basic,
        best,
        enough,
        evaluations,
        how_many,
        last_evaluations,
        leaders,
        leading,
        of_basic,
        on_equal_folds,
        preferred,
        selected,
        students,
        whom,
    )
    from netpick.exam.network_card import card
    from netpick.exam.pairs import Pair, compared, difference, replicates
    from netpick.exam.picking.suggestion import Pick, pick
    from netpick.exam.pictures import image_grid
    from netpick.exam.planted.design import Truth
    from netpick.exam.planted.exam import plant
    from netpick.exam.prediction import Prediction, predict
    from netpick.exam.questions.listing import ask
    from netpick.exam.questions.own_modules import own_question
    from netpick.exam.questions.question import Question
    from netpick.exam.run import Run
    from netpick.exam.significance import (
        ROUNDS,
        Bootstrap,
        Difference,
        bootstrap_difference,
        by_students_t,
        holm,
        mcnemar,
        mcnemar_counts,
        verdict,
    )
    from netpick.exam.splits import FEW_TIMES, TIMES, Accuracies, Judged, Splits, often
    from netpick.exam.strata import Strata
    from netpick.exam.timings import TIMED, alone, elsewhere, layer_times, timed, times
    from netpick.exam.winner import accuracies, label_of, labelled
    from netpick.store.samples import ALL

__all__ = [
    "ALL",
    "DIGITS",
    "ENOUGH",
    "FEW",
    "FEW_TIMES",
    "GOLD",
    "GOOD",
    "LEFT_OUT",
    "MANY",
    "RELABELLED",
    "ROUNDS",
    "SHARED",
    "TIMED",
    "TIMES",
    "TINY",
    "Accuracies",
    "AcrossFolds",
    "Answer",
    "Association",
    "Bootstrap",
    "Difference",
    "Judged",
    "NetpickError",
    "Pair",
    "Pick",
    "Prediction",
    "Question",
    "ResponseModel",
    "Run",
    "RunError",
    "Sides",
    "SpecError",
    "Splits",
    "Strata",
    "Truth",
    "WorkError",
    "accuracies",
    "ahead",
    "alone",
    "ask",
    "association",
    "attempts",
    "ballot",
    "basic",
    "best",
    "blocks",
    "bootstrap_difference",
    "by_students_t",
    "card",
    "check_choice",
    "check_count",
    "check_fraction",
    "choosing_split",
    "command",
    "compared",
    "comparing_split",
    "counted_word",
    "difference",
    "done",
    "drawn_of",
    "elsewhere",
    "enough",
    "evaluations",
    "examination",
    "examine",
    "export",
    "figures",
    "final",
    "final_scores",
    "first_replicates",
    "first_trainings",
    "folds_of",
    "foresight",
    "halves",
    "holm",
    "how_many",
    "image_grid",
    "is_whole",
    "item_response",
    "label_of",
    "labelled",
    "last_evaluations",
    "layer_times",
    "layers",
    "leaders",
    "leading",
    "listed",
    "look",
    "luck_of_the_seed",
    "marked",
    "mcnemar",
    "mcnemar_counts",
    "need_known",
    "need_network",
    "need_shared",
    "need_split",
    "need_trained",
    "notes",
    "of_basic",
    "often",
    "on_equal_folds",
    "own_question",
    "percent",
    "pick",
    "plant",
    "points",
    "predict",
    "preferred",
    "questions",
    "quoted",
    "rates",
    "replicates",
    "said_of_luck",
    "said_of_networks",
    "said_of_samples",
    "score_blocks",
    "selected",
    "short",
    "short_exam",
    "some_of",
    "students",
    "suggest",
    "theme",
    "timed",
    "times",
    "verdict",
    "votes",
    "whom",
    "within_folds",
    "write_fixes",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        ".core.advice": ("command",),
        ".core.errors": ("NetpickError", "RunError", "WorkError", "SpecError", "listed", "suggest"),
        ".core.result": ("LEFT_OUT",),
        ".core.threads": ("ahead",),
        ".store.samples": ("ALL",),
        ".core.words": ("counted_word", "figures", "percent", "points", "quoted", "short"),
        "item_response": ("item_response", "ResponseModel"),
        "theme": (),
        "foresight": (),
        "examination": ("examination", "examine"),
        "short_exam": (),
        "questions": (),
        "run": ("Run",),
        "answer": ("Answer",),
        "associations": ("Association", "association"),
        "luck": ("luck_of_the_seed", "said_of_luck"),
        "questions.listing": ("ask",),
        "questions.own_modules": ("own_question",),
        "questions.question": ("Question",),
        "network_card": ("card",),
        "exports": ("export",),
        "picking.suggestion": ("Pick", "pick"),
        "planted.exam": ("plant",),
        "planted.design": ("Truth",),
        "pictures": ("image_grid",),
        "first_look": ("look",),
        "joined": ("RELABELLED", "Sides"),
        "fixes": ("write_fixes",),
        "prediction": ("Prediction", "predict"),
        "designs": ("layers",),
        "drawn": ("MANY", "drawn_of", "some_of"),
        "timings": ("TIMED", "alone", "elsewhere", "layer_times", "timed", "times"),
        "marks": (
            *("GOOD", "GOLD", "ENOUGH", "TINY", "DIGITS", "evaluations", "last_evaluations", "attempts", "students"),
            *("selected", "whom", "how_many", "enough", "best", "leaders", "leading", "preferred", "basic", "of_basic"),
            "on_equal_folds",
        ),
        "across_folds": ("AcrossFolds",),
        "answered": (
            *("SHARED", "blocks", "comparing_split", "is_whole", "marked", "need_shared", "rates", "said_of_networks"),
            *("said_of_samples", "within_folds"),
        ),
        "ballots": (
            *("FEW", "first_replicates", "first_trainings", "folds_of", "final", "final_scores", "score_blocks"),
            *("halves", "votes", "ballot"),
        ),
        "checks": (
            *("check_choice", "check_count", "check_fraction", "need_network", "need_split", "choosing_split"),
            *("need_known", "need_trained"),
            *("done", "notes"),
        ),
        "significance": (
            *("ROUNDS", "Difference", "mcnemar", "mcnemar_counts", "holm", "Bootstrap", "bootstrap_difference"),
            *("by_students_t", "verdict"),
        ),
        "splits": ("FEW_TIMES", "TIMES", "Accuracies", "Judged", "Splits", "often"),
        "strata": ("Strata",),
        "winner": ("accuracies", "label_of", "labelled"),
        "pairs": ("Pair", "compared", "difference", "replicates"),
    },
)
