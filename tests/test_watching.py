import logging
import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from hpa_lib import (
    backbones,
    code_digest,
    devices,
    feed,
    inference,
    models,
    parameters,
    runs,
    training,
    watching,
)

SIZE = 12
STEPS = 3  # full batches of 4 in 14 rows
STAGES = (training.Stage("stage 1", 2, 1e-2), training.Stage("stage 2", 1, 1e-3))


def toy_backbone(*, weights, include_top, input_shape, name):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=4)(inputs), name=name)


@pytest.fixture
def train(array_source, monkeypatch, tmp_path):
    """Function that trains a toy network under the eyes of watchers."""
    toy = backbones.Backbone(toy_backbone, "symmetric")
    monkeypatch.setitem(backbones.BACKBONES, "Toy", toy)

    def train(watchers=(), folder=tmp_path, stages=STAGES, **options):
        devices.prepare(parameters.TrainParameters(cpu_threads=0))
        random = np.random.default_rng(5)
        source = array_source(random.integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8))
        truth = (random.random((20, 28)) < 0.2).astype(np.uint8)
        model = models.build("Toy", SIZE)
        batches = feed.TrainingFeed(source, truth, np.arange(14), batch_size=4, policy="study")
        validation = training.Validation(source, truth[14:], np.arange(14, 20), 4)
        predictor, settings = inference.Predictor(model), training.Options(**options)
        trainer = training.Trainer(
            model, batches, validation, predictor, folder, settings, watchers
        )
        trainer.run(*stages)
        return trainer.history

    return train


@pytest.fixture
def open_run(monkeypatch):
    """Function that opens the run of a training, and what watches it."""
    monkeypatch.setattr(code_digest, "of_notebook", lambda _: "c" * 64)

    def opened(**values):
        checked = parameters.validate("2_train_resnet", {"preset": "smoke", **values})
        run = runs.Run("2_train_resnet", checked, "Title")
        return run, watching.watchers(checked, run)

    return opened


class Recorder(training.Watcher):
    """Writes down what it is told; interrupts the training after some epoch."""

    def __init__(self, interrupt_after=None):
        self.told, self._interrupt_after = [], interrupt_after

    def steps(self, done, total):
        self.told.append((done, total))

    def epochs(self, history):
        self.told.append(f"{len(history)} epochs")
        if len(history) == self._interrupt_after:
            raise KeyboardInterrupt

    def end(self):
        self.told.append("end")


def test_watchers_are_told_of_each_step_and_epoch(train):
    recorder = Recorder()
    train([recorder])
    assert recorder.told == [
        (0, 9), (1, 9), (2, 9), (3, 9), "1 epochs", (4, 9), (5, 9), (6, 9), "2 epochs",
        (7, 9), (8, 9), (9, 9), "3 epochs", "end",
    ]  # fmt: skip


def test_a_training_that_goes_on_begins_with_the_epochs_that_are_done(train):
    first, second, third = Recorder(interrupt_after=2), Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        train([first])
    assert first.told[-2:] == ["2 epochs", "end"]
    train([second])
    assert second.told == [(6, 9), "2 epochs", (7, 9), (8, 9), (9, 9), "3 epochs", "end"]
    train([third])
    assert third.told == [(9, 9), "3 epochs", "end"]


def test_steps_that_early_stopping_saves_are_not_expected_any_more(train):
    recorder = Recorder()
    stages = [training.Stage("ruin", 30, 0.5), STAGES[1]]
    history = train([recorder], stages=stages, early_stopping=1)
    assert len(history) < 31
    steps = [told for told in recorder.told if isinstance(told, tuple)]
    assert steps[0] == (0, 31 * STEPS)
    assert steps[-1] == (len(history) * STEPS, len(history) * STEPS)


def test_the_history_is_on_disk_after_each_epoch(train, open_run):
    seen = []

    class Reader(training.Watcher):
        def epochs(self, history):
            stored = pd.read_csv(run.folder / "history.csv")
            pd.testing.assert_frame_equal(stored, history, rtol=1e-8)
            seen.append(len(stored))

    run, watchers = open_run()
    train([*watchers, Reader()], run.folder)
    assert seen == [1, 2, 3]

    # Killed after the last epoch and before the notebook's end: the state alone is kept.
    run.interrupt("")
    run, watchers = open_run()
    assert not (run.folder / "history.csv").exists()
    train([*watchers, Reader()], run.folder)
    assert seen == [1, 2, 3, 3]


def test_nothing_else_is_written_or_shown_where_nobody_asks_for_it(train, open_run, capsys):
    run, watchers = open_run()
    assert [type(watcher) for watcher in watchers] == [watching.HistoryFile]
    train(watchers, run.folder)
    assert {path.name for path in run.folder.iterdir()} == {
        "manifest.json", "params.yaml", "best.weights.h5", "state.npz", "history.csv",
    }  # fmt: skip
    assert capsys.readouterr() == ("", "")


