"""A run whose every answer a test writes itself; no test in here."""

from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from PIL import Image

from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam.run import Run
from netpick.store.folder import Store


def sure(answers, classes, confidence=0.9):
    """Probabilities (samples, classes) of which the highest, `confidence`, is that of the answer."""
    answers = np.asarray(answers)
    confidence = np.broadcast_to(confidence, answers.shape)
    p = np.repeat((1 - confidence)[:, None] / (classes - 1), classes, axis=1)
    p[np.arange(len(answers)), answers] = confidence
    return p


def make_run(folder, probabilities, labels, networks=None, keep="all", status=None, train_loss=None, validation=None):
    """Write a run.

    probabilities: of each network by name, (samples, classes) or (epochs, samples, classes).
    networks: columns of networks.parquet that matter, by name; macs and params grow along the list otherwise.
    train_loss: of each network by name, a value an epoch; 0.5 otherwise.
    validation: probabilities (samples, classes) of each network, and labels, of that split after the one epoch.
    """
    labels = np.asarray(labels)
    classes = np.asarray(next(iter(probabilities.values()))).shape[-1]
    rows = []
    for i, name in enumerate(probabilities):
        row = {
            "name": name, "hash": f"{i:016x}", "computation": "Linear", "activation": "ReLU", "layers": "[]",
            "params": 10 * (i + 1), "memory": 5, "ops": 4, "depth": 1, "macs": 10 * (i + 1), "thop_macs": 1.0,
        }  # fmt: skip
        rows.append({**row, **(networks or {}).get(name, {})})
    store = Store.create(folder, {"classes": [f"c{c}" for c in range(classes)], "dataset": "hand", "recipe": {}}, rows)
    file = BytesIO()
    Image.fromarray(np.full((2, 2), 100, np.uint8)).save(file, "png")
    truth = {"test": labels} | ({"validation": np.asarray(validation[1])} if validation else {})
    store.write_samples(
        {"split": split, "sample": j, "index": j, "label": int(c), "class_name": f"c{c}", "image": file.getvalue()}
        for split, known in truth.items()
        for j, c in enumerate(known)
    )
    for row, p in zip(rows, probabilities.values(), strict=True):
        p = np.asarray(p, dtype=np.float64)
        scores = np.log(p if p.ndim == 3 else p[None]).astype(np.float32)
        more = () if not validation else (
            evaluate("validation", np.log(validation[0][row["name"]]).astype(np.float32), truth["validation"], 0.1),
        )  # fmt: skip
        losses = (train_loss or {}).get(row["name"], [0.5] * len(scores))
        epochs = tuple(
            EpochResult(e, loss, 2.0, None, (evaluate("test", one, labels, 0.1), *more))
            for e, (one, loss) in enumerate(zip(scores, losses, strict=True), 1)
        )
        result = TrainingResult(
            row["name"], row["hash"], 0, (status or {}).get(row["name"], "done"), 1, "cpu", "hand",
            datetime(2024, 1, 1, tzinfo=UTC), 1.0, epochs=epochs,
        )  # fmt: skip
        store.commit(result, truth, keep)
    return Run(folder)
