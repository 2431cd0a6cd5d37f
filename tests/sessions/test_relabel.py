"""Labels put right: planted errors are found, corrected, and all is counted anew; files that don't fit are refused."""

import errno
import hashlib
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from netpick.cli import main
from netpick.core.errors import NetpickError, RunError
from netpick.exam import Run, plant
from netpick.report import publish_run
from netpick.sessions import (
    Options,
    estimate_run,
    import_run,
    measure_distances,
    relabel_run,
    time_run,
    train_run,
    verify_run,
)

SIZE = {"networks": 36, "samples": 200, "epochs": 1, "mislabelled": 0.04, "weird": 0.0, "validation": 50}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A run with wrong labels, and what its suspects come to: truth, file of fixes, the run that was put right."""
    here = tmp_path_factory.mktemp("relabel")
    truth = plant(here / "run", **SIZE)
    before = contents(here / "run")
    Run(here / "run").ask("suspects", to=str(here / "fixes.csv"))
    relabel_run(here / "run", here / "fixes.csv", here / "fixed")
    after = {name: content for name, content in contents(here / "run").items() if not name.startswith(".lock")}
    assert after == {name: content for name, content in before.items() if not name.startswith(".lock")}
    return truth, here


def rows(folder, table):
    return pq.read_table(folder / table).to_pandas()


def test_suspects_write_a_table_to_edit_with_the_images_beside_it(planted):
    truth, here = planted
    table = pd.read_csv(here / "fixes.csv", dtype={"label": str, "suggested": str})
    assert list(table) == ["sample", "split", "label", "suggested", "share", "image"]
    assert set(table["sample"]) == set(truth.mislabelled)
    assert table["suggested"].tolist() == [str(truth.true_label[s]) for s in table["sample"]]
    assert table["label"].tolist() == [str(Run(here / "run").labels()[s]) for s in table["sample"]]
    assert (table["share"] >= 0.9).all()
    from PIL import Image

    for row in table.itertuples():
        assert np.array_equal(np.asarray(Image.open(here / row.image)), Run(here / "run").image(row.sample))


def test_accuracies_rise_by_what_was_planted(planted):
    """Counted from the predictions' files by pandas and scikit-learn, against the labels that were meant."""
    truth, here = planted
    answers = rows(here / "fixed", "predictions").query("split == 'test'")
    meant = truth.true_label[answers["sample"]]
    before, after = (rows(here / name, "epochs").set_index(["network", "epoch", "split"]) for name in ("run", "fixed"))
    answers = answers.assign(
        meant=meant, right=answers["predicted"] == meant, was=answers["predicted"] == answers["label"]
    )
    counted = answers.groupby(["network", "epoch"], observed=True)[["right", "was"]].mean()
    for (network, epoch), row in counted.iterrows():
        assert after.loc[(network, epoch, "test"), "accuracy"] == pytest.approx(row["right"])
        assert before.loc[(network, epoch, "test"), "accuracy"] == pytest.approx(row["was"])
    share = len(truth.mislabelled) / SIZE["samples"]
    good = counted[counted["was"] > 0.8]
    assert (good["right"] - good["was"]).mean() == pytest.approx(share, abs=share / 10)
    (network, epoch), one = next(iter(answers.groupby(["network", "epoch"], observed=True)))
    row, p = after.loc[(network, epoch, "test")], np.exp(one[[f"score_{c}" for c in range(10)]].to_numpy(float))
    assert row["loss"] == pytest.approx(log_loss(one["meant"], p, labels=range(10)), rel=1e-5)
    assert row["auc_3"] == pytest.approx(roc_auc_score(one["meant"] == 3, p[:, 3]))
    assert row["accuracy_3"] == pytest.approx(one.loc[one["meant"] == 3, "right"].mean())
    other = after.index.get_level_values("split") == "validation"
    pd.testing.assert_frame_equal(after[other].sort_index(), before[other].sort_index())


def test_answers_are_shared_and_all_that_reads_them_has_the_new_labels(planted):
    truth, here = planted
    run = Run(here / "fixed")
    for path in (*(here / "run/predictions").iterdir(), *(here / "run/trainings").iterdir()):
        assert path.samefile(here / "fixed" / path.relative_to(here / "run"))
    assert np.array_equal(run.labels(), truth.true_label)
    said = run.predictions(networks="Basic")
    assert np.array_equal(said["label"], truth.true_label[said["sample"]])
    assert np.array_equal(run.predictions(networks="Basic", columns=["label"])["label"], said["label"])
    assert (run.samples["class_name"] == np.array(run.classes)[run.samples["label"]]).all()
    assert "suspect" in run.ask("suspects").text
    assert not run.ask("suspects").table["suspect"].any()
    said = f"{len(truth.mislabelled)} labels changed by fixes.csv (SHA-256 "
    assert run.relabelled.startswith(said)
    assert not Run(here / "run").relabelled


