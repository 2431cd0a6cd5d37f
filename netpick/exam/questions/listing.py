"""All the questions there are, by name, and how one of them is asked.

The ones that come along are in `netpick.analysis`; a module in the user's own `./analysis` is found the same way, and
takes the place of one of the same name. Nothing imports a question statically, and none is answered here.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError, WorkError, listed, suggest
from netpick.exam.answer import Answer
from netpick.exam.questions.own_modules import guarded, load_own, own_files
from netpick.exam.questions.question import Question, described
from netpick.store.reader import Reader

FOLDER = Path("analysis")
"""Where a user's own questions are, from where the user stands."""


def questions(folder: str | Path = FOLDER) -> dict[str, Question]:
    """Return all questions by name: those that come along, in their order, then the user's own, by name.

    Parameters
    ----------
    folder : str or Path
        Where the user's own modules are; need not be there.
    """
    out = {name: _load(name) for name in _names()}
    for path in own_files(Path(folder)):
        out[path.stem] = load_own(path)
    return out


def find(name: str, folder: str | Path = FOLDER) -> Question:
    """Return one question; NetpickError with the nearest name where there is none, or its module does not work."""
    own = {path.stem: path for path in own_files(Path(folder))}
    if name in own:
        question = load_own(own[name])
    elif name in _names():
        question = _load(name)
    else:
        names = [*_names(), *(n for n in own if n not in _names())]
        raise NetpickError(f"no question '{name}'{suggest(name, names)}: there are {listed(names, 40)}")
    if question.error:
        raise WorkError(question.error)
    return question


def ask(run: Reader, name: str, **options: Any) -> Answer:
    """Ask a run one question.

    Parameters
    ----------
    run : Run
    name : str
        Of the question, as in `questions`.
    **options
        Of the question; text is read as the type that the option has.

    Raises
    ------
    NetpickError
        For an unknown question, an unknown option or an impossible value of one, and for what the question itself
        refuses. WorkError where a user's own question fails, with its file and line.
    """
    question = find(name)
    values = {}
    for key, value in options.items():
        if key not in question.options:
            known = listed(question.options) or "none"
            raise NetpickError(
                f"question '{name}' has no option '{key}'{suggest(key, question.options)}: it has {known}"
            )
        values[key] = question.options[key].value(value)
    assert question.function is not None  # else `find` had raised
    if not question.own:
        return question.function(run, **values)
    answer = guarded(question, lambda: question.function(run, **values))  # type: ignore[misc]
    if not isinstance(answer, Answer):
        raise WorkError(
            f"question '{name}' ({question.source}) gave a {type(answer).__name__}: `ask` is to return a "
            "netpick.exam.Answer"
        )
    draw = answer.draw
    answer.draw = lambda: guarded(question, draw)
    return answer


@cache
def _names() -> tuple[str, ...]:
    """Return the names of the questions that come along, in the order in which they are listed."""
    analysis = importlib.import_module("netpick.analysis")
    names = [m.name for m in pkgutil.iter_modules(analysis.__path__) if not m.name.startswith("_")]
    place = {name: i for i, name in enumerate(analysis.ORDER)}
    return tuple(sorted(names, key=lambda n: (place.get(n, len(place)), n)))


@cache
def _load(name: str) -> Question:
    module = importlib.import_module(f"netpick.analysis.{name}")
    return described(name, module, Path(module.__file__ or ""), own=False)
