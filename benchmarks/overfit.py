"""Claim: the networks and the reading code fit real images.

Each network learns 32 real samples by heart, without augmentation; micro F1 on these same
samples, at a threshold of 0.5. This says nothing about other samples.

    python benchmarks/overfit.py [FOLDER]

FOLDER is a folder in the Kaggle layout, by default the one that HPA_REAL_IMAGES names.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from hpa_lib import dataset, devices, feed, inference, initialization, metrics, models, training
from hpa_lib.batch_normalization import Reestimator
from hpa_lib.dataset import Dataset
from hpa_lib.parameters import TrainParameters

SAMPLES, SIZE, TARGET = 32, 75, 0.98
LEARNING_RATES = {"InceptionResNetV2": 1e-3, "VGG16": 1e-4}
CHECK_EVERY = 20
MOST_STEPS = 400


def overfit(backbone: str, opened: Dataset) -> tuple[int, float]:
    """Train until the target or `MOST_STEPS` is reached; return the steps and the micro F1."""
    devices.prepare(TrainParameters(cpu_threads=0))
    source = feed.CachedImages(opened, SIZE, "rgby", "area")
    rows, truth = np.arange(SAMPLES), opened.multi_hot[:SAMPLES]
    images = source[rows]
    model = models.build(backbone, SIZE, source.shape[-1])
    initialization.fit_to_data(model, images, truth.mean(axis=0))
    stage = training.Stage("all", 1, LEARNING_RATES[backbone])
    training.compile_network(model, stage)
    reestimate, predict = Reestimator(model), inference.Predictor(model)
    reached = 0.0
    for step in range(1, MOST_STEPS + 1):
        model.train_on_batch(images, truth.astype(np.float32))
        if step % CHECK_EVERY == 0:
            reestimate([images])
            reached = metrics.summary(truth, predict(source, rows), 0.5)["micro_f1"]
            if reached >= TARGET:
                break
    return step, reached


def main() -> None:
    """Print steps and micro F1 of both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=os.environ.get("HPA_REAL_IMAGES"), help="images"
    )
    folder = parser.parse_args().folder
    if not folder:
        print("Left out: name a folder with real images, or set HPA_REAL_IMAGES.")
        return
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HPA_DATA"] = temporary
        opened = dataset.load(Path(folder))
        print(f"{'network':<18} {'samples':>8} {'steps':>6} {'micro F1':>9} {'wanted':>7}")
        for backbone in LEARNING_RATES:
            steps, reached = overfit(backbone, opened)
            print(f"{backbone:<18} {SAMPLES:>8} {steps:>6} {reached:>9.3f} {TARGET:>7}")


if __name__ == "__main__":
    main()
