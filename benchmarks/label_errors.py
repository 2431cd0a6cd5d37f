"""How many wrong labels that were planted among training images `suspects` finds, and how many cleanlab does.

A share of the training labels of a data set is exchanged for another class, drawn evenly. A run with crossed folds is
trained on that (--limit networks of the template), and all training images are ranked by `suspects --split left_out`:
what the networks think that never saw an image. Beside it stands what is usual: the out-of-fold probabilities of one
model, the run's best network by its test accuracy, trained anew in five folds, ranked by cleanlab's label quality and
flagged by its confident learning (Northcutt, Jiang and Chuang 2021); and cleanlab on the mean probabilities of the
run's networks. Test labels are left as they are. Needs cleanlab (`pip install cleanlab`); what was exchanged is known
to this script alone.
"""

from __future__ import annotations

import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from _common import machine, main, new_run_parser, positive, print_machine, print_table, run_netpick, write_json

FOLDS_OF_ONE = 5


def planted(request: Any, share: float, seed: int, file: Path) -> np.ndarray:
    """Write the data set with some training labels exchanged; return the numbers of these images."""
    from netpick.data import load

    dataset = load(request)
    train, test = dataset.splits["train"], dataset.splits["test"]
    rng, classes = np.random.default_rng(seed), len(dataset.classes)
    wrong = np.sort(rng.choice(len(train), round(share * len(train)), replace=False))
    labels = np.array(train.labels, dtype=np.int64)
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
    x_train, x_test = (np.moveaxis(split.pixels, 1, -1) for split in (train, test))
    np.savez(file, x_train=x_train, y_train=labels, x_test=x_test, y_test=test.labels)
    return wrong


def judged(score: np.ndarray, flagged: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Return how well a ranking (high is suspect) and a list find the images with wrong labels."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.zeros(len(score), bool)
    truth[wrong] = True
    first = np.argsort(-score, kind="stable")[: len(wrong)]
    return {
        "average precision": float(average_precision_score(truth, score)),
        "AUC": float(roc_auc_score(truth, score)),
        f"precision of the first {len(wrong):,}": float(truth[first].mean()),
        "flagged": int(flagged.sum()),
        "precision of the flagged": float(truth[flagged].mean()) if flagged.any() else float("nan"),
        "recall of the flagged": float(truth[flagged].sum() / len(wrong)),
    }


def by_cleanlab(labels: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cleanlab's ranking, high is suspect, and what it flags."""
    filters, ranks = (import_module(f"cleanlab.{name}") for name in ("filter", "rank"))
    probability = probability / probability.sum(axis=1, keepdims=True)
    quality = ranks.get_label_quality_scores(labels, probability)
    return -np.asarray(quality), np.asarray(filters.find_label_issues(labels, probability, n_jobs=1), bool)


def number_in_files(run: Any, split: str) -> np.ndarray:
    """Return for each sample of a split its number in the files of the data set."""
    samples = run.samples
    return samples[samples["split"].astype(str) == split].sort_values("sample")["index"].to_numpy()


def one_model(run: Any, options: Any, data: str, folder: Path) -> tuple[str, np.ndarray]:
    """Train the best network anew in five folds; return its name and out-of-fold probabilities of all samples."""
    from netpick import Run, exam

    best = exam.best(exam.students(run))
    run_netpick("export", run.path, best, "--to", folder / "one.jsonl")
    sets = {"folds": FOLDS_OF_ONE, "replicates": FOLDS_OF_ONE}
    sets |= {name: run.recipe[name] for name in ("optimizer", "lr", "batch_size", "epochs")}
    sets |= {f"optimizer_args.{name}": json.dumps(value) for name, value in run.recipe["optimizer_args"].items()}
    words = [word for name, value in sets.items() for word in ("--set", f"recipe.{name}={value}")]
    there = folder / "one"
    run_netpick("generate", "--networks", folder / "one.jsonl", "--dataset", data, "--run", there, *words)
    run_netpick("train", there, "--device", options.device, "--workers", options.workers)
    alone = Run(there)
    scores = np.stack([alone.scores(split="left_out", replicate=r)[0] for r in range(FOLDS_OF_ONE)])
    assert (np.isnan(scores[:, :, 0]).sum(axis=0) == FOLDS_OF_ONE - 1).all()  # each image left out once
    place = np.argsort(number_in_files(alone, "left_out"))
    return best, np.exp(np.nanmax(scores, axis=0))[place]


def work() -> int:
    """Plant, train, rank, print."""
    parser = new_run_parser(__doc__, limit=300)
    parser.set_defaults(dataset="fashion-mnist")
    parser.add_argument("--share", type=float, default=0.03, help="of the training labels that is exchanged (0.03)")
    parser.add_argument("--folds", type=positive, default=10, help="of the run (10)")
    parser.add_argument("--seed", type=int, default=1, help="of the exchange (1)")
    options = parser.parse_args()
    import_module("cleanlab.filter")  # before anything is trained
    from netpick import Run
    from netpick.data import DataRequest, data_dir

    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "planted.npz"
        wrong = planted(DataRequest(options.dataset, data_dir(options.data_dir)), options.share, options.seed, data)
        words = ("--dataset", f"npz:{data}", "--limit", options.limit, "--set", f"recipe.folds={options.folds}")
        if options.epochs:
            words += ("--set", f"recipe.epochs={options.epochs}")
        if not (folder / "run").exists():
            run_netpick("generate", options.template, "--run", folder / "run", *words)
        run_netpick("train", folder / "run", "--device", options.device, "--workers", options.workers, show=True)
        run = Run(folder / "run")
        place = np.argsort(number_in_files(run, "left_out"))  # of all training images, in the order of the files
        labels = run.labels("left_out")[place].astype(np.int64)
        table = run.ask("suspects", split="left_out", all_samples=True).table.set_index("sample")
        nothing = {"label_probability": 1.0, "suspect": False, "cleanlab_quality": 1.0, "cleanlab_issue": False}
        table = table[list(nothing)].reindex(place).fillna(nothing).astype({k: type(v) for k, v in nothing.items()})
        found = {"suspects": judged(-table["label_probability"].to_numpy(), table["suspect"].to_numpy(), wrong)}
        issues = table["cleanlab_issue"].to_numpy()
        found["cleanlab, all networks"] = judged(-table["cleanlab_quality"].to_numpy(), issues, wrong)
        best, probability = one_model(run, options, f"npz:{data}", folder)
        found[f"cleanlab, {best} in {FOLDS_OF_ONE} folds"] = judged(*by_cleanlab(labels, probability), wrong)
    head = ("", *found)
    names = list(found["suspects"])
    rows = [(n, *(f"{one[n]:,}" if n == "flagged" else f"{one[n]:.3f}" for one in found.values())) for n in names]
    print_table(f"{len(wrong):,} of {len(labels):,} training labels are wrong", head, rows)
    write_json(options.json, {"machine": facts, "wrong": len(wrong), "found": found})
    return 0


if __name__ == "__main__":
    main(work)
