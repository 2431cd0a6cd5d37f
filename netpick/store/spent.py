"""What the trainings of a run took that are done: seconds by part, as the tables have them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from netpick.store.folder import Store
from netpick.store.rows import read_shards


@dataclass(frozen=True)
class SecondsSpent:
    """Seconds of one training: all of it, its steps, and its evaluations. `key` is (hash of the network, replicate)."""

    key: tuple[str, int]
    whole: float
    train: float
    evaluation: float


def seconds_spent(store: Store, workers: int) -> list[SecondsSpent]:
    """Return what each training took that is done and ran beside so many workers."""
    names = ["network", "hash", "replicate", "status", "workers", "seconds"]
    rows = read_shards(store.files, "trainings", names).to_pylist()
    done = {(r["network"], r["replicate"]): r for r in rows if r["status"] == "done" and r["workers"] == workers}
    names = ["network", "replicate", "epoch", "train_seconds", "eval_seconds"]
    steps: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    evaluations: dict[tuple[str, int], float] = defaultdict(float)
    for row in read_shards(store.files, "epochs", names).to_pylist():
        if (key := (row["network"], row["replicate"])) in done:
            steps[key][row["epoch"]] = row["train_seconds"]  # each split has a row, with the seconds of the same steps
            evaluations[key] += row["eval_seconds"]
    return [
        SecondsSpent((done[key]["hash"], key[1]), done[key]["seconds"], sum(epochs.values()), evaluations[key])
        for key, epochs in steps.items()
    ]
