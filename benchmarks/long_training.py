"""Claim: 2,000 epochs take no more memory than 200, and each hardly slows those after it.

A network of two convolutions is trained on the images of preset smoke by all that a notebook's
training does: cached and augmented batches, validation, averages of the weights, renewed batch
normalization, the state and history.csv after each epoch, and with --watched TensorBoard's logs
and the live view of JupyterLab, too. What is wanted:

- Resident memory grows by less than 20 MB after epoch 200. One batch of each epoch that stayed
  behind would take 240 MB.
- Open files and threads don't grow.
- Each epoch adds less than 30 µs of computing to each later one, since state and history.csv are
  written whole: 1 minute over all 2,000 epochs.

    python benchmarks/long_training.py [--watched] [--frozen] [--epochs 2000]
"""

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
from IPython.core.interactiveshell import InteractiveShell

from hpa_lib import (
    backbones,
    devices,
    feed,
    inference,
    models,
    near_duplicates,
    notebook,
    parameters,
    paths,
    runs,
    splits,
    training,
    training_state,
    watching,
)
from hpa_lib.backend import keras

NOTEBOOK = "3_train_vgg"
MARKS = (100, 200, 500, 1000, 1500, 2000)
BASE = 200
"""The epoch by which all that is made once has been made."""

SPAN = 50
"""Epochs that a time is the mean of."""

MOST_GROWTH, MOST_SLOWING = 20.0, 30.0  # MB; µs for each earlier epoch


class Meter(training.Watcher):
    """Notes at some epochs what the process holds, and how long an epoch has taken lately.

    Args:
        run: The run that is being written.
    """

    def __init__(self, run: runs.Run) -> None:
        self._folder = run.folder
        self._process = psutil.Process()
        self._ended: list[tuple[float, float]] = []
        self.rows: list[dict[str, float]] = []

    def epochs(self, history: pd.DataFrame) -> None:
        """Note the time, and at a mark all else."""
        self._ended.append((time.monotonic(), time.process_time()))
        if len(history) in MARKS:
            recent = self._ended[-SPAN - 1 :]
            passed, worked = (
                (last - first) / (len(recent) - 1) * 1e3
                for first, last in zip(recent[0], recent[-1], strict=True)
            )
            self.rows.append(
                {
                    "epoch": len(history),
                    "resident MB": self._process.memory_info().rss / 1e6,
                    "ms an epoch": passed,
                    "of it CPU": worked,
                    "open files": self._process.num_fds(),
                    "threads": self._process.num_threads(),
                    "state kB": (self._folder / runs.STATE).stat().st_size / 1e3,
                    "files of the run": sum(path.is_file() for path in self._folder.rglob("*")),
                }
            )


def small_backbone(
    *, weights: None, include_top: bool, input_shape: tuple[int, ...], name: str
) -> keras.Model:
    """Two convolutions and a batch normalization in place of a deep backbone."""
    inputs = keras.Input(input_shape)
    features = keras.layers.Conv2D(8, 5, strides=5, activation="relu")(inputs)
    features = keras.layers.BatchNormalization()(features)
    return keras.Model(inputs, keras.layers.Conv2D(8, 3, strides=3)(features), name=name)


def train(epochs: int, watched: bool, frozen: bool) -> tuple[list[dict[str, float]], runs.Run]:
    """Train as a notebook does; what the meter has noted, and the run."""
    values = parameters.validate(
        NOTEBOOK,
        parameters.read_preset(paths.PRESETS / "smoke.yaml")
        | {
            "stages": [{"epochs": epochs, "learning_rate": 1e-4, "backbone_rate": 1 - frozen}],
            "head": "average",
            "input_scaling": "backbone",  # else frozen features can't be kept
            "weight_averaging": 0.99,
            "tensorboard": watched,
        },
    )
    device = devices.prepare(values)
    dataset = notebook.open_dataset(values)
    run = notebook.open_run(NOTEBOOK, values, dataset, device=device)
    division = splits.split(dataset, values.split, values.seed, near_duplicates.find(dataset))
    source = feed.open_source(
        dataset, values.image_source, values.image_size, values.composition, values.interpolation
    )
    batches = feed.training_feed(source, dataset, division, values)
    backbones.BACKBONES["small"] = backbones.Backbone(small_backbone, "symmetric")
    model = models.build(
        "small",
        values.image_size,
        source.shape[-1],
        input_scaling=values.input_scaling,
        head=values.head,
    )
    meter, live = Meter(run), [watching.LiveView("small")] if watched else []
    trainer = training.Trainer(
        model,
        batches,
        training.open_validation(source, dataset, division, values),
        inference.Predictor(model),
        run.folder,
        training.options(values),
        [*watching.watchers(values, run), *live, meter],
    )
    trainer.run(*training.stages(values))
    trainer.restore("best")
    return meter.rows, run


def written(run: runs.Run) -> tuple[int, int]:
    """Epochs in the state and in history.csv."""
    table = pd.read_csv(run.folder / "history.csv")
    return len(training_state.read_history(run.folder / runs.STATE)), len(table)


def main() -> None:
    """Train, and print a table and how much has grown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    epochs = [mark for mark in MARKS if mark > BASE]
    parser.add_argument("--epochs", type=int, choices=epochs, default=epochs[-1])
    parser.add_argument("--watched", action="store_true", help="with live view and TensorBoard")
    parser.add_argument("--frozen", action="store_true", help="the backbone's features are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("HPA_DATA", "HPA_RUNS", "IPYTHONDIR"):
            os.environ[name] = str(Path(folder) / name)
        if given.watched:
            InteractiveShell.instance()  # takes the live view, as the shell of a kernel does
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            noted, run = train(given.epochs, given.watched, given.frozen)
        in_state, in_table = written(run)
    table = pd.DataFrame(noted).set_index("epoch")
    print(table.to_string(float_format="{:.1f}".format))
    grown = table.iloc[-1] - table.loc[BASE]
    print(f"{in_state} epochs in the state and {in_table} in history.csv (both {given.epochs})")
    print(f"memory since epoch {BASE}: {grown['resident MB']:+.1f} MB (≤ {MOST_GROWTH:.0f})")
    slowing = grown["of it CPU"] * 1e3 / (table.index[-1] - BASE)
    print(f"computing for each earlier epoch: {slowing:+.1f} µs (≤ {MOST_SLOWING:.0f})")
    print(f"open files {grown['open files']:+.0f}, threads {grown['threads']:+.0f} (both 0)")


if __name__ == "__main__":
    main()
