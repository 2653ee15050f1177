"""A training that is killed goes on after its last finished epoch."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from hpa_lib import training_state

EPOCHS = 12

SCRIPT = """
import json, sys, time
from pathlib import Path

import numpy as np

from hpa_lib import backbones, devices, feed, inference, models, training
from hpa_lib.backend import keras
from hpa_lib.parameters import TrainParameters

folder, pause = Path(sys.argv[1]), float(sys.argv[2])


def backbone(*, weights, include_top, input_shape, name):
    inputs = keras.Input(input_shape)
    signal = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(signal), name=name)


class Images:
    shape, dtype = (12, 12, 3), np.dtype(np.uint8)
    pixels = np.random.default_rng(5).integers(0, 256, (20, 12, 12, 3)).astype(np.uint8)

    def __getitem__(self, rows):
        return self.pixels[rows]


class SlowTrainer(training.Trainer):
    def _end_epoch(self, *arguments):
        super()._end_epoch(*arguments)
        time.sleep(pause)


backbones.BACKBONES["Toy"] = backbones.Backbone(backbone, "symmetric")
devices.prepare(TrainParameters(cpu_threads=0))
truth = (np.random.default_rng(6).random((20, 28)) < 0.2).astype(np.uint8)
model = models.build("Toy", 12)
options = json.loads(sys.argv[3])
changes = options.pop("feed", {"policy": "study"})
batches = feed.TrainingFeed(Images(), truth, np.arange(14), batch_size=4, **changes)
validation = training.Validation(Images(), truth[14:], np.arange(14, 20), 4)
settings = training.Options(**options)
trainer = SlowTrainer(model, batches, validation, inference.Predictor(model), folder, settings)
trainer.run(training.Stage("all", EPOCHS, 1e-2, 1.0, "cosine", 0.5))
trainer.restore("last")
trainer.history.to_csv(folder / "history.csv")
np.savez(folder / "weights.npz", *model.get_weights())
""".replace("EPOCHS", str(EPOCHS))


def start(folder, pause, options):
    folder.mkdir(exist_ok=True)
    arguments = [str(folder), str(pause), json.dumps(options)]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments])


@pytest.mark.parametrize(
    "options",
    [
        {"reestimation_batches": 2},
        {"weight_averaging": 0.9, "gradient_accumulation": 2, "gradient_clip": 0.1},
        {
            "feed": {"policy": "strong", "augment_on": "device", "mixup": 0.5},
            "reestimation_batches": 2,
        },
    ],
    ids=["statistics", "averages", "augmentation on the device"],
)
def test_killed_training_ends_with_the_bits_of_one_that_was_not(tmp_path, options):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(killed, 0.2, options)
    deadline = time.monotonic() + 120
    while len(training_state.read_history(killed / "state.npz")) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    left = len(training_state.read_history(killed / "state.npz"))
    assert 3 <= left < EPOCHS
    finishing = [start(folder, 0, options) for folder in (whole, killed)]
    assert [process.wait(timeout=240) for process in finishing] == [0, 0]
    assert (killed / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    with np.load(whole / "weights.npz") as wanted, np.load(killed / "weights.npz") as found:
        for name in wanted.files:
            np.testing.assert_array_equal(found[name], wanted[name])
