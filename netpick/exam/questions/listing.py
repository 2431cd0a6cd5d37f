"""All the questions there are, by name, and how one of them is asked.

The ones that come along are in `netpick.analysis`. Nothing imports a question statically, and none is answered here.
Modules of the user's own are the business of `own_modules`: nothing here looks for them, since code that lies where the
user stands may be anyone's.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from netpick.core.errors import NetpickError, WorkError, listed, suggest
from netpick.exam.answer import Answer
from netpick.exam.joined import Sides
from netpick.exam.questions.own_modules import guarded
from netpick.exam.questions.question import Question, described
from netpick.exam.side_by_side import compared_answer, need_comparable
from netpick.store.reader import Reader

MORE = "More questions"

AGAINST = "against"
WRITES = "to"
"""Option of a question that writes a file, which it does of the first of two runs alone."""


def questions() -> dict[str, Question]:
    """Return the questions that come along, by name, in their order."""
    return {name: _load(name) for name in names()}


def groups() -> dict[str, list[Question]]:
    """Return the questions that come along by the titles of the groups that they stand in on pages."""
    titled = importlib.import_module("netpick.analysis").GROUPS
    placed = {name for held in titled.values() for name in held}
    rest = [name for name in names() if name not in placed]
    return {title: [_load(name) for name in held] for title, held in {**titled, MORE: rest}.items() if held}


def find(name: str, more: Iterable[str] = ()) -> Question:
    """Return a question that comes along; NetpickError with the nearest name where there is none.

    Parameters
    ----------
    name : of the question
    more : other names that the message is to know, such as those of the user's own questions
    """
    name = aliases().get(name, name)
    if name in names():
        return _load(name)
    known = list(dict.fromkeys([*names(), *aliases(), *more]))
    raise NetpickError(f"no question '{name}'{suggest(name, known)}: there are {listed(known, 40)}")


def aliases() -> dict[str, str]:
    """Return other names of questions, with the names that they stand for."""
    return dict(importlib.import_module("netpick.analysis").ALIASES)


def ask(run: Reader, question: str | Question, against: str | Path | None = None, **options: Any) -> Answer:
    """Ask a run one question, or two runs the same.

    Parameters
    ----------
    run : Run
    question : str or Question
        The name of one that comes along, as in `questions`; or a module of your own, as `own_question` loads it.
    against : str or Path, optional
        Folder of another run, which the same is asked: the answer has both tables in one, and what differs. Questions
        that have an option of that name, such as `changes`, compare by themselves.
    **options
        Of the question; text is read as the type that the option has.

    Raises
    ------
    NetpickError
        For an unknown question, an unknown option or an impossible value of one, and for what the question itself
        refuses. WorkError where a user's own question fails, with its file and line.
    """
    asked = find(question) if isinstance(question, str) else question
    if against is not None and AGAINST in asked.options:
        options[AGAINST] = str(against)
    elif against is not None:
        return _of_both(run, asked, against, options)
    values = {}
    for key, value in options.items():
        if key not in asked.options:
            known = listed(asked.options) or "none"
            raise NetpickError(
                f"question '{asked.name}' has no option '{key}'{suggest(key, asked.options)}: it has {known}"
            )
        values[key] = asked.options[key].value(value)
    # Two threads of one product wait for each other, and burn what they wait for, where others are at work too.
    with threadpool_limits(1, "blas"):
        if not asked.own:
            return asked.function(run, **values)
        answer = guarded(asked, lambda: asked.function(run, **values))
    if not isinstance(answer, Answer):
        raise WorkError(
            f"question '{asked.name}' ({asked.source}) gave a {type(answer).__name__}: `ask` is to return a "
            "netpick.exam.Answer"
        )
    draw = answer.draw
    answer.draw = lambda: guarded(asked, draw)
    return answer


def _of_both(run: Reader, asked: Question, against: str | Path, options: dict[str, Any]) -> Answer:
    need_comparable(asked.name if not asked.own else f"{asked.name} (yours)")
    other = type(run)(against)
    here = ask(run, asked, None, **options)
    there = ask(other, asked, None, **{key: value for key, value in options.items() if key != WRITES})
    split = options.get("split") or "test"
    return compared_answer(asked.name, here, there, Sides(run, other), split)


@cache
def names() -> tuple[str, ...]:
    """Return the names of the questions that come along, in the order in which they are listed."""
    analysis = importlib.import_module("netpick.analysis")
    names = [m.name for m in pkgutil.iter_modules(analysis.__path__) if not m.name.startswith("_")]
    place = {name: i for i, name in enumerate(analysis.ORDER)}
    return tuple(sorted(names, key=lambda n: (place.get(n, len(place)), n)))


@cache
def _load(name: str) -> Question:
    module = importlib.import_module(f"netpick.analysis.{name}")
    return described(name, module, Path(module.__file__ or ""), own=False)
