"""Claim: near-duplicates among 31,072 samples are found in under 3 minutes; and what is found.

First part: recall and false pairs. Samples of the synthetic dataset, or of the folder that
HPA_REAL_IMAGES names, are changed as a near-duplicate would be; the change is found where the
hashes of both differ in at most `near_duplicates.LARGEST_DISTANCE` bits. Unrelated samples are
all compared, to count false pairs.

Second part: time of hashing 31,072 pictures of 75×75 pixels in a memory-mapped cache, of finding
the pairs among them, and of comparing all with all for the same answer.

    python benchmarks/near_duplicates.py
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from hpa_lib import dataset, embedded, near_duplicates

SAMPLES, FULL, SIZE = 100, 31_072, 75
COPIES = 500
ROWS_AT_ONCE = 64

Change = Callable[[np.ndarray], np.ndarray]


def exposed(gain: float) -> Change:
    """Brightness times a factor."""
    return lambda image: np.clip(np.rint(image * gain), 0, 255).astype(np.uint8)


def noisy(deviation: float) -> Change:
    """Normal noise in grey levels."""
    random = np.random.default_rng(0)
    return lambda image: exposed(1)(image + random.normal(0, deviation, image.shape))


def compressed(quality: int) -> Change:
    """Each channel as JPEG."""

    def change(image: np.ndarray) -> np.ndarray:
        channels = [cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                    for one in np.moveaxis(image, -1, 0)]  # fmt: skip
        return np.stack([cv2.imdecode(one, cv2.IMREAD_UNCHANGED) for one in channels], axis=-1)

    return change


def halved(image: np.ndarray) -> np.ndarray:
    """Half the width and height."""
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def two_crops(share: float) -> tuple[Change, Change]:
    """Two crops of one field that lie apart, right and down, by a share of their width."""

    def shift(image: np.ndarray) -> int:
        return round(len(image) * share / (1 + share))

    return (
        lambda image: image[: len(image) - shift(image), : len(image) - shift(image)],
        lambda image: image[shift(image) :, shift(image) :],
    )


def unchanged(image: np.ndarray) -> np.ndarray:
    """The image itself."""
    return image


CHANGES: dict[str, tuple[Change, Change]] = {
    "brightness × 0.5": (unchanged, exposed(0.5)),
    "brightness × 1.5, saturating": (unchanged, exposed(1.5)),
    "noise of 5 grey levels": (unchanged, noisy(5)),
    "noise of 20 grey levels": (unchanged, noisy(20)),
    "JPEG, quality 50": (unchanged, compressed(50)),
    "half the size": (unchanged, halved),
    "two crops 0.5 % apart": two_crops(0.005),
    "two crops 1 % apart": two_crops(0.01),
    "two crops 2 % apart": two_crops(0.02),
    "two crops 4 % apart": two_crops(0.04),
    "two crops 12.5 % apart": two_crops(0.125),
    "two crops 25 % apart": two_crops(0.25),
    "turned by 90°": (unchanged, np.rot90),
}


def hashes(images: list[np.ndarray], change: Change) -> np.ndarray:
    """Hashes of changed images."""
    size = near_duplicates.PICTURE_SIZE
    return near_duplicates.hashes(
        np.stack(
            [cv2.resize(change(one), (size, size), interpolation=cv2.INTER_AREA) for one in images]
        )
    )


def recall() -> None:
    """Print how many changed samples are found, and the distances of unrelated ones."""
    folder = os.environ.get("HPA_REAL_IMAGES")
    opened = dataset.load(Path(folder) if folder else embedded.write_embedded(SAMPLES, 256, 164))
    images = [opened.read_sample(row) for row in range(min(SAMPLES, len(opened)))]
    limit = near_duplicates.LARGEST_DISTANCE
    print(f"{len(images)} samples of {opened.name}; found: at most {limit} of 252 bits differ")
    print(f"{'change':<30} {'found':>6} {'median distance':>16} {'largest':>8}")
    for name, (first, second) in CHANGES.items():
        apart = near_duplicates.distances(hashes(images, first), hashes(images, second))
        found = (apart <= limit).mean()
        print(f"{name:<30} {found:>6.0%} {np.median(apart):>16.0f} {apart.max():>8}")
    whole = hashes(images, unchanged)
    apart = near_duplicates.distances(whole[:, None], whole)[np.triu_indices(len(whole), 1)]
    print(
        f"{len(apart):,} unrelated pairs: smallest distance {apart.min()}, "
        f"mean {apart.mean():.0f}, standard deviation {apart.std():.1f}; "
        f"false pairs {(apart <= limit).sum()}"
    )


def all_with_all(values: np.ndarray) -> int:
    """Number of near pairs, by comparing each with each."""
    found = 0
    for start in range(0, len(values), ROWS_AT_ONCE):
        block = values[start : start + ROWS_AT_ONCE]
        near = near_duplicates.distances(block[:, None], values) <= near_duplicates.LARGEST_DISTANCE
        found += int(near.sum())
    return (found - len(values)) // 2


def speed() -> None:
    """Print the times for the full number of samples."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        pictures = np.lib.format.open_memmap(
            Path(folder) / "images.npy", "w+", np.uint8, (FULL, SIZE, SIZE, 4)
        )
        for row in range(FULL):
            coarse = random.integers(0, 256, (12, 12, 4), dtype=np.uint8)
            pictures[row] = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        pictures[-COPIES:] = pictures[:COPIES] // 2
        started = time.perf_counter()
        values = near_duplicates.hashes(pictures)
        hashed = time.perf_counter()
        found = near_duplicates.matches(values)
        matched = time.perf_counter()
        expected = all_with_all(values)
        ended = time.perf_counter()
    print(f"\n{FULL:,} pictures of {SIZE}×{SIZE}×4, of which {COPIES} are darker copies")
    print(f"{'hashes':<34} {hashed - started:>7.1f} s")
    print(f"{'pairs by bands':<34} {matched - hashed:>7.1f} s {len(found):>7,} pairs")
    print(f"{'pairs by comparing all with all':<34} {ended - matched:>7.1f} s {expected:>7,} pairs")
    print(f"{'hashes and bands, of 180 s':<34} {matched - started:>7.1f} s")


if __name__ == "__main__":
    recall()
    speed()