def test_verify_counts_by_the_new_labels_and_says_which_file_changed_them(tmp_path):
    """Of an imported run, where there are no networks to count."""
    answers = pd.DataFrame({"label": [0, 1, 2] * 10, "a": [0, 1, 2] * 10, "b": [0, 1, 1] * 10})
    answers.to_csv(tmp_path / "answers.csv", index=False)
    import_run(tmp_path / "answers.csv", tmp_path / "run")
    for name, row in (("there", "5,2,1"), ("back", "5,1,2"), ("on", "6,0,1")):
        (tmp_path / f"{name}.csv").write_text(f"sample,label,suggested\n{row}\n")
    options = Options(device="cpu")
    for before, file, after, accuracy in (("run", "there", "fixed", 21 / 30), ("fixed", "back", "same", 20 / 30),
                                          ("same", "on", "third", 20 / 30)):  # fmt: skip
        relabel_run(tmp_path / before, tmp_path / f"{file}.csv", tmp_path / after)
        verified = verify_run(tmp_path / after, options)
        assert verified.faults == []
        digest = hashlib.sha256((tmp_path / f"{file}.csv").read_bytes()).hexdigest()[:12]
        assert f"1 label changed by {file}.csv (SHA-256 {digest}...) in {before}" in verified.said[1]
        epochs = Run(tmp_path / after).epochs.set_index("network")
        assert epochs.loc["b", "accuracy"] == pytest.approx(accuracy - (file == "on") / 30)
    toml = tmp_path / "fixed/run.toml"
    text = toml.read_text().partition("\n")[2]
    toml.write_text(text.replace("labels = 1", "labels = 2"))
    assert verify_run(tmp_path / "fixed", options).faults == [
        f"{tmp_path / 'fixed'}: labels other than those of the answers: 1, and run.toml says 2"
    ]
    toml.write_text(text.partition("[[relabelled]]")[0])
    assert "labels are not those of samples.parquet" in verify_run(tmp_path / "fixed", options).faults[0]


def test_published_and_compacted_it_keeps_its_labels(planted, tmp_path):
    truth, here = planted
    publish_run(here / "fixed", tmp_path / "data", "mit", "Ada")
    run = Run(tmp_path / "data")
    assert np.array_equal(run.predictions(networks="Basic", columns=["label"])["label"], truth.true_label)
    assert "changed by fixes.csv" in (tmp_path / "data/README.md").read_text()


def test_without_scores_what_is_no_longer_known_is_missing(tmp_path):
    truth = plant(tmp_path / "run", 12, 60, epochs=1, mislabelled=0.04, scores="none")
    s = int(truth.mislabelled[0])
    (tmp_path / "fixes.csv").write_text(
        f"sample,label,suggested\n{s},{Run(truth.folder).labels()[s]},{truth.true_label[s]}\n"
    )
    relabel_run(truth.folder, tmp_path / "fixes.csv", tmp_path / "fixed")
    epochs = rows(tmp_path / "fixed", "epochs")
    assert epochs[["loss", "auc_0"]].isna().all(axis=None)
    assert epochs["accuracy"].notna().all()


def header(text):
    return "sample,split,label,suggested\n" + text


