"""Find and remove decoded caches, and what else is kept, that the present code doesn't use.

Their names end in a digest of the code that made them; see `cache.cache_folder`,
`near_duplicates.kept_pairs` and `file_marks.kept_marks`. What has such a name and another digest
is never opened again.
"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hpa_lib import cache, file_marks, near_duplicates, paths
from hpa_lib.dataset import Dataset

_NAME = re.compile(
    r"(?P<fingerprint>[0-9a-f]{16})-(?P<composition>\w+)-(?P<interpolation>\w+)"
    r"-(?P<size>\d+)-[0-9a-f]{8}(?P<pairs>-near-duplicates-[0-9a-f]{8}\.json)?"
)
_MARKS = re.compile(rf"(?P<dataset>[0-9a-f]{{16}})-{file_marks.NAME_PART}-[0-9a-f]{{8}}\.npz")
_CONTENT = {"images.npy", "digests.bin"}


@dataclass(frozen=True)
class Outdated:
    """A finished cache, or a kept file, of other code; its size in bytes."""

    path: Path
    size: int


def outdated() -> list[Outdated]:
    """What lies in the data folder and belongs to other code than the present, by name.

    Folders that hold anything but a finished cache, unfinished ones and links are passed over.
    """
    found = []
    for path in sorted((paths.data_folder() / "cache").glob("*")):
        marks = _MARKS.fullmatch(path.name)
        if marks and path.is_file() and file_marks.kept_marks(marks["dataset"]).name != path.name:
            found.append(Outdated(path, path.stat().st_size))
        match = _NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or _is_present(match):
            continue
        if match["pairs"] and path.is_file():
            found.append(Outdated(path, path.stat().st_size))
        elif not match["pairs"] and path.is_dir():
            content = list(path.iterdir())
            if {entry.name for entry in content} == _CONTENT:
                found.append(Outdated(path, sum(entry.stat().st_size for entry in content)))
    return found


def remove(entries: Iterable[Outdated]) -> tuple[list[Outdated], list[Outdated]]:
    """Remove what `outdated` found.

    Returns:
        What was removed, and what was left because a process is making or checking it.

    Raises:
        HpaError: If the data folder can't be written.
    """
    removed, locked = [], []
    for entry in entries:
        with paths.writing_data():
            if entry.path.suffix in (".json", ".npz"):
                entry.path.unlink(missing_ok=True)
                removed.append(entry)
                continue
            try:
                with FileLock(f"{entry.path}.lock", blocking=False):
                    shutil.rmtree(entry.path)
                removed.append(entry)
            except Timeout:
                locked.append(entry)
    return removed, locked


def _is_present(match: re.Match[str]) -> bool:
    """Whether the present code gives the same name to the same images."""
    same = Dataset("", Path(), (), (), match["fingerprint"])
    if match["pairs"]:
        return near_duplicates.kept_pairs(same).name == match.string
    folder = cache.cache_folder(
        same, int(match["size"]), match["composition"], match["interpolation"]
    )
    return folder.name == match.string
