"""The part of the command line that looks at images: look at those of a data set, predict for one of them.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netpick.cli import options
from netpick.cli.ask import open_run, print_answer
from netpick.cli.screen import blocks, say
from netpick.core import advice
from netpick.core.errors import RunError

if TYPE_CHECKING:
    from netpick.data.request import DataRequest

app = typer.Typer()


@app.command()
def look(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET|RUN", help="A data set, folder:PATH, npz:FILE, or a run; the newest one in ./runs."
        ),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option("--image-size", metavar="N|HxW", help="Size that a folder's images are brought to.")
    ] = None,
    data_dir: options.DataDir = None,
    plot: options.Plot = None,
    form: options.Form = "table",
    rows: options.Rows = 40,
) -> None:
    """Look at a data set: images a class, sizes, range, mean and deviation of the pixels, balance, duplicates."""
    from netpick.data import load
    from netpick.exam import look as look_at

    print_answer(look_at(load(_request(what, image_size, data_dir))), form, rows, plot)


def _request(what: str | None, image_size: str | None, directory: str | None) -> DataRequest:
    """Return the data that are meant: those of a run as it trains on them."""
    from netpick.data import DataRequest, data_dir, request_of
    from netpick.data.own import own_kind
    from netpick.sessions.generate import size_list

    if what is None or (not own_kind(what) and options.is_run(what)):
        if image_size is not None:
            raise RunError("--image-size is for a data set: a run's images have the size that it was generated for")
        run = open_run(what)
        if run.imported and "shape" not in run.manifest:
            raise RunError(f"{run.path} has imported answers, and no data set: look at the one that they are to")
        wanted = {key: run.recipe[key] for key in ("train_samples", "validation") if run.recipe.get(key) is not None}
        return request_of(run.manifest, data_dir(directory), **wanted)
    size = None if image_size is None else size_list(image_size)
    return DataRequest(what, data_dir(directory), image_size=None if size is None else (size[0], size[1]))


@app.command()
def predict(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] NETWORK SAMPLE|IMAGE",
            help="The run, the newest one in ./runs; a network; the number of a sample, or the file of an image.",
        ),
    ],
    split: Annotated[str, typer.Option(help="Of the sample: test, validation or left_out.")] = "test",
    module: options.Modules = None,
    trust: options.Trust = None,
    plot: options.Plot = None,
    form: options.Form = "table",
    rows: options.Rows = 10,
) -> None:
    """Show what a network says of an image: the probability of each class, with the picture."""
    from netpick.networks.modules.user_code import allowed

    if len(words) == 2:
        words = ["", *words]
    if len(words) != 3:
        usage = advice.command("predict", "runs/demo", "Basic", 7)
        raise RunError(f"predict wants a network, and a sample or an image, got {' '.join(words)}: {usage}")
    folder, network, given = options.run_folder(words[0] or None), words[1], words[2]
    code = allowed(module or (), trust, folder)
    what = int(given) if given.isdecimal() else given
    said = open_run(folder).predict(network, what, split=split, modules=code)
    if form == "table" and said.image is not None:
        say(blocks(said.image))
    print_answer(said, form, rows, plot)
