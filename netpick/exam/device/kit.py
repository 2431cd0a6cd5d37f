"""A kit: a folder with networks as ONNX files, samples, and a program that measures them on another device.

It needs Python, numpy and onnxruntime there, not netpick and not torch. What it writes, `netpick time --add` takes in.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from netpick.core.advice import command
from netpick.core.errors import NetpickError
from netpick.core.files import named_errors, written_aside
from netpick.core.names import is_name
from netpick.core.words import counted_word
from netpick.exam.checks import check_count, need_network, need_trained
from netpick.exam.device.onnx_file import Read, checked, steps_of
from netpick.exam.device.runtime import CALIBRATION
from netpick.exam.exports import refuse_existing
from netpick.store.reader import Reader

SAMPLES, MOST_SAMPLES = 128, 100_000
PROGRAM = "measure.py"

README = """\
{title}

On the device, with Python 3.8 or newer:

    pip install numpy onnxruntime
    python measure.py

It checks the answers to {samples} test samples, measures latency, throughput, peak memory and, where the device tells,
energy, and writes timings.csv. Back where the run is:

    {add}
"""


def write_kit(
    run: Reader, names: Sequence[str], folder: str | Path, read: Read, int8: bool = False, samples: int = SAMPLES
) -> str:
    """Write a kit; return what is to be said of it.

    Parameters
    ----------
    run : Run
    names : of str
        The networks.
    folder : str or Path
        The kit, which must not be there.
    read : callable
        Reads the data set; called once all else has been checked.
    int8 : bool
        Each network in whole numbers of 8 bits, too.
    samples : int
        Test samples that go with it; all where there are fewer.

    Raises
    ------
    NetpickError
        As `export_onnx`.
    """
    target, names = Path(folder), list(dict.fromkeys(names))
    if not names:
        raise NetpickError("kit wants the names of networks, got none")
    need_trained(run, "network to measure elsewhere")
    for name in names:
        need_network(run, name)
        if not is_name(name):
            raise NetpickError(f"no file can be called after the network {name!r:.100}: export it by itself")
    check_count("samples", samples, 1, MOST_SAMPLES)
    refuse_existing(False, target)
    steps = {name: steps_of(run, name) for name in names}
    pixels = read(CALIBRATION if int8 else 0)
    hashes = dict(zip(run.networks["name"], run.networks["hash"], strict=True))
    count = len(pixels.splits["test"])
    drawn = np.unique(np.linspace(0, count - 1, min(samples, count)).astype(int))
    models, answers, content, said = [], [], {}, []
    for name in names:
        made = checked(run, name, steps[name], pixels, int8)
        kinds = [("fp32", f"{name}.onnx", made.model, made.scores)]
        if made.quantised is not None and made.quantised_scores is not None:
            kinds.append(("int8", f"{name}.int8.onnx", made.quantised, made.quantised_scores))
        for precision, file, model, scores in kinds:
            models.append({"network": name, "hash": str(hashes[name]), "precision": precision, "file": file})
            answers.append(scores[drawn].argmax(axis=1).astype(np.int16))
            content[file] = model.SerializeToString()
        said.append(f"{name}: {made.text}")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, images=pixels.splits["test"][drawn], answers=np.stack(answers), samples=drawn)
    content["samples.npz"] = arrays.getvalue()
    about = {"run": run.name, "classes": run.classes, "models": models}
    content["kit.json"] = json.dumps(about, indent=1).encode()
    content[PROGRAM] = (files("netpick.exam.device") / PROGRAM).read_bytes()
    title = f"{counted_word(len(names), 'network')} of the run {run.name}, to be measured on a device"
    add = command("time", run.path, "--add", "timings.csv")
    content["README.txt"] = README.format(title=title, samples=len(drawn), add=add).encode()
    with named_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(target) as temporary:
            temporary.mkdir()
            for file, written in content.items():
                (temporary / file).write_bytes(written)
    number = counted_word(len(models), "ONNX file")
    return "\n".join([*said, f"{target}: {number}, {counted_word(len(drawn), 'sample')}; there: python {PROGRAM}"])