def events(folder):
    """What all event files of a folder hold, by name: pairs of step and value."""
    found = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                pair = (event.step, tf.make_ndarray(value.tensor).item())
                found.setdefault(value.tag, []).append(pair)
    return found


def test_tensorboard_has_each_epoch_of_an_interrupted_training_once(train, open_run, caplog):
    caplog.set_level(logging.INFO, "hpa_lib")
    run, watchers = open_run(tensorboard=True)
    assert "tensorboard --logdir runs" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        train([*watchers, Recorder(interrupt_after=2)], run.folder)
    parts = {name: run.folder / "tensorboard" / name for name in ("training", "validation")}
    assert [step for step, _ in events(parts["training"])["loss"]] == [1, 2]

    # The cell is run again, in the same run; a new process would find the folder emptied.
    history = train(watching.watchers(run.parameters, run), run.folder)
    found = {name: events(folder) for name, folder in parts.items()}
    assert found["training"].pop("stage") == [
        (1, b"stage 1"), (2, b"stage 1"), (3, b"stage 2"),
    ]  # fmt: skip
    for name in history.columns.drop(["epoch", "stage"]):
        part = found["validation" if name.startswith("val_") else "training"]
        steps, values = zip(*part.pop(name.removeprefix("val_")), strict=True)
        assert steps == (1, 2, 3)
        np.testing.assert_allclose(values, history[name], rtol=1e-6)
    assert found == {"training": {}, "validation": {}}


@pytest.mark.parametrize("event", ["steps", "epochs", "end"])
def test_a_watcher_that_fails_is_left_out_and_the_training_goes_on(train, tmp_path, caplog, event):
    class Failing(Recorder):
        def fail(self, *arguments):
            self.told.append(event)
            raise OSError("disk full")

    failing = Failing()
    setattr(failing, event, failing.fail)
    recorder = Recorder()
    watched, alone = tmp_path / "watched", tmp_path / "alone"
    watched.mkdir()
    alone.mkdir()
    history = train([watching.Dispensable(failing), recorder], watched)
    assert history.equals(train((), alone))
    assert recorder.told[-2:] == ["3 epochs", "end"]
    assert failing.told.count(event) == 1
    assert failing.told[-1] == event
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "The training goes on without Failing, which has failed (OSError: disk full)."
    ]


LIVE = """
import types
import pandas as pd
from hpa_lib import watching

# The first step takes a minute, the others two seconds.
moments = iter([0.0, 60.0, 62.0, 62.1, 70.0])
watching.time = types.SimpleNamespace(monotonic=lambda: next(moments))
view = watching.LiveView("VGG16")
for done in (0, 1, 2, 3, 6):
    view.steps(done, 6)
names = ("loss", "binary_accuracy", "batch_averaged_f1")
row = {"stage": "stage 1"} | {name: 0.5 for name in names} | {f"val_{name}": 0.25 for name in names}
for epochs in (1, 2, 3):
    view.epochs(pd.DataFrame([{"epoch": epoch, **row} for epoch in range(1, epochs + 1)]))
view.end()
"""
BAR = re.compile(r'<progress [^>]*?(?:value="(\d+)" max="(\d+)")?></progress> (.*)')


def test_bar_and_curves_change_in_place_and_are_gone_in_the_end(execute):
    shown = [
        (message["msg_type"], message["content"]["transient"]["display_id"], message["content"])
        for message in execute(LIVE, cellId="training")
        if message["msg_type"].endswith("display_data")
    ]
    (first, bar, _), (second, curves, _) = shown[:2]
    assert (first, second) == ("display_data", "display_data")
    assert {kind for kind, _, _ in shown[2:]} == {"update_display_data"}
    bars = [content["data"] for _, display_id, content in shown if display_id == bar]
    assert bars.pop() == {}
    assert [BAR.fullmatch(each["text/html"]).groups() for each in bars] == [
        (None, None, "The first step takes the longest."),
        ("2", "6", "2 of 6 steps, about 00:08 left"),
        ("6", "6", "6 of 6 steps, about 00:00 left"),
    ]
    figures = [content for _, display_id, content in shown if display_id == curves]
    assert [set(each["data"]) for each in figures] == [
        set(), {"image/svg+xml", "text/plain"}, {"image/svg+xml", "text/plain"}, set(),
    ]  # fmt: skip
    assert figures[1]["data"] != figures[2]["data"]
    assert "VGG16: training loss from 0.500 to 0.500" in figures[2]["data"]["text/plain"]
