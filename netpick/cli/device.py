"""The part of the command line that takes networks out of a run: export, kit.

As in `cli`: parse, call, print.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from netpick.cli import options
from netpick.cli.ask import open_run
from netpick.cli.screen import say, sentence
from netpick.core.errors import NetpickError

app = typer.Typer()


@app.command()
def export(
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="The file to write: .py, .onnx, or .jsonl.")],
    first: options.RunOrNetwork = None,
    more: options.Networks = None,
    int8: Annotated[bool, typer.Option("--int8", help="ONNX in whole numbers of 8 bits.")] = False,
    changed: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="With --int8: the samples that are answered otherwise.")
    ] = None,
    data_dir: options.DataDir = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Write one network as PyTorch source that needs no netpick, weights beside it; as ONNX; or some as JSON lines.

    ONNX files are checked on all test samples, for which the data set is read.
    """
    from netpick.core.words import counted_word
    from netpick.exam.exports import export as write
    from netpick.exam.exports import export_networks

    run, names = options.run_and_names([word for word in (first, *(more or ())) if word])
    if not to.endswith(".onnx") and (int8 or changed):
        raise NetpickError(f"--int8 and --changed go with --to FILE.onnx, got {to}")
    if to.endswith(".jsonl"):
        number = export_networks(open_run(run), to, names, overwrite)
        say(f"{to}: {counted_word(number, 'network')}")
        return
    if len(names) != 1:
        raise NetpickError(
            f"export wants the name of one network, got {len(names) or 'none'}; --to FILE.jsonl describes several, or "
            "all of them"
        )
    opened = open_run(run)
    if to.endswith(".onnx"):
        from netpick.exam.device.onnx_file import export_onnx
        from netpick.sessions import pixels_of

        read = partial(pixels_of, opened, option=data_dir)
        made = export_onnx(opened, names[0], to, read, int8, changed, overwrite)
        sentence(made.text)
        if made.changed:
            say(str(made.changed))
        return
    written = write(opened, names[0], to, overwrite=overwrite)
    for line in filter(None, (written.source, written.weights, written.note)):
        say(str(line))


@app.command()
def kit(
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="The kit, a folder that is not there yet.")],
    first: options.RunOrNetwork = None,
    more: options.Networks = None,
    int8: Annotated[bool, typer.Option("--int8", help="Each network in whole numbers of 8 bits, too.")] = False,
    samples: Annotated[int, typer.Option(metavar="N", help="Test samples that go with it.")] = 128,
    data_dir: options.DataDir = None,
) -> None:
    """Write networks as a folder that measures them on another device, which needs numpy and onnxruntime only.

    netpick time RUN --add FILE takes in what it has measured there.
    """
    from netpick.exam.device.kit import write_kit
    from netpick.sessions import pixels_of

    run, names = options.run_and_names([word for word in (first, *(more or ())) if word])
    opened = open_run(run)
    sentence(write_kit(opened, names, to, partial(pixels_of, opened, option=data_dir), int8, samples))
