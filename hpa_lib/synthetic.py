"""Write the embedded synthetic dataset in the layout of the Kaggle competition.

The dataset makes every part of the project run offline. `hpa_lib.synthetic_labels` draws the
labels, `hpa_lib.synthetic_images` the images.
"""

import hashlib
import multiprocessing
import os
import uuid
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from hpa_lib.errors import HpaError
from hpa_lib.files import read_json, write_json, write_text
from hpa_lib.images import CHANNELS, channel_file
from hpa_lib.labels import format_target
from hpa_lib.synthetic_images import SMALLEST_SIZE, draw_sample
from hpa_lib.synthetic_labels import draw_label_sets

__all__ = ["GENERATOR_VERSION", "draw_label_sets", "draw_sample", "sample_id", "write_dataset"]

GENERATOR_VERSION = 1
"""Raised whenever the same settings give other images."""

_SETTINGS = "synthetic.json"
_LOCK = ".synthetic.lock"
_PNG_OPTIONS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
]
"""Noisy images hold few repeats: Huffman coding alone is twice as fast and no larger."""

_BATCH = 8
"""Samples that a worker draws before it reports."""


def sample_id(seed: int, index: int) -> str:
    """Identifier of a sample in the form of the Kaggle identifiers (a UUID)."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def write_dataset(
    folder: Path,
    samples: int,
    seed: int = 0,
    *,
    size: int = 512,
    balance: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a synthetic dataset: ``train.csv`` and ``train/<Id>_<channel>.png``.

    ``train.csv`` is written last, so that an interrupted folder never looks finished; the
    next call goes on where the interrupted one stopped. A finished folder is left as it is.
    The files depend on the arguments alone, not on the number of processes.

    Args:
        folder: Where to write. It is created; if it exists it must be empty or written by
            this function with the same settings.
        samples: Number of samples, at least 1.
        seed: Seed, at least 0.
        size: Width and height of the images (pixels), at least 64.
        balance: Give all 28 classes the same frequency instead of the published ones.
        workers: Processes that draw; by default as many as this process may use.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        `folder`.

    Raises:
        HpaError: If an argument is out of range or the folder holds something else.
    """
    folder = Path(folder)
    if size < SMALLEST_SIZE:
        raise HpaError(f"size is {size}.", f"Choose {SMALLEST_SIZE} pixels or more.")
    if workers is not None and workers < 1:
        raise HpaError(f"workers is {workers}.", "Choose one process at least.")
    label_sets = draw_label_sets(samples, seed, balance)
    settings = {
        "samples": samples,
        "seed": seed,
        "size": size,
        "balance": balance,
        "generator_version": GENERATOR_VERSION,
    }
    if folder.exists() and not folder.is_dir():
        raise HpaError(f"{folder} is a file.", "Name a folder for the synthetic dataset.")
    table = folder / "train.csv"
    _refuse_foreign_content(folder, settings)
    if table.exists():
        return folder
    (folder / "train").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        _refuse_foreign_content(folder, settings)
        if table.exists():
            return folder
        write_json(folder / _SETTINGS, settings)
        _write_images(folder / "train", label_sets, seed, size, workers, progress)
        rows = sorted(
            f"{sample_id(seed, index)},{format_target(labels)}\n"
            for index, labels in enumerate(label_sets)
        )
        write_text(table, "Id,Target\n" + "".join(rows))
    return folder


def _refuse_foreign_content(folder: Path, settings: dict[str, object]) -> None:
    """Raise unless the folder is missing, empty, or was begun with the same settings."""
    path = folder / _SETTINGS
    if not path.exists():
        found = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        if found - {_LOCK, "train"} or any((folder / "train").glob("*")):
            raise HpaError(
                f"{folder} holds files that are no synthetic dataset.",
                "Name an empty or a new folder.",
            )
        return
    try:
        found = read_json(path)
    except ValueError:
        raise HpaError(f"{path} holds no JSON.", "Name another folder.") from None
    if found != settings:
        raise HpaError(
            f"{folder} holds a synthetic dataset with other settings: {found}, not {settings}.",
            "Name another folder, or remove this one.",
        )


def _write_images(
    folder: Path,
    label_sets: list[tuple[int, ...]],
    seed: int,
    size: int,
    workers: int | None,
    progress: bool,
) -> None:
    """Draw and write all samples that are not in the folder yet."""
    present = set(folder.glob("*.png"))
    missing = [
        index
        for index in range(len(label_sets))
        if not {channel_file(folder, sample_id(seed, index), channel) for channel in CHANNELS}
        <= present
    ]
    batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
    workers = min(workers or _usable_cores(), max(1, len(batches)))
    bar = tqdm(
        total=len(label_sets),
        initial=len(label_sets) - len(missing),
        desc="synthetic images",
        unit="sample",
        disable=None if progress else True,
    )
    with bar:
        if workers == 1:
            for batch in batches:
                bar.update(_write_batch(folder, batch, [label_sets[i] for i in batch], seed, size))
            return
        # Spawned workers: a forked copy of a process that runs TensorFlow may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            try:
                tasks = [
                    pool.submit(
                        _write_batch, folder, batch, [label_sets[i] for i in batch], seed, size
                    )
                    for batch in batches
                ]
                for task in as_completed(tasks):
                    bar.update(task.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _usable_cores() -> int:
    """Cores that this process may run on; Linux alone can tell them from all cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker() -> None:
    """Keep OpenCV to one thread: the workers share the cores already."""
    cv2.setNumThreads(1)


def _write_batch(
    folder: Path, indices: list[int], label_sets: list[tuple[int, ...]], seed: int, size: int
) -> int:
    """Draw and write some samples, and return how many."""
    for index, labels in zip(indices, label_sets, strict=True):
        sample = draw_sample(labels, seed, index, size)
        for channel, name in enumerate(CHANNELS):
            _write_png(channel_file(folder, sample_id(seed, index), name), sample[..., channel])
    return len(indices)


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write a greyscale PNG under a temporary name and rename it when it is whole.

    The temporary name is fixed, so that an interrupted run leaves nothing behind once it is
    resumed. Flushing each file to the disk, as `hpa_lib.files` does, would cost more than
    drawing it; ``train.csv`` is flushed.
    """
    written, data = cv2.imencode(".png", np.ascontiguousarray(image), _PNG_OPTIONS)
    if not written:
        raise HpaError(f"{path} cannot be encoded.", "Reinstall opencv-python.")
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(path)
