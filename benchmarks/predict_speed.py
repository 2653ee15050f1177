"""Claim: `hpa predict` predicts at 5 times the rate of the study's one-image loop at 75 pixels.

Both sides predict the same files with the same InceptionResNetV2, one view of each image. The
study's loop (cell 76) decodes four PNGs with Pillow, mixes, resizes, and calls ``model.predict``
with one image, TensorFlow as it comes; ours is `folder_prediction.predict` on all cores. Each has a
process of its own, rounds alternate, and the fastest of each side counts. The start is apart: the
network is built, reads its weights, and is traced. What the test set of the competition would take
has both. At 299 pixels the network itself takes most of the time, which no batch shortens; the
table shows what is left.

    python benchmarks/predict_speed.py [--sizes 75 299] [--rounds 2]

Samples are those of HPA_REAL_IMAGES, or else synthetic ones, repeated in memory.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from cache_build import repeated
from PIL import Image

from hpa_lib import dataset, embedded, labels, parameters, predictions, runs

LIMIT, LIMITED_SIZE, TEST_SET = 5, 75, 11_702
NOTEBOOK = "2_train_resnet"
IMAGES = {75: (80, 1200), 299: (30, 120)}
"""Images of a round for the study's loop and for ours, by size in pixels."""


def leave_run(size: int, opened: dataset.Dataset) -> str:
    """Name of a run of the study's network with random weights."""
    from hpa_lib import models, training
    from hpa_lib.backend import keras

    values = parameters.validate(
        NOTEBOOK,
        {
            "image_size": size, "composition": "composite", "interpolation": "bilinear",
            "intensity": "linear", "all_views": False,
        },
    )  # fmt: skip
    run = runs.Run(NOTEBOOK, values, "Benchmark", opened.description())
    run.write_table("history", pd.DataFrame({"epoch": [1]}))
    shown = predictions.table(opened, {"shown": [0]}, {"shown": np.full((1, 28), 0.5)})
    predictions.write(run.folder / predictions.FILE, shown)
    keras.utils.set_random_seed(0)
    network = models.configured(values, 3)
    training.save_weights(
        keras.Model(network.inputs, network.outputs), run.folder / runs.BEST_WEIGHTS
    )
    run.write_metrics(
        {
            "backbone": values.backbone, "never_empty": False,
            "thresholds": [0.5] * labels.CLASS_COUNT,
        }
    )  # fmt: skip
    run.finish()
    return run.name


class StudyLoop:
    """The study's loop, written anew; lives in a process of its own."""

    model = None

    @classmethod
    def predict(
        cls, run_name: str, opened: dataset.Dataset, size: int
    ) -> tuple[float, float, np.ndarray]:
        """Seconds to the end of the first image, seconds of all others, probabilities."""
        from hpa_lib import trained_runs

        started = time.perf_counter()
        if cls.model is None:
            cls.model = trained_runs.load(run_name, NOTEBOOK).network(3)
        found, first = [], 0.0
        for row in range(len(opened)):
            red, green, blue, yellow = (np.array(Image.open(path)) for path in opened.paths(row))
            mixed = np.stack((red / 2 + yellow / 2, green / 2 + yellow / 2, blue / 2), -1)
            image = cv2.resize(mixed, (size, size)).astype(np.float32)
            found.append(cls.model.predict(image[None], verbose=0)[0])
            first = first or time.perf_counter() - started
        return first, time.perf_counter() - started - first, np.stack(found)


class Ours:
    """`folder_prediction.predict`; lives in a process of its own."""

    prepared = False

    @classmethod
    def predict(cls, run_name: str, opened: dataset.Dataset) -> tuple[float, np.ndarray]:
        """Seconds, start included, and probabilities."""
        from hpa_lib import folder_prediction, trained_runs

        started = time.perf_counter()
        run = trained_runs.load(run_name, NOTEBOOK)
        if not cls.prepared:
            folder_prediction.prepare(run.values())
            cls.prepared = True
        found = folder_prediction.predict(run, opened, progress=False)
        return time.perf_counter() - started, found


def measure(opened: dataset.Dataset, size: int, rounds: int) -> tuple[pd.DataFrame, float]:
    """Index side; columns start (seconds), milliseconds an image; largest difference."""
    study_count, own_count = IMAGES[size]
    few, many = repeated(opened, study_count), repeated(opened, own_count)
    spawn, times = get_context("spawn"), []
    with ProcessPoolExecutor(1, spawn) as first:
        name = first.submit(leave_run, size, opened).result()
    with ProcessPoolExecutor(1, spawn) as study, ProcessPoolExecutor(1, spawn) as ours:
        for _ in range(rounds):
            begun, looped, wanted = study.submit(StudyLoop.predict, name, few, size).result()
            started, _ = ours.submit(Ours.predict, name, repeated(opened, 4)).result()
            whole, found = ours.submit(Ours.predict, name, many).result()
            times.append(
                [
                    begun, looped / (study_count - 1) * 1e3,
                    started, (whole - started) / (own_count - 4) * 1e3,
                ]
            )  # fmt: skip
    # Later rounds find the study's network built; ours is built in each.
    begun, looped, started, predicted = np.array([times[0][0], *np.min(times, axis=0)[1:]])
    columns = ["start, s", "ms an image"]
    table = pd.DataFrame([[begun, looped], [started, predicted]], ["study", "ours"], columns)
    return table, float(np.abs(found[:study_count] - wanted).max())


def main() -> None:
    """Print start, time an image, rate and ratio of both sides for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", choices=tuple(IMAGES), default=[75, 299])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    folder = os.environ.get("HPA_REAL_IMAGES") or embedded.write_embedded(60, 512, 164)
    opened = dataset.load(Path(folder))
    print(f"{len(opened)} samples of {folder}, InceptionResNetV2, {os.cpu_count()} cores")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as runs_folder:
            os.environ["HPA_RUNS"] = runs_folder
            table, difference = measure(opened, size, options.rounds)
        table["images a second"] = 1e3 / table["ms an image"]
        table["test set, min"] = (table["start, s"] + TEST_SET * table["ms an image"] / 1e3) / 60
        print(f"\n{size} px; probabilities differ by at most {difference:.1e} (8-bit rounding)")
        print(table.to_string(float_format="{:.1f}".format))
        limit = f" (≥ {LIMIT})" if size == LIMITED_SIZE else ""
        print(f"study / ours, an image: {np.divide(*table['ms an image']):.1f}{limit}")
        print(f"study / ours, the test set: {np.divide(*table['test set, min']):.1f}")


if __name__ == "__main__":
    main()
