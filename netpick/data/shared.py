"""One resident copy of a data set for all the processes of a machine.

The coordinator writes the inputs, ready for training, into files; workers map them into their memory, where the system
keeps one copy for all. A worker on another machine loads the data set by itself. What a data set is, `data` knows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from netpick.core.errors import DataError, WorkError
from netpick.core.files import atomic_write
from netpick.core.result import LEFT_OUT
from netpick.data.builtin import DATASETS
from netpick.data.image_decoding import Report
from netpick.data.loading import load
from netpick.data.own import fingerprint, own_kind
from netpick.data.request import DataRequest
from netpick.data.samples import Dataset

_FORMAT = 2
"""Part of the shared files' names: raise it when what is written into them changes."""


# What numpy and json raise for a file that is not there, empty, or cut off.
_NOT_WHOLE = (OSError, EOFError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class SharedData:
    """What a worker needs to get at a data set: files on this machine, or else the request itself.

    `digest` is of the raw samples of all splits; a worker that has to read them by itself is held to it. `stem` is the
    beginning of the files' names, `labels_sum` a checksum of the labels in them: results are counted by these.
    """

    request: DataRequest
    folder: str | None
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    digest: str
    stem: str = ""
    labels_sum: int = 0


def prepare(
    request: DataRequest, folder: Path | None, kept: Path | None = None, report: Report | None = None
) -> SharedData:
    """Write every split's inputs and labels into `folder`, for workers to map into their memory.

    The files' names carry a hash of the request, and of the state of one's own files. They appear whole or not at all,
    and are used again by the next `prepare` of the same request, if they still have their checksums. With `folder` None
    nothing is written and each worker loads by itself. `kept` and `report` are those of `load`.

    Raises
    ------
    DataError
        As `load`.
    WorkError
        The files can't be written.
    """
    if folder is None:
        dataset = load(request, kept, report)
        return SharedData(request, None, tuple(dataset.splits), dataset.classes, _digest(dataset))
    folder = Path(folder).resolve()
    stem = _stem(request)
    with contextlib.suppress(*_NOT_WHOLE):
        return _laid_out(request, folder, stem)
    dataset = load(request, kept, report)
    labels_sum = _labels_sum((split.labels for split in dataset.splits.values()), dataset.folds)
    shared = SharedData(
        request, str(folder), tuple(dataset.splits), dataset.classes, _digest(dataset), stem, labels_sum
    )
    _write(shared, dataset)
    return shared


def _laid_out(request: DataRequest, folder: Path, stem: str) -> SharedData:
    """Return what lies in a folder and has its checksums; raises one of `_NOT_WHOLE` where that is not so."""
    known = json.loads((folder / f"{stem}.json").read_text())
    splits, classes = tuple(known["splits"]), tuple(known["classes"])
    shared = SharedData(request, str(folder), splits, classes, known["digest"], stem, known["labels_sum"])
    if _sum(inputs for inputs, _ in _map(shared).values()) != known["inputs_sum"]:
        raise ValueError("other inputs than those that were written")
    return shared


_laid_out_once = functools.lru_cache(maxsize=8)(_laid_out)
"""The same, checked once a process: a worker gets at its data set for each bundle of trainings."""


def delivered(shared: SharedData, dataset: Dataset, folder: Path) -> SharedData:
    """Lay out, on another machine, a data set that was sent there; what lies there already is used again.

    Raises
    ------
    DataError
        It is not the data set that the run was started with.
    WorkError
        The files can't be written.
    """
    here = replace(shared, folder=str(folder.resolve()))
    with contextlib.suppress(*_NOT_WHOLE):
        if _laid_out_once(shared.request, folder.resolve(), shared.stem) == here:
            return here
    if _digest(dataset) != shared.digest:
        raise DataError(f"data set '{shared.request.name}' came here as another one: start the session again")
    _write(here, dataset)
    return here


def _write(shared: SharedData, dataset: Dataset) -> None:
    """Write the files of a shared data set, each whole or not at all."""
    folder = Path(str(shared.folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f".{shared.stem}*.tmp"):  # of a process that was killed while writing
            leftover.unlink(missing_ok=True)
        inputs_sum = 0
        for name, split in dataset.splits.items():
            inputs, labels = _paths(shared, name)
            values = dataset.inputs(name)
            inputs_sum = _sum([values], inputs_sum)
            atomic_write(inputs, functools.partial(_save, array=values))
            atomic_write(labels, functools.partial(_save, array=split.labels))
        if dataset.folds is not None:
            atomic_write(_folds_path(shared), functools.partial(_save, array=dataset.folds))
        facts = {key: getattr(shared, key) for key in ("splits", "classes", "digest", "labels_sum")}
        facts["inputs_sum"] = inputs_sum
        atomic_write(folder / f"{shared.stem}.json", json.dumps(facts).encode())  # last: the others are complete
    except OSError as error:
        raise WorkError(
            f"cannot write the shared data set into {folder}: {(error.strerror or error)}; free some space there"
        ) from error


class Arrays(dict[str, tuple[np.ndarray, np.ndarray]]):
    """Inputs and labels of each split; and `folds`, int8 of each training sample, where these are cut into such."""

    folds: np.ndarray | None = None

    @property
    def evaluated_labels(self) -> dict[str, np.ndarray]:
        """Labels of each split that is evaluated; with folds the training samples are one of them."""
        labels = {split: y for split, (_, y) in self.items() if split != "train"}
        return labels if self.folds is None else {**labels, LEFT_OUT: self["train"][1]}


@functools.lru_cache(maxsize=8)
def attach(shared: SharedData) -> Arrays:
    """Return, for each split, inputs (N, C, H, W) float32 and labels (N,) int64; the same objects at every call.

    Where the files of `prepare` are at hand they are mapped: all processes of a machine share the one copy in the
    system's page cache. A worker that writes into the arrays changes only what it sees itself. Elsewhere the worker
    loads the data set from its own directory: that of the request, or where there is none, its own $NETPICK_DATA.

    Raises
    ------
    DataError
        As `load`; or this machine's copy of the data set is not the one that the run was started with.
    """
    if shared.folder is not None:
        with contextlib.suppress(*_NOT_WHOLE):  # not there, or not readable: load instead
            return _map(shared)
    request = shared.request
    if not os.path.isdir(request.data_dir):
        request = replace(request, data_dir=os.environ.get("NETPICK_DATA") or request.data_dir)
    dataset = load(request)
    if _digest(dataset) != shared.digest:
        raise DataError(
            f"data set '{request.name}' in {request.data_dir} of this machine differs from the one that the run was"
            " started with: copy that one's files here"
        )
    out = Arrays({name: (dataset.inputs(name), split.labels) for name, split in dataset.splits.items()})
    out.folds = dataset.folds
    return out


def _map(shared: SharedData) -> Arrays:
    """Map the shared files; raises one of `_NOT_WHOLE` where one is not there or not whole."""
    out = Arrays()
    for name in shared.splits:
        # "c": copy on write. With "r", torch would warn of each array, and crash on a write instead of raising.
        images, classes = _paths(shared, name)
        inputs = np.asarray(np.load(images, mmap_mode="c"))
        labels = np.load(classes, allow_pickle=False)  # into memory: what becomes of the file is then all the same
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} inputs and {len(labels)} labels")
        out[name] = (inputs, labels)
    if shared.request.folds:
        out.folds = np.load(_folds_path(shared), allow_pickle=False)
    if _labels_sum((labels for _, labels in out.values()), out.folds) != shared.labels_sum:
        raise ValueError("other labels than those that were written")
    return out


def _sum(arrays: Iterable[np.ndarray], before: int = 0) -> int:
    return functools.reduce(lambda sum_, array: zlib.crc32(np.ascontiguousarray(array).data, sum_), arrays, before)


def _labels_sum(labels: Iterable[np.ndarray], folds: np.ndarray | None) -> int:
    return _sum([*labels, *([] if folds is None else [folds])])


def _stem(request: DataRequest) -> str:
    """Return the beginning of the shared files' names."""
    values = asdict(request) | {"format": _FORMAT}
    if not own_kind(request.name) and DATASETS[request.name].torchvision is None:
        values["data_dir"] = ""  # not read from there
    if state := fingerprint(request.name, request.data_dir):
        values["state"] = state
    word = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(request.name).name)[-40:]
    return f"{word}-{hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]}"


def _paths(shared: SharedData, split: str) -> tuple[Path, Path]:
    stem = Path(str(shared.folder), f"{shared.stem}-{split}")
    return stem.with_name(f"{stem.name}-inputs.npy"), stem.with_name(f"{stem.name}-labels.npy")


def _folds_path(shared: SharedData) -> Path:
    return Path(str(shared.folder), f"{shared.stem}-folds.npy")


def _digest(dataset: Dataset) -> str:
    """Return a hash of the raw samples and labels of all splits."""
    digest = hashlib.sha256()
    for name, split in sorted(dataset.splits.items()):
        kind = "" if split.pixels.dtype == np.uint8 else f" {split.pixels.dtype}"
        digest.update(f"{name} {split.pixels.shape}{kind}".encode())
        digest.update(np.ascontiguousarray(split.pixels).data)
        digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return digest.hexdigest()


def _save(file: IO[bytes], array: np.ndarray) -> None:
    np.save(file, array, allow_pickle=False)
