"""Is a run what it says? Its files are read whole, its numbers worked out anew, and some trainings done again.

Three levels, each of which finds what those below can't: 0, that nothing has rotted; 1, that counts follow from the
layers, and accuracies, losses and areas from the predictions; 2, that the predictions are what these networks come to.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netpick.core import devices
from netpick.core.errors import RunError
from netpick.core.provenance import versions
from netpick.core.result import LEFT_OUT
from netpick.core.words import counted_word, percent
from netpick.networks.paper.whole_networks import WITHOUT_ARRAYS
from netpick.sessions.options import Options, check_options
from netpick.sessions.recount import Evaluations, count_faults, runs_own_code, training_faults
from netpick.sessions.retraining import MADE_UP, Retrained, drawn, proof, retrain
from netpick.sessions.settle import gathered, settled, with_code
from netpick.sessions.situation import Situation
from netpick.store import whole
from netpick.store.folder import Store
from netpick.store.reader import Reader

FOR_BITS = ("netpick", "torch", "numpy")
"""Packages that the last bits of a training depend on."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verification:
    """What was looked at, in sentences, and what did not hold, a line each."""

    said: list[str]
    faults: list[str]
    retrained: list[Retrained]


def check_run(folder: str | Path) -> Verification:
    """Read every file of a run whole; raises RunError where there is no run, or it is being trained."""
    store = _quiet(folder)
    faults = list(whole.faults(store, _keeps_weights))
    return Verification([_read(store)], faults, [])


def verify_run(
    folder: str | Path,
    options: Options,
    number: int = 0,
    seed: int | None = None,
    on_note: Callable[[str], None] = lambda text: None,
    on_progress: Progress = lambda text, done, total: None,
) -> Verification:
    """Check a run, recount it, and do some of its trainings again.

    Parameters
    ----------
    folder : of the run, which is not being trained; nothing in it is changed
    options : device, workers, data directory and trusted code, as for training
    number : of trainings that are done again
    seed : by which those are drawn; None for the system's own randomness
    on_note, on_progress : told what takes a while, and how far it is

    Raises
    ------
    NetpickError
        No run, or one that is being trained; options that can't be; a data set that is missing or another.
    """
    check_options(options)
    if number < 0:
        raise RunError(f"--retrain: wants a number from 0 on, got {number}")
    store = _quiet(folder)
    reader = Reader(folder, skip_broken=True)
    situation = None if store.imported else gathered(store, replace(options, device="cpu"), ["cpu"])
    if situation is None and number:
        raise RunError(f"{store.path} has imported answers, and no networks to train again: leave --retrain out")
    if store.relabelled and number:
        raise RunError(
            f"{store.path} has other labels than its networks were trained with: leave --retrain out, or give it with "
            f"the run that it was made of, {store.relabelled[0]['of']}"
        )
    labels = (
        {split: reader.labels(split) for split in reader.samples["split"].unique()} if len(reader.trainings) else {}
    )
    heard = Evaluations(reader.epochs, labels, len(reader.classes), bool(reader.relabelled))
    on_note("reading every file")
    faults = list(whole.faults(store, _keeps_weights, heard.hear))
    said = [_read(store)]
    counted, same = 0, True
    if situation is not None:
        same = _same_versions(situation, store.manifest.get("versions", {}))
        counted = sum(not runs_own_code(network.spec) for network in situation.networks)
        faults += _count_faults(situation, reader, same, counted, on_progress)
        faults += training_faults(situation, reader.trainings)
    faults += heard.faults
    if reader.relabelled:
        faults += _relabelling_faults(store, heard.changed)
        said.append(f"Counted by labels that were put right after the answers: {reader.relabelled}.")
    said += _recounted(len(reader.networks), counted, same, heard, store.imported is not None)
    retrained: list[Retrained] = []
    if number:
        if faults:
            raise RunError(
                f"{store.path} is not what it says, so that nothing is to be learned from training: {faults[0]}"
                + (f" (and {len(faults) - 1} more; without --retrain all are told)" if len(faults) > 1 else "")
            )
        retrained = _retrained(store, reader, options, number, seed, on_note, on_progress)
        faults += [f"{r.network}, replicate {r.replicate}: trained again, {r.fault}" for r in retrained if r.fault]
        said += _proved(retrained, int((reader.trainings["status"] == "done").sum()))
    return Verification(said, faults, retrained)


def _count_faults(situation: Situation, reader: Reader, same: bool, counted: int, on_progress: Progress) -> list[str]:
    done = 0

    def measured(networks: int) -> None:
        nonlocal done
        done += networks
        on_progress("counting networks", done, counted)

    trainings = reader.trainings
    if situation.recipe.folds:  # networks were counted as if they learned all samples
        trainings = trainings.assign(train_samples=len(reader.labels(LEFT_OUT)))
    return list(count_faults(situation, trainings, same, situation.workers, measured))