def test_files_that_do_not_fit_are_refused_in_a_line_and_leave_nothing(planted, tmp_path):
    _, here = planted
    labels = Run(here / "run").labels()
    a, b = int(labels[0]), int(labels[1])
    other = (a + 1) % 10
    wrong = {
        header(f"999,test,{a},{other}"): r"row 1: sample is '999': the test split has samples 0 to 199",
        header(f"-1,test,{a},{other}"): r"sample is '-1'",
        header(f"0.5,test,{a},{other}"): r"sample is '0.5'",
        header(f",test,{a},{other}"): r"sample is ''",
        header(f"0,test,{a},{other}\n0,test,{a},{other}"): r"row 2: sample 0 of test is there twice: strike one",
        header(f"0,test,{other},{a}"): rf"sample 0 of test is labelled '{a}' in .*, and not '{other}': the file is of",
        header(f"0,test,{a},eleven"): r"suggested is 'eleven': the classes are 0, 1",
        header(f"0,test,{a},"): r"suggested is '': the classes are",
        header(f"0,tset,{a},{other}"): r"split is 'tset' \(did you mean 'test'\?\): the run has samples of test, valid",
        header(f"0,train,{a},{other}"): r"split is 'train': the run has samples of",
        header(f"0,test,{a},{a}"): r"changes no label: leave the rows",
        header(""): r"changes no label",
        "": "can't be read",
        f"sample,label\n0,{a}": "has no column 'suggested'",
        f"sample,label,label,suggested\n1,{b},{b},{other}": "its column 'label' is there twice",
        header("0,test," + "x" * 5_000_000): "can't be read",
    }
    path = tmp_path / "fixes.csv"
    for text, said in wrong.items():
        path.write_text(text)
        with pytest.raises(NetpickError, match=said):
            relabel_run(here / "run", path, tmp_path / "new")
    with open(path, "wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(NetpickError, match="has 10,240 MiB: give a file of corrections"):
        relabel_run(here / "run", path, tmp_path / "new")
    path.write_text(header(f"0,test,{a},{other}"))
    for target, said in ((here / "fixed", "is there already"), (here / "run/new", "would lie in the run itself"),
                         (tmp_path / "no/new", "there is no folder")):  # fmt: skip
        with pytest.raises(RunError, match=said):
            relabel_run(here / "run", path, target)
    assert os.listdir(tmp_path) == ["fixes.csv"]


def test_classes_go_by_names_that_a_spreadsheet_left_alone(tmp_path):
    names = ["=1+1", "3.0", "@x", 'plain, and "quoted"']
    wide = pd.DataFrame({"label": np.repeat(names, 20)})
    for k in range(5):
        wide[f"net{k}"] = np.roll(wide["label"].to_numpy(), 1)
    wide.to_parquet(tmp_path / "answers.parquet")
    import_run(tmp_path / "answers.parquet", tmp_path / "run")
    run = Run(tmp_path / "run")
    from netpick.exam import write_fixes

    first = [0, 20, 40, 60]
    write_fixes(run, tmp_path / "fixes.csv", first, run.predicted()[0][first], [1.0] * 4)
    relabel_run(tmp_path / "run", tmp_path / "fixes.csv", tmp_path / "fixed")
    assert (Run(tmp_path / "fixed").epochs["accuracy"] == 1).all()
    assert not (tmp_path / "fixes").exists()  # it has no images
    with pytest.raises(RunError, match="import into that run, and put its labels right again"):
        import_run(tmp_path / "answers.parquet", tmp_path / "fixed")
    for path, said in (("fixes.csv", "is there already"), ("fixes.txt", "does not end in .csv")):
        with pytest.raises(NetpickError, match=said):
            write_fixes(run, tmp_path / path, first, first, [1.0] * 4)


def test_where_nothing_can_be_shared_it_is_copied_on_demand(planted, tmp_path, monkeypatch):
    _, here = planted

    def refuse(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(RunError, match=r"can't share the answers of .* by hard links .*: give --run .* or --copy"):
        relabel_run(here / "run", here / "fixes.csv", tmp_path / "fixed")
    assert not os.listdir(tmp_path)
    relabel_run(here / "run", here / "fixes.csv", tmp_path / "fixed", copy=True)
    assert contents(tmp_path / "fixed").keys() == {n for n in contents(here / "fixed") if not n.startswith(".lock")}


def test_a_link_among_the_answers_is_not_taken_along(planted, tmp_path):
    _, here = planted
    relabel_run(here / "run", here / "fixes.csv", tmp_path / "run", copy=True)
    file = next((tmp_path / "run/predictions").iterdir())
    file.rename(tmp_path / "secret")
    file.symlink_to(tmp_path / "secret")
    (tmp_path / "back.csv").write_text(header("0,test,{},{}".format(*(Run(here / "fixed").labels()[0] + [0, 1]) % 10)))
    with pytest.raises(RunError, match="is a link"):
        relabel_run(tmp_path / "run", tmp_path / "back.csv", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_trained_timed_or_measured_under_other_labels(planted, capsys):
    truth, here = planted
    folder = here / "fixed"
    before = contents(folder)
    works = (
        lambda: train_run(folder, Options(device="cpu")), lambda: estimate_run(folder, Options(device="cpu")),
        lambda: time_run(folder), lambda: measure_distances(folder),
    )  # fmt: skip
    for work in works:
        with pytest.raises(
            RunError, match=r"has the answers of run and other labels: train, time and measure that run"
        ):
            work()
    with pytest.raises(RunError, match="leave --retrain out, or give it with the run that it was made of, run"):
        verify_run(folder, Options(device="cpu"), number=1)
    assert {k for k in contents(folder) if not k.startswith(".lock")} == {
        k for k in before if not k.startswith(".lock")
    }
    with pytest.raises(SystemExit):
        main(["status", str(folder)])
    number = len(truth.mislabelled)
    assert (
        f"the answers of another run by other labels: {number} labels changed by fixes.csv" in capsys.readouterr().out
    )
