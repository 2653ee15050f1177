"""Write the embedded synthetic dataset in the layout of the Kaggle competition.

The dataset makes every part of the project run offline. `hpa_lib.synthetic_labels` draws the
labels, `hpa_lib.synthetic_images` the images; `hpa_lib.synthetic_variants` adds the flaws of
real datasets where they are asked for.
"""

import hashlib
import multiprocessing
import os
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import cv2
import joblib
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from hpa_lib.errors import HpaError
from hpa_lib.files import (
    naming_full_disk,
    read_json,
    remove_leftovers,
    write_json,
    write_text,
)
from hpa_lib.images import CHANNELS, channel_file
from hpa_lib.labels import format_target
from hpa_lib.synthetic_cells import FIELD_MICROMETRES, check_micrometres
from hpa_lib.synthetic_damage import FILE_DAMAGE, PIXEL_DAMAGE
from hpa_lib.synthetic_images import SMALLEST_SIZE
from hpa_lib.synthetic_variants import Damage, Plan, PlannedSample, Variants, draw, plan

GENERATOR_VERSION = 2
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


def is_synthetic(folder: Path) -> bool:
    """Whether `write_dataset` wrote a data folder: then its labels are right by construction."""
    return (folder / _SETTINGS).is_file()


def write_dataset(
    folder: Path,
    samples: int,
    seed: int = 0,
    *,
    size: int = 512,
    micrometres: float = FIELD_MICROMETRES,
    balance: bool = False,
    variants: Variants | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a synthetic dataset: ``train.csv`` and ``train/<Id>_<channel>.png``.

    ``train.csv`` is written last, so that an interrupted folder never looks finished; the
    next call goes on where the interrupted one stopped. A finished folder is left as it is.
    The files depend on the arguments alone, not on the number of processes.

    `variants` adds files beside them:

    * ``test/``, ``sample_submission.csv`` with its Ids, as Kaggle gives them, and
      ``test_labels.csv`` with the labels, which Kaggle keeps to itself;
    * ``near_duplicates.csv``: Id, Id_of_other, and shift_x and shift_y in pixels; what lies at
      (x, y) in Id lies at (x + shift_x, y + shift_y) in Id_of_other;
    * ``corrupted.csv``: Id, channel and kind, one of `synthetic_damage.KINDS`.

    Args:
        folder: Where to write. It is created; if it exists it must be empty or written by
            this function with the same settings.
        samples: Number of training samples, at least 1.
        seed: Seed, at least 0.
        size: Width and height of the images (pixels), at least 64.
        micrometres: Width and height of what they show, 40 to 164; 164 as in the real images.
        balance: Give all 28 classes the same frequency instead of the published ones.
        variants: Test part, near-duplicates and corrupted files; by default none.
        workers: Processes that draw; by default as many as this process may use.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        `folder`.

    Raises:
        HpaError: If an argument is out of range or the folder holds something else.
    """
    folder, variants = Path(folder), variants or Variants()
    if size < SMALLEST_SIZE:
        raise HpaError(f"size is {size}.", f"Choose {SMALLEST_SIZE} pixels or more.")
    check_micrometres(micrometres)
    if workers is not None and workers < 1:
        raise HpaError(f"workers is {workers}.", "Choose one process at least.")
    planned = plan(samples, seed, size, balance, variants)
    settings = {
        "samples": samples,
        "seed": seed,
        "size": size,
        "micrometres": micrometres,
        "balance": balance,
        **asdict(variants),
        "generator_version": GENERATOR_VERSION,
    }
    if folder.exists() and not folder.is_dir():
        raise HpaError(f"{folder} is a file.", "Name a folder for the synthetic dataset.")
    table = folder / "train.csv"
    _refuse_foreign_content(folder, settings)
    if table.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        _refuse_foreign_content(folder, settings)
        if table.exists():
            return folder
        remove_leftovers(folder)
        write_json(folder / _SETTINGS, settings)
        _write_images(folder, planned.samples, seed, size, micrometres, workers, progress)
        for damage in planned.damage:
            _damage_file(folder, planned.samples[damage.index], damage, seed, size, micrometres)
        _write_tables(folder, planned, seed)
    return folder


def _write_tables(folder: Path, planned: Plan, seed: int) -> None:
    """Write the tables of what there is, ``train.csv`` last."""
    ids = [sample_id(seed, sample.index) for sample in planned.samples]
    targets: dict[str, list[str]] = {"train": [], "test": []}
    for name, sample in zip(ids, planned.samples, strict=True):
        targets[sample.part].append(f"{name},{format_target(sample.labels)}")
    if targets["test"]:
        unlabelled = [f"{name},0" for name in ids[len(targets["train"]) :]]
        _write_table(folder / "sample_submission.csv", "Id,Predicted", unlabelled)
        _write_table(folder / "test_labels.csv", "Id,Target", targets["test"])
    if planned.near_duplicates:
        pairs = [
            f"{ids[pair.index]},{ids[pair.other]},{pair.shift[0]},{pair.shift[1]}"
            for pair in planned.near_duplicates
        ]
        _write_table(folder / "near_duplicates.csv", "Id,Id_of_other,shift_x,shift_y", pairs)
    if planned.damage:
        damaged = [f"{ids[one.index]},{one.channel},{one.kind}" for one in planned.damage]
        _write_table(folder / "corrupted.csv", "Id,channel,kind", damaged)
    _write_table(folder / "train.csv", "Id,Target", targets["train"])


def _write_table(path: Path, header: str, rows: list[str]) -> None:
    """Write a CSV file, its rows sorted by Id as in Kaggle's tables."""
    write_text(path, "".join(f"{row}\n" for row in [header, *sorted(rows)]))


def _refuse_foreign_content(folder: Path, settings: dict[str, object]) -> None:
    """Raise unless the folder is missing, empty, or was begun with the same settings."""
    path = folder / _SETTINGS
    if not path.exists():
        # Hidden files are the lock, and what a killed call had not yet renamed.
        found = {entry.name for entry in folder.glob("[!.]*")}
        if found - {"train"} or any((folder / "train").glob("*")):
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


def _image_file(folder: Path, sample: PlannedSample, channel: str, seed: int) -> Path:
    return channel_file(folder / sample.part, sample_id(seed, sample.index), channel)


def _write_images(
    folder: Path,
    samples: tuple[PlannedSample, ...],
    seed: int,
    size: int,
    micrometres: float,
    workers: int | None,
    progress: bool,
) -> None:
    """Draw and write all samples that are not in the folder yet."""
    present = set(folder.glob("*/*.png"))
    for part in {sample.part for sample in samples}:
        (folder / part).mkdir(exist_ok=True)
    missing = [
        sample
        for sample in samples
        if not {_image_file(folder, sample, channel, seed) for channel in CHANNELS} <= present
    ]
    batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
    workers = min(workers or joblib.cpu_count(), max(1, len(batches)))
    bar = tqdm(
        total=len(samples),
        initial=len(samples) - len(missing),
        desc="synthetic images",
        unit="sample",
        disable=None if progress else True,
    )
    with bar:
        if workers == 1:
            for batch in batches:
                bar.update(_write_batch(folder, batch, seed, size, micrometres))
            return
        # Spawned workers: a forked copy of a process that runs TensorFlow may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            try:
                tasks = [
                    pool.submit(_write_batch, folder, batch, seed, size, micrometres)
                    for batch in batches
                ]
                for task in as_completed(tasks):
                    bar.update(task.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _start_worker() -> None:
    """Keep OpenCV to one thread: the workers share the cores already."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed; it would wait for work forever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _write_batch(
    folder: Path, samples: list[PlannedSample], seed: int, size: int, micrometres: float
) -> int:
    """Draw and write some samples, and return how many."""
    for sample in samples:
        image = draw(sample, seed, size, micrometres)
        for channel, name in enumerate(CHANNELS):
            path = _image_file(folder, sample, name, seed)
            _write_file(path, _encode_png(path, image[..., channel]))
    return len(samples)


def _damage_file(
    folder: Path,
    sample: PlannedSample,
    damage: Damage,
    seed: int,
    size: int,
    micrometres: float,
) -> None:
    """Replace one file of a sample by a damaged one, made from the sample as it is drawn.

    What the file holds already doesn't count: an interrupted call may have damaged it.
    """
    path = _image_file(folder, sample, damage.channel, seed)
    image = draw(sample, seed, size, micrometres)[..., CHANNELS.index(damage.channel)]
    if damage.kind in PIXEL_DAMAGE:
        content = _encode_png(path, PIXEL_DAMAGE[damage.kind](image))
    else:
        content = FILE_DAMAGE[damage.kind](_encode_png(path, image))
    if content is None:
        path.unlink(missing_ok=True)
    else:
        _write_file(path, content)


def _encode_png(path: Path, image: np.ndarray) -> bytes:
    written, data = cv2.imencode(".png", np.ascontiguousarray(image), _PNG_OPTIONS)
    if not written:
        raise HpaError(f"{path} cannot be encoded.", "Reinstall opencv-python.")
    return data.tobytes()


def _write_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it when it is whole.

    The temporary name is fixed, so that an interrupted run leaves nothing behind once it is
    resumed. Flushing each file to the disk, as `hpa_lib.files` does, would cost more than
    drawing it; ``train.csv`` is flushed.
    """
    temporary = path.with_suffix(".part")
    with naming_full_disk(path):
        temporary.write_bytes(content)
        temporary.replace(path)
