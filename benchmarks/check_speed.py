"""Claim: ``hpa data check`` takes at most 1.2 times as long as decoding the same files.

Both sides run on the same files in the same process, in turns, with as many threads. Processor
time is shown beside wall time, since it hardly depends on what else the machine does. Files are
the real samples of the folder named, or of HPA_REAL_IMAGES, each turned four ways so that none
equals another; without a folder they are synthetic.

    python benchmarks/check_speed.py [folder]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpa_lib import checks, dataset, synthetic
from hpa_lib.images import CHANNELS, channel_file
from hpa_lib.labels import format_target

ROUNDS, SYNTHETIC_SAMPLES, KAGGLE_SAMPLES = 5, 240, 31_072


def write_turned(source: dataset.Dataset, folder: Path) -> None:
    """Write each sample of a dataset four times, turned by a quarter each time."""
    (folder / "train").mkdir()
    rows = []
    for row, (sample_id, indices) in enumerate(zip(source.ids, source.label_sets, strict=True)):
        sample = source.read_sample(row)
        for turns in range(4):
            name = f"{sample_id}-{turns}"
            rows.append(f"{name},{format_target(indices)}")
            for channel, pixels in zip(
                CHANNELS, np.moveaxis(np.rot90(sample, turns), 2, 0), strict=True
            ):
                path = channel_file(folder / "train", name, channel)
                Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    (folder / "train.csv").write_text("Id,Target\n" + "\n".join(rows) + "\n")


def decode(path: Path) -> tuple[int, ...]:
    """Read and decode one file and nothing else."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED).shape


def decode_all(paths: list[Path]) -> None:
    """Decode all files in threads."""
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(decode, paths):
            pass


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print the median times a sample, and the medians of the rounds' ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default=os.environ.get("HPA_REAL_IMAGES"))
    source = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if source:
            write_turned(dataset.load(Path(source)), folder)
        else:
            synthetic.write_dataset(folder, SYNTHETIC_SAMPLES, size=512)
        opened = dataset.load(folder)
        paths = [path for row in range(len(opened)) for path in opened.paths(row)]
        decode_all(paths)  # both sides then read from memory
        times = np.array(
            [
                (
                    seconds_of(lambda: decode_all(paths)),
                    seconds_of(lambda: checks.check(folder, progress=False)),
                )
                for _ in range(ROUNDS)
            ]
        )
    samples = len(opened)
    kind = "real, turned" if source else "synthetic"
    print(f"{samples} samples of four 512×512 PNGs ({kind}), {os.cpu_count()} cores")
    print(f"{'':<14} {'wall, ms a sample':>18} {'processor, ms':>14} {'wall, s for 31,072':>19}")
    medians = np.median(times, axis=0) / samples
    for label, (wall, processor) in zip(("bare decode", "check"), medians, strict=True):
        print(
            f"{label:<14} {1000 * wall:>18.2f} {1000 * processor:>14.2f} "
            f"{wall * KAGGLE_SAMPLES:>19.0f}"
        )
    wall, processor = np.median(times[:, 1] / times[:, 0], axis=0)
    print(f"{'check/bare':<14} {wall:>18.2f} {processor:>14.2f}")


if __name__ == "__main__":
    main()
