"""The questions: what they are, where they are found, how one is asked.

``questions.questions()`` gives them by name, ``questions.find(name)`` one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.exam.questions.listing import ask, find, questions
    from netpick.exam.questions.question import Option, Question

__all__ = ["Option", "Question", "ask", "find", "questions"]

__getattr__, __dir__ = front_door(
    __name__, {"listing": ("ask", "find", "questions"), "question": ("Option", "Question")}
)
