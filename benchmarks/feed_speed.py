"""Claim: the feed gives 200 times as many samples a second as the study's generator, on one core.

Both give augmented batches of the study's input at 299 pixels. The study's generator decodes
four PNGs a sample with Pillow, mixes and resizes in floating-point numbers, and augments with
imgaug; the feed reads the decoded cache. A third side copies the bytes of as many images through
memory: the feed reaches at least 60 % of that rate. Samples are those of HPA_REAL_IMAGES, or
else synthetic ones, repeated until they don't fit into the processor's caches. Rounds alternate
and the fastest of each side counts, since other work on the machine can only slow them down.
Times are CPU times of the whole process, which on one idle core are what the clock shows.

    python benchmarks/feed_speed.py
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from cache_build import repeated
from PIL import Image

SIZE, BATCH, SAMPLES, ROUNDS = 299, 32, 1500, 15
GENERATOR_LIMIT, COPY_LIMIT = 200, 0.6


def use_one_core() -> None:
    """Keep this process, and the threads that it starts from now on, to one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)


def study_batch(opened, rows: np.ndarray, augmenter, size: int = SIZE) -> np.ndarray:
    """One batch of the study's generator (cell 4), written anew.

    Returns:
        Array of shape (rows, size, size, 3), dtype float64, values 0–1.
    """
    batch = np.empty((len(rows), size, size, 3))
    for position, row in enumerate(rows):
        red, green, blue, yellow = (np.array(Image.open(path)) for path in opened.paths(row))
        mixed = np.stack((red / 2 + yellow / 2, green / 2 + yellow / 2, blue / 2), -1)
        batch[position] = augmenter.augment_image(cv2.resize(mixed, (size, size))) / 255
    return batch


def fastest(sides: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Milliseconds a sample of each side; a side returns how many samples it gave."""
    times = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            started = time.process_time()
            samples = work()
            times[name].append((time.process_time() - started) / samples * 1e3)
    return {name: min(taken) for name, taken in times.items()}


def main() -> None:
    """Print milliseconds a sample of each side and the two ratios."""
    use_one_core()  # before TensorFlow counts the cores
    from hpa_lib import augment, cache, dataset, embedded, feed

    folder = os.environ.get("HPA_REAL_IMAGES") or embedded.write_embedded(60, 512, 164)
    opened = repeated(dataset.load(Path(folder)), SAMPLES)
    with tempfile.TemporaryDirectory() as data:
        os.environ["HPA_DATA"] = data
        images = cache.open_cache(opened, SIZE, "composite", "bilinear")
        source = feed.open_source(opened, "cache", SIZE, "composite", "bilinear")
        training = feed.TrainingFeed(
            source, opened.multi_hot, np.arange(SAMPLES), batch_size=BATCH, policy="study"
        )
        batches = iter(training.dataset())
        order = training.epoch_rows(0)
        augmenter = augment.study_policy()
        copies = np.zeros(images.shape, images.dtype)

        def generator() -> int:
            study_batch(opened, order[0, :4], augmenter)
            return 4

        def feed_through_tensorflow() -> int:
            for _ in order:
                next(batches)
            return order.size

        def feed_alone() -> int:
            for step, rows in enumerate(order):
                training.batch(0, step, rows)
            return order.size

        def plain_copy() -> int:
            np.copyto(copies, images)
            return len(images)

        sides = {
            "the study's generator": generator,
            "feed, as TensorFlow gets it": feed_through_tensorflow,
            "feed, its batches alone": feed_alone,
            "plain copy of the bytes": plain_copy,
        }
        times = fastest(sides)
    generated, fed, _, copied = times.values()
    print(f"{SAMPLES} samples of {folder}, {SIZE} px, batches of {BATCH}, one core")
    print(f"{'':<28} {'ms a sample':>12} {'samples a second':>17}")
    for name, milliseconds in times.items():
        print(f"{name:<28} {milliseconds:>12.4f} {1e3 / milliseconds:>17,.0f}")
    print(f"feed / generator: {generated / fed:.0f} (≥ {GENERATOR_LIMIT})")
    print(f"feed / plain copy: {copied / fed:.2f} (≥ {COPY_LIMIT})")


if __name__ == "__main__":
    main()
