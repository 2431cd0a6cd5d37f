"""The questions: what they are, where they are found, how one is asked.

``questions.questions()`` gives those that come along by name, ``questions.find(name)`` one of them, and
``questions.own_question("analysis/mine.py")`` one of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.exam.questions.listing import aliases, ask, find, groups, names, questions
    from netpick.exam.questions.own_modules import own_files, own_question, title_of
    from netpick.exam.questions.question import Option, Question

__all__ = [
    "Option",
    "Question",
    "aliases",
    "ask",
    "find",
    "groups",
    "names",
    "own_files",
    "own_question",
    "questions",
    "title_of",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "listing": ("aliases", "ask", "find", "groups", "names", "questions"),
        "own_modules": ("own_files", "own_question", "title_of"),
        "question": ("Option", "Question"),
    },
)
