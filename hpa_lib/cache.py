"""Decode a dataset once and keep it as a memory-mapped array.

A cache is a folder named after the dataset's fingerprint, the image parameters and the code
that decides the pixels. It becomes visible under its name only when it is whole, by a rename;
two processes that want the same one wait for each other.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from hpa_lib import files, images, paths
from hpa_lib.dataset import Dataset


def cache_folder(dataset: Dataset, size: int, composition: str) -> Path:
    """Where the cache of a dataset under these image parameters lies."""
    code = files.digest_file(Path(images.__file__))
    name = f"{dataset.fingerprint[:16]}-{composition}-{size}-{code[:8]}"
    return paths.data_folder() / "cache" / name


def open_cache(
    dataset: Dataset, size: int, composition: str, *, progress: bool = True
) -> np.ndarray:
    """Open the decoded images of a dataset; decode them first if that hasn't been done.

    Args:
        dataset: The samples to decode.
        size: Height and width in pixels.
        composition: One of `images.COMPOSITIONS`.
        progress: Show a progress bar on a terminal or in a notebook.

    Returns:
        Read-only memory-mapped array of shape (samples, size, size, channels), dtype uint8,
        values 0–255.

    Raises:
        HpaError: If an image can't be decoded; nothing is left behind then.
    """
    folder = cache_folder(dataset, size, composition)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            _build(dataset, size, composition, folder, progress)
    return np.load(folder / "images.npy", mmap_mode="r")


def _build(dataset: Dataset, size: int, composition: str, folder: Path, progress: bool) -> None:
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        shape = (len(dataset), size, size, images.COMPOSITIONS[composition])
        array = np.lib.format.open_memmap(
            unfinished / "images.npy", mode="w+", dtype=np.uint8, shape=shape
        )

        def decode(row: int) -> None:
            sample = images.read_sample(dataset.image_folder, dataset.ids[row])
            array[row] = images.compose(sample, size, composition)

        with ThreadPoolExecutor() as pool:
            rows = pool.map(decode, range(len(dataset)))
            for _ in tqdm(rows, "Decoding", len(dataset), disable=None if progress else True):
                pass
        array.flush()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
