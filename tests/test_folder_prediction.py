import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

from hpa_lib import (
    dataset,
    embeddings,
    folder_prediction,
    inference,
    labels,
    models,
    parameters,
    paths,
    splits,
    trained_runs,
    training,
)
from hpa_lib.errors import HpaError

THRESHOLDS = [0.2 if index == 6 else 0.5 for index in range(28)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the network of `leave_run`, large enough to tell images apart."""
    preset = parameters.read_preset(paths.PRESETS / "smoke.yaml")
    network = models.configured(parameters.validate("3_train_vgg", preset), 3)
    network.set_weights([weight * 1.5 for weight in network.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "best.weights.h5"
    training.save_weights(keras.Model(network.inputs, network.outputs), path)
    return path


@pytest.fixture
def leave_run(leave_run, weights):
    """Function that leaves a finished training run behind, without training."""

    def leave(**given):
        run = leave_run(THRESHOLDS, **given)
        (run.folder / "best.weights.h5").write_bytes(weights.read_bytes())
        return run

    return leave


STUDY = {"interpolation": "bilinear", "image_source": "decode"}


@pytest.mark.parametrize(
    ("given", "batch_size"), [({"all_views": True}, 5), (STUDY | {"all_views": False}, 0)]
)
def test_equals_the_notebook_s_prediction(leave_run, tiny, given, batch_size):
    run = leave_run(**given)
    predictor = inference.Predictor(run.network(3))
    wanted = predictor(run.open_source(tiny), np.arange(24), all_views=given["all_views"])
    assert wanted.std(axis=0).max() > 1e-3
    unlabelled = dataset.load_images(tiny.folder / "train")
    found = folder_prediction.predict(run, unlabelled, batch_size=batch_size, progress=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_embeds_as_the_comparison_does(leave_run, tiny):
    run = leave_run(all_views=True)
    wanted = embeddings.compute(run.network(3), run.open_source(tiny), np.arange(24))
    assert wanted.std(axis=0).max() > 1e-3
    unlabelled = dataset.load_images(tiny.folder / "train")
    found = folder_prediction.embed(run, unlabelled, batch_size=5, progress=False)
    assert (found.shape, found.dtype) == ((24, 512), np.float32)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(HpaError, match="batch_size is 1"):
        folder_prediction.embed(run, unlabelled, batch_size=1)


def test_parts_are_those_of_the_run_s_split_and_of_its_dataset_alone(leave_run, tiny, labelled):
    run = leave_run()
    rows = np.arange(24)
    parts = {"training": rows[4:], "validation": rows[:1], "report": rows[1:4]}
    division = splits.Split("file", parts, tiny.fingerprint)
    splits.write(run.folder / "split.csv", division, tiny)
    seen = folder_prediction.with_parts(run, tiny, np.zeros((24, 2), np.float32))
    assert seen.run == run.folder.name
    assert seen.parts == ("validation", *["report"] * 3, *["training"] * 20)
    other = labelled([(0,), (1,)])
    assert folder_prediction.with_parts(run, other, np.zeros((2, 2), np.float32)).parts == (
        None,
        None,
    )


def test_views_can_be_chosen_for_once(leave_run, tiny):
    run = leave_run(all_views=True)
    predictor, source = inference.Predictor(run.network(3)), run.open_source(tiny)
    found = folder_prediction.predict(run, tiny, all_views=False, progress=False)
    np.testing.assert_allclose(found, predictor(source, np.arange(24)), atol=1e-6)
    averaged = predictor(source, np.arange(24), all_views=True)
    assert np.abs(found - averaged).max() > 1e-5


SIDE_BY_SIDE = """
import sys
from hpa_lib import dataset, folder_prediction, trained_runs
run = trained_runs.load(sys.argv[1], "3_train_vgg")
assert folder_prediction.prepare(run.values()) == "CPU"
images = dataset.load_images(sys.argv[2])
def predict(at_once):
    folder_prediction._batches_at_once = lambda: at_once
    return folder_prediction.predict(run, images, batch_size=2, progress=False)
assert (predict(1) == predict(3)).all()
"""


def test_batches_computed_side_by_side_give_the_same_bits(leave_run, tiny):
    name = leave_run(deterministic=True, device="cpu", all_views=False).folder.name
    command = [sys.executable, "-c", SIDE_BY_SIDE, name, str(tiny.folder)]
    subprocess.run(command, check=True, timeout=300)


class Recorder:
    """Stands in for `inference.Predictor`; predicts the mean of each channel."""

    def __init__(self):
        self.sizes, self.most_running, self.meeting = [], 0, None
        self._running, self._lock = 0, threading.Lock()

    def __call__(self, model, batch_size):
        self.batch_size = batch_size
        return self.predict

    def predict(self, pictures, rows, *, all_views):
        with self._lock:
            self._running += 1
            self.most_running = max(self.most_running, self._running)
            self.sizes.append(len(rows))
        if self.meeting is not None:
            self.meeting.wait(timeout=30)
        assert len(rows) <= self.batch_size
        means = pictures[rows].mean(axis=(1, 2)) / 255
        with self._lock:
            self._running -= 1
        return np.pad(means, ((0, 0), (0, 28 - means.shape[1])))


@pytest.fixture
def recorder(monkeypatch):
    """Predict without a network, and record how."""
    recorder = Recorder()
    monkeypatch.setattr(folder_prediction, "Predictor", recorder)
    monkeypatch.setattr(trained_runs.TrainedRun, "network", lambda *_: None)
    return recorder


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("samples", [1, 2, 3, 7, 24])
def test_every_image_is_predicted_once_in_batches_of_several(
    leave_run, tiny, recorder, monkeypatch, samples, at_once
):
    monkeypatch.setattr(folder_prediction, "_batches_at_once", lambda: at_once)
    run = leave_run()
    images = dataset.load(tiny.folder, tiny.ids[samples:])
    wanted = run.open_source(tiny)[np.arange(samples)].mean(axis=(1, 2)) / 255
    for batch_size in (0, 2, 4):
        recorder.sizes.clear()
        found = folder_prediction.predict(run, images, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(found[:, :3], wanted, rtol=1e-5)
        assert min(recorder.sizes) >= 2
        assert max(recorder.sizes) <= (batch_size or 32) + 1
        assert sum(recorder.sizes) == max(samples, 2)


def test_as_many_batches_as_allowed_are_computed_at_once(leave_run, tiny, recorder, monkeypatch):
    run = leave_run()
    monkeypatch.setattr(folder_prediction, "_batches_at_once", lambda: 1)
    folder_prediction.predict(run, tiny, batch_size=2, progress=False)
    assert (len(recorder.sizes), recorder.most_running) == (12, 1)
    monkeypatch.setattr(folder_prediction, "_batches_at_once", lambda: 4)
    recorder.meeting = threading.Barrier(4)  # fails unless four are there together
    folder_prediction.predict(run, tiny, batch_size=2, progress=False)
    assert recorder.most_running == 4


@pytest.mark.parametrize("batch_size", [1, -3])
def test_batches_of_one_image_are_refused(leave_run, tiny, batch_size):
    with pytest.raises(HpaError, match=f"batch_size is {batch_size}"):
        folder_prediction.predict(leave_run(), tiny, batch_size=batch_size)


def test_a_damaged_image_is_named(leave_run, tiny, recorder):
    path = tiny.folder / "train" / "sample-07_green.png"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"spoilt" + content[106:])
    with pytest.raises(HpaError, match=r"sample-07_green\.png can't be decoded"):
        folder_prediction.predict(leave_run(), tiny, progress=False)


def test_table_and_summary(leave_run, tiny):
    images = dataset.load(tiny.folder, tiny.ids[3:])
    probability = np.full((3, 28), 0.1, np.float32)
    probability[0, [25, 0]] = 0.5, 0.75
    probability[1, 4] = 0.45
    run = leave_run(all_views=True)
    table = folder_prediction.table(run, images, probability, never_empty=False)
    assert table["Id"].tolist() == ["sample-00", "sample-01", "sample-02"]
    assert table["Predicted"].tolist() == ["0 25", "", ""]
    assert table["labels"].tolist() == ["Nucleoplasm;Cytosol", "", ""]
    assert table.columns[3:].tolist() == list(labels.CLASS_NAMES)
    np.testing.assert_array_equal(table[list(labels.CLASS_NAMES)], probability)
    summary = folder_prediction.summary(run, images, table)
    assert (summary["samples"], summary["without_label"], summary["all_views"]) == (3, 2, True)
    assert summary["thresholds"]["Endoplasmic reticulum"] == 0.2
    given = {name: count for name, count in summary["labels"].items() if count}
    assert given == {"Nucleoplasm": 1, "Cytosol": 1}
    table = folder_prediction.table(run, images, probability)  # as the run: never empty
    assert table["Predicted"].tolist() == ["0 25", "4", "6"]