def _relabelling_faults(store: Store, changed: int) -> list[str]:
    said = [one["labels"] for one in store.relabelled]
    if changed == said[0] if len(said) == 1 else changed <= sum(said):  # a later file may undo what one before did
        return []
    return [f"{store.path}: labels other than those of the answers: {changed}, and run.toml says {sum(said)}"]


def _quiet(folder: str | Path) -> Store:
    store = Store.open(folder)
    if store.in_use():
        raise RunError(f"{store.path} is being trained: wait until that has ended")
    return store


def _keeps_weights(network: dict[str, Any]) -> bool:
    return not any(layer["op"] in WITHOUT_ARRAYS for layer in json.loads(network["layers"] or "[]"))


def _read(store: Store) -> str:
    files = [path for path in store.path.rglob("*") if path.is_file() and path.suffix in (".parquet", ".safetensors")]
    mebibytes = sum(path.stat().st_size for path in files) / 2**20
    return f"Read whole: {counted_word(len(files), 'file')}, {mebibytes:,.1f} MiB, with each of their checksums."


def _same_versions(situation: Situation, then: dict[str, str]) -> bool:
    now = versions()
    return all(then.get(name) == now[name] for name in FOR_BITS)


def _recounted(networks: int, counted: int, same: bool, heard: Evaluations, imported: bool) -> list[str]:
    costs = "" if imported else f"{counted_word(counted, 'network')} (params, memory, ops, macs), and "
    said = [
        f"Counted anew: {costs}accuracies, losses and areas of {counted_word(heard.checked, 'evaluation')} from their "
        "predictions."
    ]
    if imported:
        said.append("Not counted: what imported networks cost, which stands alone.")
    elif own := networks - counted:
        said.append(f"Not counted: {counted_word(own, 'network')} of the user's own code, which would have to be run.")
    if not same:
        said.append("memory and ops were not compared: the run was made with other versions of torch or netpick.")
    if heard.without_scores:
        said.append(
            f"{counted_word(heard.without_scores, 'evaluation')} kept no scores: their losses and areas stand alone."
        )
    return said


def _retrained(
    store: Store,
    reader: Reader,
    options: Options,
    number: int,
    seed: int | None,
    on_note: Callable[[str], None],
    on_progress: Progress,
) -> list[Retrained]:
    frame = reader.trainings
    ended = frame.loc[frame["status"] == "done", ["network", "replicate"]].astype({"network": str})
    if not len(ended):
        raise RunError(f"{store.path} has no training that is done: there is nothing to train again")
    chosen = drawn(list(ended.itertuples(index=False, name=None)), number, seed)
    situation = settled(store, options)
    names = {name for name, _ in chosen}
    situation = replace(situation, networks=tuple(n for n in situation.networks if n.spec.name in names))
    situation = with_code(situation, options, on_note)
    exact = _is_exact(situation, reader)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        on_progress("training again", done, len(chosen))

    return list(retrain(situation, chosen, reader, exact, options.data_dir, on_note, one_more))


def _is_exact(situation: Situation, reader: Reader) -> bool:
    """Whether trainings come out to the bit here: the run's processor and versions, and no card on either side."""
    session = situation.store.manifest.get("training", {})
    where = {str(device).partition(":")[0] for device in (*reader.trainings["device"].dropna(), *situation.devices)}
    return (
        where == {"cpu"}
        and _processor(session.get("device", "")) == _processor(devices.describe("cpu"))
        and session.get("python", platform.python_version()) == platform.python_version()
        and all(session.get(name) == version for name, version in versions().items() if name in FOR_BITS)
    )


def _processor(described: str) -> str:
    """Return the model of a described processor, without its number of cores."""
    return described.rpartition(", ")[0]


def _proved(retrained: list[Retrained], of: int) -> list[str]:
    exact = sum(r.to_the_bit for r in retrained)
    said = [f"Trained again: {len(retrained)} of {of} trainings, drawn at random: {exact} came out to the bit."]
    near = [r for r in retrained if not r.to_the_bit and not r.fault]
    if near:
        worst = min(near, key=lambda r: r.agreement)
        others = [r.of_another_seed for r in near if r.of_another_seed is not None]
        chance = f" (from another seed at most {percent(max(others), 1)})" if others else ""
        said.append(
            f"{len(near)} gave the run's own answers to {percent(worst.agreement, 1)} of the test samples or more, as "
            f"nearly as another machine or version can{chance}."
        )
    sure = proof(len(retrained), of)
    said.append(
        f"Had {percent(MADE_UP)} of the trainings been made up, one of them would have been among these with a "
        f"probability of {percent(sure, 0)}."
    )
    return said
