"""Marks of image files, read anew only where a file has changed.

To open the 124,288 files of the Kaggle set takes seconds whenever a notebook starts. Their marks
are kept in the data folder, and a file whose status is what it was isn't opened: its size, its
number on the disk, and the times of the last change of content and of status, the latter of which
no program can set. Times within `_SETTLING` of the reading count for nothing, since a second
change within one tick of a file system's clock wouldn't show.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from hpa_lib import files, image_files, paths
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS

NAME_PART = "file-marks"

_FILES_A_TASK = 512
_SETTLING = 3_000_000_000
"""Nanoseconds; some file systems keep times to two seconds."""

_Part = TypeVar("_Part")


def read(folder: Path, patterns: Sequence[str]) -> list[bytes]:
    """`image_files.Trace.mark` of the files of all samples, those of a sample one by one.

    Args:
        folder: The data folder.
        patterns: Files of each sample; see `layouts.SampleFiles.pattern`.

    Raises:
        HpaError: If a file is refused by `image_files.inspect`.
    """
    names = [f"{folder}/{one.replace('*', channel)}" for one in patterns for channel in CHANNELS]
    kept = kept_marks(files.digest_bytes("\n".join(names).encode()))
    now, status = time.time_ns(), np.concatenate([*_in_tasks(_status, names), _NO_STATUS])
    marks, known = _load(kept, status)
    changed = np.flatnonzero(~known).tolist()
    fresh = _in_tasks(_inspect, [names[number] for number in changed])
    for number, mark in zip(changed, (mark for part in fresh for mark in part), strict=True):
        marks[number] = mark
    if changed:
        settled = status[:, _TIMES].max(axis=1) < now - _SETTLING
        _save(kept, np.where(settled[:, None], status, -1), marks)
    return marks


def kept_marks(dataset: str) -> Path:
    """Where the marks of files are kept whose names have a certain digest."""
    code = files.digest_bytes(*(Path(module).read_bytes() for module in _CODE))
    return paths.data_folder() / "cache" / f"{dataset[:16]}-{NAME_PART}-{code[:8]}.npz"


_CODE = (__file__, image_files.__file__)
_TIMES = slice(2, 4)
_NO_STATUS = np.empty((0, 4), np.int64)


def _status(names: Sequence[str]) -> np.ndarray:
    """Size, number, and both times of files; -1 where a file can't be looked at."""
    found = np.full((len(names), 4), -1, np.int64)
    for row, name in enumerate(names):
        try:
            status = os.stat(name)  # noqa: PTH116 — half as fast by a Path
        except OSError:  # named by `image_files.inspect`
            continue
        found[row] = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    return found


def _inspect(names: Sequence[str]) -> list[bytes]:
    return [image_files.inspect(name).mark for name in names]


def _in_tasks(work: Callable[[Sequence[str]], _Part], names: Sequence[str]) -> list[_Part]:
    """Work on parts of the names at once: network drives answer faster that way."""
    starts = range(0, len(names), _FILES_A_TASK)
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda start: work(names[start : start + _FILES_A_TASK]), starts))


def _load(kept: Path, status: np.ndarray) -> tuple[list[bytes], np.ndarray]:
    """Marks that are kept, and which of them belong to the present files."""
    try:
        with np.load(kept, allow_pickle=False) as stored:
            before, ends, content = stored["status"], stored["ends"].tolist(), stored["marks"]
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):  # none yet, or damaged
        return [b""] * len(status), np.zeros(len(status), bool)
    text = content.tobytes()
    marks = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return marks, (before == status).all(axis=1) & (status >= 0).all(axis=1)


def _save(kept: Path, status: np.ndarray, marks: list[bytes]) -> None:
    arrays: dict[str, Any] = {
        "status": status,
        "ends": np.cumsum([len(mark) for mark in marks]),
        "marks": np.frombuffer(b"".join(marks), np.uint8),
    }
    try:
        with files.replacing(kept) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    except (OSError, HpaError):  # the folder can't be written, which whatever needs it will say
        return
