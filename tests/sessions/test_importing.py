"""Answers of classifiers from elsewhere: what becomes of a file, and every file that is refused, in one line."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from netpick.cli import main
from netpick.core.errors import DataError, NetpickError, RunError
from netpick.exam.run import Run
from netpick.sessions import Options, import_run, train_run, verify_run
from netpick.sessions.listener import Listener
from netpick.sessions.verification import check_run
from netpick.store.given import GivenTable

WORDS = np.array(["cat", "dog", "emu"])
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
SAMPLES = [3, 4, 5, 6, 7, 8, 9, 10]


def long_frame(networks=("svm", "knn", "my forest"), seed=0):
    """Make probabilities that favour the label, as `predict_proba` gives them."""
    rng = np.random.default_rng(seed)
    frames = []
    for name in networks:
        p = rng.dirichlet(np.ones(3), len(LABELS)) + 0.5 * np.eye(3)[LABELS]
        p /= p.sum(axis=1, keepdims=True)
        frame = pd.DataFrame(p, columns=[f"score_{word}" for word in WORDS])
        frames.append(frame.assign(network=name, sample=SAMPLES, label=WORDS[LABELS]))
    return pd.concat(frames, ignore_index=True)


def wide_frame():
    rng = np.random.default_rng(1)
    answers = {name: WORDS[rng.integers(0, 3, len(LABELS))] for name in ("a", "b")}
    return pd.DataFrame({"sample": SAMPLES, "label": WORDS[LABELS], **answers})


def written(frame, path):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A run of a long file, and the frame that it is of."""
    here = tmp_path_factory.mktemp("imported")
    frame = long_frame()
    import_run(written(frame, here / "long.csv"), here / "run")
    return here / "run", frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_long_file_becomes_a_run_with_its_scores(tmp_path, suffix):
    frame = long_frame().sample(frac=1, random_state=0)  # in any order
    made = import_run(written(frame, tmp_path / f"long.{suffix}"), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert made.networks == run.networks["name"].tolist()
    assert run.classes == WORDS.tolist()
    assert run.labels().tolist() == LABELS.tolist()
    assert run.samples["name"].tolist() == [str(sample) for sample in SAMPLES]
    for name, rows in frame.groupby("network"):
        p = rows.sort_values("sample")[[f"score_{word}" for word in WORDS]].to_numpy()
        np.testing.assert_allclose(np.exp(run.scores(networks=name)[0]), p, rtol=1e-5)
        epoch = run.epochs[run.epochs["network"] == name].iloc[0]
        assert epoch["accuracy"] == (p.argmax(axis=1) == LABELS).mean()
        assert epoch["loss"] == pytest.approx(log_loss(LABELS, p), rel=1e-5)
        assert epoch["auc_1"] == pytest.approx(roc_auc_score(LABELS == 1, p[:, 1]))
    assert run.networks[["params", "macs"]].isna().all(axis=None)
    assert run.epochs[["train_loss", "train_seconds", "eval_seconds"]].isna().all(axis=None)
    assert not run.pending


def test_a_wide_file_has_predicted_classes_alone(tmp_path):
    frame = wide_frame()
    import_run(written(frame, tmp_path / "wide.csv"), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.epochs.set_index("network")["accuracy"].to_dict() == {
        name: (frame[name] == frame["label"]).mean() for name in ("a", "b")
    }
    assert run.epochs[["loss", "auc_0"]].isna().all(axis=None)
    with pytest.raises(RunError, match="import probabilities"):
        run.scores()


def test_an_index_that_pandas_wrote_along_numbers_the_samples(tmp_path):
    frame = wide_frame().set_index("sample").rename_axis(None).iloc[::-1]
    frame.to_csv(tmp_path / "wide.csv")
    import_run(tmp_path / "wide.csv", tmp_path / "run")
    assert Run(tmp_path / "run").samples["name"].tolist() == [str(sample) for sample in SAMPLES]


def test_epochs_stay_and_a_network_may_have_stopped_earlier(tmp_path):
    frame = pd.concat([long_frame(seed=e).assign(epoch=e) for e in (1, 2, 3)])
    frame = frame[(frame["network"] != "knn") | (frame["epoch"] < 3)]
    import_run(written(frame, tmp_path / "long.parquet"), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.epochs.groupby("network", observed=True)["epoch"].max().to_dict() == {"svm": 3, "knn": 2, "my forest": 3}
    assert len(run.ask("attempts").table) == 3


def test_what_students_cost_and_are_comes_along(tmp_path):
    about = pd.DataFrame(
        {"network": ["svm", "knn"], "params": [10, np.nan], "macs": [5, 7], "computation": ["Kernel", "Neighbours"],
         "seconds": [0.5, 2], "library": ["sklearn", "faiss"]}
    )  # fmt: skip
    made = import_run(
        written(long_frame(), tmp_path / "long.csv"), tmp_path / "run", students=written(about, tmp_path / "s.csv")
    )
    assert "my forest" in made.notes[0]
    networks = Run(tmp_path / "run").networks.set_index("name")
    assert networks["params"].dropna().to_dict() == {"svm": 10}
    assert networks["library"].dropna().to_dict() == {"svm": "sklearn", "knn": "faiss"}
    assert networks.loc["my forest", "computation"] == "Imported"
    assert Run(tmp_path / "run").epochs.set_index("network")["train_seconds"].dropna().to_dict() == {
        "svm": 0.5,
        "knn": 2,
    }


def test_labels_may_lie_beside_it(tmp_path):
    frame = long_frame()
    labels = frame[["sample", "label"]].drop_duplicates()
    path = written(frame.drop(columns="label"), tmp_path / "long.csv")
    with pytest.raises(DataError, match="no label of sample 3"):
        import_run(path, tmp_path / "run")
    import_run(path, tmp_path / "run", labels=written(labels, tmp_path / "labels.csv"))
    assert Run(tmp_path / "run").labels().tolist() == LABELS.tolist()


def test_a_data_set_brings_labels_images_and_classes(tmp_path):
    frame = pd.DataFrame({"sample": range(20), "a": np.arange(20) % 10, "b": 0})
    import_run(written(frame, tmp_path / "wide.csv"), tmp_path / "run", dataset="digits")
    run = Run(tmp_path / "run")
    assert run.image(3).shape == (8, 8)
    assert run.manifest["shape"] == [1, 8, 8]
    assert run.epochs.set_index("network")["accuracy"]["b"] == (run.labels() == 0).mean()
    frame["label"] = (run.labels() + (np.arange(20) == 7)) % 10
    with pytest.raises(DataError, match="sample 7 is labelled"):
        import_run(written(frame, tmp_path / "other.csv"), tmp_path / "other", dataset="digits")


def test_images_are_found_by_the_names_of_samples(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for sample in SAMPLES:
        Image.new("L", (300, 150), 20 * sample).save(tmp_path / "images" / f"{sample}.png")
    path = written(wide_frame(), tmp_path / "wide.csv")
    import_run(path, tmp_path / "run", images=tmp_path / "images")
    image = Run(tmp_path / "run").image(2)
    assert image.shape == (64, 128)
    assert (image == 100).all()
    (tmp_path / "images/5.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"5\.png"):
        import_run(path, tmp_path / "other", images=tmp_path / "images")
    assert not (tmp_path / "other").exists()


def test_a_second_import_adds_students(imported, tmp_path):
    folder = shutil.copytree(imported[0], tmp_path / "run")
    before = Run(folder).predictions()
    more = long_frame(["bayes"], seed=5).drop(columns="label")
    about = pd.DataFrame({"network": ["bayes"], "params": [60], "library": ["own"]})
    import_run(written(more, tmp_path / "more.csv"), folder, students=written(about, tmp_path / "s.csv"))
    run = Run(folder)
    assert run.networks["name"].tolist() == [*imported[1]["network"].unique(), "bayes"]
    assert run.networks["library"].tolist()[-1] == "own"
    pd.testing.assert_frame_equal(
        run.predictions(networks=["svm", "knn", "my forest"]).astype({"network": str}), before.astype({"network": str})
    )
    assert run.manifest["imported"]["files"] == ["long.csv", "more.csv"]
    assert not verify_run(folder, Options(device="cpu")).faults
    with pytest.raises(RunError, match="answers of bayes already"):
        import_run(tmp_path / "more.csv", folder)


def test_an_import_that_was_stopped_goes_on_when_given_again(tmp_path, monkeypatch):
    from netpick.store.folder import Store

    path, commit = written(long_frame(), tmp_path / "long.csv"), Store.commit
    ended = []

    def stopped(store, result, labels, scores="all"):
        if ended:
            raise KeyboardInterrupt
        ended.append(result.network)
        commit(store, result, labels, scores)

    monkeypatch.setattr(Store, "commit", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_run(path, tmp_path / "run")
    monkeypatch.undo()
    rest = long_frame()
    import_run(written(rest[rest["network"] != ended[0]], tmp_path / "rest.csv"), tmp_path / "run")
    assert not Run(tmp_path / "run").pending
    assert not check_run(tmp_path / "run").faults


def test_an_imported_run_holds_and_can_not_be_trained(imported):
    folder, _ = imported
    assert not verify_run(folder, Options(device="cpu")).faults
    with pytest.raises(RunError, match="no networks to train"):
        train_run(folder, Options(device="cpu"), Listener())
    with pytest.raises(RunError, match="no networks to train again"):
        verify_run(folder, Options(device="cpu"), number=1)


def changed(**columns):
    return lambda frame: frame.assign(**columns)


def at_row(column, value, row=1):
    def change(frame):
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


REFUSED = {
    "a missing answer": (lambda f: f.drop(index=4), "answer of svm to sample 7 is missing"),
    "a row twice": (lambda f: pd.concat([f, f.iloc[[9]]]), "knn to sample 4 is there twice"),
    "two labels": (at_row("label", "dog", 8), "sample 3 has two labels"),
    "a name out of the folder": (changed(network="../../evil"), "can't be a network's name"),
    "a name of a hidden file": (changed(network=".evil"), "can't be a network's name"),
    "a name with a new line": (changed(network="a\nb"), "can't be a network's name"),
    "no name": (at_row("network", ""), "column network lacks values"),
    "scores that add up to more": (changed(score_cat=5.0), "neither probabilities nor"),
    "words for scores": (changed(score_cat="high"), "can't be read"),
    "a hole in the scores": (at_row("score_dog", np.nan), "some scores are missing"),
    "an infinite score": (at_row("score_dog", np.inf), "neither probabilities nor"),
    "a class without scores": (lambda f: f.drop(columns="score_emu"), "'emu'"),
    "an epoch of none": (changed(epoch=0), "epoch is '0'"),
    "an epoch in words": (changed(epoch="last"), "epoch is 'last'"),
    "no samples": (lambda f: f.drop(columns="sample"), "no column 'sample'"),
    "no answers": (lambda f: f.head(0), "has no answers"),
    "one class": (
        lambda f: f[f["label"] == "cat"][["network", "sample", "label"]].assign(predicted="cat"),
        "1 classes",
    ),
    "a word of a page": (changed(sample=["x" * 300] * 24), "more than 200 letters"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_wrong_is_refused_in_one_line_and_nothing_is_written(tmp_path, what):
    change, said = REFUSED[what]
    path = written(change(long_frame()), tmp_path / "long.csv")
    with pytest.raises(NetpickError) as caught:
        import_run(path, tmp_path / "run")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.csv"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "can't be read"),
        ("other.xlsx", b"PK", "ends in .csv, .parquet"),
        ("bytes.csv", b"network,sample,predicted\n\xff\xfe,1,2\n", "can't be read"),
        ("torn.parquet", b"PAR1 and so on", "can't be read"),
        ("ragged.csv", b"network,sample,predicted,label\na,1,0,0\na,2\n", "can't be read"),
        ("twice.csv", b"network,sample,sample\na,1,1\n", "is there twice"),
        ("endless.csv", b"network,sample" + b"," * 2**23, "can't be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        import_run(tmp_path / name, tmp_path / "run")
    assert not (tmp_path / "run").exists()


STUDENTS = {
    "params below 0": ({"params": [-1]}, "params of svm is -1"),
    "params in words": ({"params": ["many"]}, "params of svm is 'many'"),
    "a fraction": ({"macs": [1.5]}, "macs of svm is 1.5"),
    "a column of ours": ({"accuracy": [1.0]}, "is one of netpick's own"),
    "a column of no name": ({"a b/c": [1.0]}, "wants letters"),
    "nobody we know": ({"network": ["other"]}, "has none of the networks"),
}


@pytest.mark.parametrize("what", STUDENTS)
def test_what_is_said_of_students_is_checked(tmp_path, what):
    columns, said = STUDENTS[what]
    path = written(pd.DataFrame({"network": ["svm"], **columns}), tmp_path / "s.csv")
    with pytest.raises(DataError) as caught:
        import_run(written(long_frame(), tmp_path / "long.csv"), tmp_path / "run", students=path)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_that_netpick_made_takes_no_answers_from_elsewhere(tmp_path):
    from netpick.store.folder import Store

    row = {"name": "Basic", "hash": "a", "computation": "Linear", "activation": "None", "layers": [], "thop_macs": 1.0}
    sizes = dict.fromkeys(("params", "memory", "ops", "depth", "macs"), 1)
    Store.create(tmp_path / "run", {"classes": ["0", "1"]}, [row | sizes])
    with pytest.raises(RunError, match="a run that netpick made"):
        import_run(written(long_frame(), tmp_path / "long.csv"), tmp_path / "run")


def test_a_file_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("netpick.store.given.BATCH_ROWS", 7)
    monkeypatch.setattr("netpick.sessions.given_answers.GROUP_BYTES", 1)
    frame = long_frame()
    pieces = [
        len(piece["network"].codes) for piece in GivenTable(written(frame, tmp_path / "f.parquet")).pieces(["network"])
    ]
    assert max(pieces) == 7
    assert sum(pieces) == len(frame)
    import_run(tmp_path / "f.parquet", tmp_path / "run")
    assert Run(tmp_path / "run").networks["name"].tolist() == ["svm", "knn", "my forest"]


def test_the_command_says_what_came_and_what_can_be_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(wide_frame(), tmp_path / "theirs.csv")
    for arguments, code, said in (
        (["import", "theirs.csv"], 0, "2 networks with answers to 8 samples"),
        (["status", "runs/theirs"], 0, "imported from theirs.csv"),
        (["export", "runs/theirs", "a", "--to", "a.py"], 2, "no network to export"),
    ):
        monkeypatch.setattr("sys.argv", ["netpick", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        assert end.value.code == code, out
        assert said in " ".join((out.out + out.err).split())
