import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from hpa_lib import devices
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters


def test_prepare_names_the_devices_and_seeds():
    gpus = len(tf.config.list_physical_devices("GPU"))
    values = TrainParameters(deterministic=False, cpu_threads=0)
    assert devices.prepare(values) == (f"{gpus} × GPU" if gpus else "CPU")
    first = keras.layers.Dense(3)(np.ones((1, 4))).numpy()
    devices.prepare(values)
    np.testing.assert_array_equal(keras.layers.Dense(3)(np.ones((1, 4))).numpy(), first)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(HpaError, match="device is 'gpu', but TensorFlow sees none"):
        devices.prepare(TrainParameters(device="gpu", cpu_threads=0))
    assert devices.prepare(TrainParameters(device="cpu", cpu_threads=0)) == "CPU"


def test_a_trained_network_is_looked_at_on_the_first_gpu(monkeypatch):
    visible = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: visible.append(gpus))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: visible[-1])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grow: None)
    monkeypatch.setattr(devices.mixed_precision, "use", lambda precision: "float32")
    values = TrainParameters(deterministic=False, cpu_threads=0)
    assert devices.prepare(values, train=False) == "1 × GPU"
    assert visible == [["first"]]
    with pytest.raises(HpaError, match="batch_size is 15, which 2 GPUs can't share"):
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["first", "second"])
        devices.prepare(values.model_copy(update={"batch_size": 15}))
    assert visible == [["first"]]


@pytest.mark.parametrize(
    ("before", "wanted"),
    [("", "runs 1 at a time on 3 threads"), ("devices.tf.zeros(1)", "Restart the kernel")],
    ids=["first", "after other work"],
)
def test_prepare_sets_the_threads_before_tensorflow_computes(before, wanted):
    """Two at a time, two InceptionResNetV2 runs of one seed part after a few steps."""
    script = f"""
from hpa_lib import devices
from hpa_lib.errors import HpaError
from hpa_lib.parameters import VggParameters
{before}
values = VggParameters(cpu_threads=4, vgg_cpu_threads=3)
try:
    devices.prepare(values)
    devices.tf.zeros(1)
    devices.prepare(values)  # the notebook's cell is run again
    threading = devices.tf.config.threading
    at_a_time = threading.get_inter_op_parallelism_threads()
    threads = threading.get_intra_op_parallelism_threads()
    print("runs", at_a_time, "at a time on", threads, "threads")
except HpaError as error:
    print(error)
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert wanted in finished.stdout


TOGETHER = """
import sys
import numpy as np
import pandas as pd
import tensorflow as tf

options, count = eval(sys.argv[1]), int(sys.argv[2])
processor = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, parts)

from pathlib import Path
from hpa_lib import backbones, devices, feed, inference, models, training
from hpa_lib.backend import keras
from hpa_lib.parameters import TrainParameters


def backbone(*, weights, include_top, input_shape, name):
    inputs = keras.Input(input_shape)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(features), name=name)


class Images:
    shape, dtype = (12, 12, 3), np.dtype(np.uint8)
    pixels = np.random.default_rng(5).integers(0, 256, (20, 12, 12, 3)).astype(np.uint8)

    def __getitem__(self, rows):
        return self.pixels[rows]


devices.prepare(TrainParameters(cpu_threads=0))
keras.mixed_precision.set_global_policy(options.pop("policy", "float32"))
if count > 1:
    devices.train_on([f"CPU:{number}" for number in range(count)])
backbones.BACKBONES["Toy"] = backbones.Backbone(backbone, "symmetric")
truth = (np.random.default_rng(6).random((20, 28)) < 0.2).astype(np.uint8)
scaling = options.pop("input_scaling", "study")
model = models.build("Toy", 12, dropout=0.0, input_scaling=scaling)
changes = options.pop("feed", {"policy": "study"})
batches = feed.TrainingFeed(Images(), truth, np.arange(14), batch_size=4, **changes)
validation = training.Validation(Images(), truth[14:], np.arange(14, 20), 4)
folder = Path(sys.argv[3])
settings = training.Options(**options)
trainer = training.Trainer(
    model, batches, validation, inference.Predictor(model), folder, settings
)
trainer.run(
    training.Stage("stage 1", 2, 1e-3, 0.0),
    training.Stage("stage 2", 3, 1e-3, 0.1, "cosine", 1.0),
)
trainer.history.to_csv(folder / "history.csv")
trainer.restore("last")
np.savez(folder / "weights.npz", *model.get_weights())
"""


@pytest.mark.parametrize(
    "options",
    [
        {
            "gradient_clip": 0.05,
            "gradient_accumulation": 2,
            "weight_averaging": 0.9,
            "reestimation_batches": 2,
        },
        {"input_scaling": "backbone"},
        {"policy": "mixed_float16"},
        {"feed": {"policy": "strong", "augment_on": "device", "mixup": 0.5}},
    ],
    ids=str,
)
def test_two_devices_end_where_one_does(tmp_path, options):
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        command = [sys.executable, "-c", TOGETHER, str(options), str(count), str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(folder / "weights.npz") as weights:
            found.append((pd.read_csv(folder / "history.csv"), list(weights.values())))
    (one, weights), (two, same) = found
    half = "policy" in options
    pd.testing.assert_frame_equal(two, one, rtol=1e-2 if half else 1e-4)
    for wanted, got in zip(weights, same, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-2 if half else 2e-5)
