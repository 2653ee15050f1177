"""Claim: a training step fed by the decoded cache is at most 2 % slower than on a constant batch.

The same compiled network trains on the feed and on one batch that stays in memory. Rounds of
steps alternate, and the medians are compared. Random images serve, since their content changes
no time.

    python benchmarks/step_overhead.py [--network VGG16|InceptionResNetV2|small] [--size 75]
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from hpa_lib import backbones, feed, labels, models
from hpa_lib.backend import keras, tf

LIMIT, SAMPLES, BATCH = 0.02, 512, 32


class MappedImages:
    """Random images in a memory-mapped file, as the decoded cache holds them."""

    def __init__(self, folder: str, size: int) -> None:
        shape = (SAMPLES, size, size, 4)
        path = os.path.join(folder, "images.npy")  # noqa: PTH118
        np.save(path, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        self._array = np.asarray(np.load(path, mmap_mode="r"))
        self.shape, self.dtype = shape[1:], self._array.dtype

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        return self._array[rows]


def build(network: str, size: int) -> keras.Model:
    """One of the project's networks, or a small one of three convolutions."""
    if network != "small":
        return models.build(network, size, channels=4)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((size, size, 4)),
            layers.Rescaling(1 / 255),
            *(layers.Conv2D(filters, 3, 2, activation="relu") for filters in (32, 64, 128)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(labels.CLASS_COUNT, activation="sigmoid"),
        ]
    )


def seconds(
    model: keras.Model, batches: Iterator[tuple[tf.Tensor, tf.Tensor]], steps: int
) -> float:
    """Time of some training steps on the next batches, divided by their number."""
    started = time.perf_counter()
    for pictures, truth in itertools.islice(batches, steps):
        model.train_on_batch(pictures, truth)
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Print milliseconds a step of both sides, and the overhead of the feed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="VGG16", choices=("small", *backbones.BACKBONES))
    parser.add_argument("--size", type=int, default=75, help="pixels a side (%(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    options = parser.parse_args()
    model = build(options.network, options.size)
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    truth = np.random.default_rng(1).integers(0, 2, (SAMPLES, labels.CLASS_COUNT))
    with tempfile.TemporaryDirectory() as folder:
        training = feed.TrainingFeed(
            MappedImages(folder, options.size), truth, np.arange(SAMPLES),
            batch_size=BATCH, policy="study",
        )  # fmt: skip
        fed = iter(training.dataset())
        constant = itertools.repeat(next(fed))
        seconds(model, constant, 3)
        rounds = [
            [seconds(model, batches, options.steps) for batches in (constant, fed)]
            for _ in range(options.rounds)
        ]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    print(f"{options.network}, {options.size} px, batches of {BATCH}")
    for name, value in zip(("constant batch", "fed by the cache"), times, strict=True):
        print(f"{name:<18} {value * 1e3:>8.1f} ms a step")
    print(f"overhead: {times[1] / times[0] - 1:.1%} (≤ {LIMIT:.0%})")


if __name__ == "__main__":
    main()
