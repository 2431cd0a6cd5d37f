"""`Run`: what a pandas user holds in the hand: what the store reads of a run, and the questions that can be asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netpick.store.reader import Reader

if TYPE_CHECKING:
    from netpick.exam.answer import Answer
    from netpick.exam.picking.suggestion import Pick
    from netpick.exam.prediction import Prediction
    from netpick.exam.questions.question import Question


class Run(Reader):
    """A run's results, as frames and arrays, and the answers to questions about them: see `Reader` for the former."""

    def ask(self, question: str | Question, **options: Any) -> Answer:
        """Ask the run a question by its name, such as ``weird``, or one of your own; see `netpick.exam.ask`."""
        from netpick.exam.questions.listing import ask

        return ask(self, question, **options)

    def pick(self, **options: Any) -> Pick:
        """Suggest the network to pick, and say why.

        Parameters
        ----------
        **options
            Constraints by the names of columns, such as ``max_params=20_000``, ``min_accuracy=0.97`` and
            ``computation="Conv2d"``; and what `netpick.exam.pick` takes: ``minimize``, ``maximize``, ``give_up``,
            ``seed``.

        Raises
        ------
        RunError
            If no network meets the constraints, or a name is none that there is.
        """
        from netpick.exam.picking.suggestion import pick

        own = {name: options.pop(name) for name in ("minimize", "maximize", "give_up", "seed") if name in options}
        return pick(self, options, **own)

    def predict(self, network: str, what: int | str | Path, **options: Any) -> Prediction:
        """Say which class a network takes a sample, or the file of an image, for; see `netpick.exam.predict`.

        Parameters
        ----------
        network : str
        what : int, str or Path
        **options
            ``split`` of the sample, and ``modules``, whose code may be run.
        """
        from netpick.exam.prediction import predict

        return predict(self, network, what, **options)

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        from netpick.exam.notebook import run_html

        ended = Counter(self.trainings["status"])
        dataset = str(self.manifest.get("dataset", "its data"))
        return run_html(str(self.path), dataset, len(self.networks), self.wanted, ended)
