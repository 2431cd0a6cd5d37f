"""`Run`: what a pandas user holds in the hand: what the store reads of a run, and the questions that can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netpick.store.reader import Reader

if TYPE_CHECKING:
    from netpick.exam.answer import Answer


class Run(Reader):
    """A run's results, as frames and arrays, and the answers to questions about them: see `Reader` for the former."""

    def ask(self, name: str, **options: Any) -> Answer:
        """Ask the run a question by its name, such as ``weird``; see `netpick.exam.ask`."""
        from netpick.exam.questions.listing import ask

        return ask(self, name, **options)
