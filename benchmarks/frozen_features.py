"""Claim: a frozen stage is faster if it keeps features, and its results are the same to the bit.

Each network trains its head for some epochs on a frozen backbone, once with features that are
kept for each view and once with features computed in every step. Without augmentation an image
has one view; with `dihedral` it has eight, of which E epochs meet 8 · (1 - (7/8)^E).

    python benchmarks/frozen_features.py [--epochs 8] [--samples 320] [--size 75]
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from hpa_lib import devices, feed, frozen_features, inference, models, training
from hpa_lib.parameters import TrainParameters

BATCH = 16


class Noise:
    """Images of random pixels."""

    dtype = np.dtype(np.uint8)

    def __init__(self, samples: int, size: int) -> None:
        self.shape = (size, size, 3)
        random = np.random.default_rng(0)
        self._pixels = random.integers(0, 256, (samples, *self.shape), self.dtype)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        return self._pixels[rows]


def train(
    backbone: str, policy: str, given: argparse.Namespace, keep: bool
) -> tuple[float, pd.DataFrame]:
    """Seconds of the stage, and its history."""
    device = devices.prepare(TrainParameters(cpu_threads=0))
    print(f"{backbone}, {policy}, {'kept' if keep else 'computed'}: {device}", flush=True)
    source = Noise(given.samples, given.size)
    truth = (np.random.default_rng(1).random((given.samples, 28)) < 0.06).astype(np.uint8)
    model = models.build(backbone, given.size, head="average", input_scaling="backbone")
    rows = np.split(np.arange(given.samples), [given.samples * 4 // 5])
    batches = feed.TrainingFeed(source, truth, rows[0], batch_size=BATCH, policy=policy)
    validation = training.Validation(source, truth[rows[1]], rows[1], BATCH)
    stage = training.Stage("stage 1", given.epochs, 1e-3, backbone_rate=0.0)
    with tempfile.TemporaryDirectory() as folder:
        predictor = inference.Predictor(model)
        trainer = training.Trainer(model, batches, validation, predictor, Path(folder))
        started = time.perf_counter()
        if keep:
            trainer.run(stage)
        else:
            with mock.patch.object(frozen_features, "keep", return_value=None):
                trainer.run(stage)
        return time.perf_counter() - started, trainer.history


def main() -> None:
    """Print one row a network and augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8, help="of the stage (%(default)s)")
    parser.add_argument("--samples", type=int, default=320, help="a fifth validates (%(default)s)")
    parser.add_argument("--size", type=int, default=75, help="pixels a side (%(default)s)")
    given = parser.parse_args()
    rows = []
    for backbone in ("InceptionResNetV2", "VGG16"):
        for policy in ("none", "dihedral"):
            kept, one = train(backbone, policy, given, keep=True)
            computed, other = train(backbone, policy, given, keep=False)
            rows.append(
                {
                    "network": backbone,
                    "augmentation": policy,
                    "kept, s": kept,
                    "computed, s": computed,
                    "times as fast": computed / kept,
                    "same bits": one.equals(other),
                }
            )
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
