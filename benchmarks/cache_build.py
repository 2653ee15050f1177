"""Claim: building a decoded cache runs at 0.9 or more of the rate of decoding alone.

Both sides decode the same files on all cores: OpenCV alone, its results thrown away, and the
cache, which also checks, composes, resizes, digests and writes. The samples of HPA_REAL_IMAGES
(or else synthetic ones) are repeated in memory, so that a round takes seconds. Rounds alternate;
the rate is that of the median round. On a busy machine the CPU time is the better guide.

    python benchmarks/cache_build.py
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2

from hpa_lib import cache, embedded
from hpa_lib.dataset import Dataset, load

LIMIT, ROUNDS, SAMPLES = 0.9, 3, 960
INPUTS = (
    (299, "composite", "bilinear"),
    (75, "rgby", "area"),
    (299, "rgby", "area"),
)
"""The study's input, that of the default preset, and the latter at the study's size."""


def repeated(dataset: Dataset, samples: int) -> Dataset:
    """The dataset, its samples repeated until there are so many."""
    rows = [row % len(dataset) for row in range(samples)]
    return replace(
        dataset,
        ids=tuple(f"{row}-{dataset.ids[source]}" for row, source in enumerate(rows)),
        label_sets=tuple(dataset.label_sets[row] for row in rows),
        patterns=tuple(dataset.patterns[row] for row in rows),
        sources=(),
        maxima=(),
        fingerprint=f"benchmark-{samples}",
    )


def decode_alone(dataset: Dataset) -> None:
    """Decode every file and keep nothing."""
    files = [str(path) for row in range(len(dataset)) for path in dataset.paths(row)]
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda file: cv2.imread(file, cv2.IMREAD_UNCHANGED) is None, files):
            pass


def build(dataset: Dataset, size: int, composition: str, interpolation: str) -> None:
    """Build a cache in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HPA_DATA"] = folder
        cache.open_cache(dataset, size, composition, interpolation, progress=False)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU time of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print milliseconds a sample of both sides, and the ratio of their rates."""
    folder = os.environ.get("HPA_REAL_IMAGES") or embedded.write_embedded(60, 512, 164)
    dataset = repeated(load(Path(folder)), SAMPLES)
    sides = {"OpenCV alone": lambda: decode_alone(dataset)}
    for values in INPUTS:
        name = " ".join(map(str, values))
        sides[name] = lambda values=values: build(dataset, *values)
    rounds = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            rounds[name].append(seconds(work))
    print(f"{SAMPLES} samples of {folder}, {os.cpu_count()} cores, {ROUNDS} rounds")
    print(f"{'':<24} {'wall, ms':>9} {'CPU, ms':>9} {'wall rate':>10} {'CPU rate':>9}   limit")
    alone = None
    for name, taken in rounds.items():
        times = [statistics.median(column) / SAMPLES * 1e3 for column in zip(*taken, strict=True)]
        alone = alone or times
        rates = [bare / own for bare, own in zip(alone, times, strict=True)]
        print(
            f"{name:<24} {times[0]:>9.2f} {times[1]:>9.2f} {rates[0]:>10.2f} {rates[1]:>9.2f}"
            f"   ≥ {LIMIT}"
        )


if __name__ == "__main__":
    main()
