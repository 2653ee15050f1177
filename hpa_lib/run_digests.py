"""Digests of a finished run's files, by which a later change of one byte is noticed.

They stand in ``SHA256SUMS`` beside the files, in the form of coreutils: ``sha256sum --check
SHA256SUMS`` checks a run without this library. Runs of earlier versions have none and are taken
as they are.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpa_lib import files
from hpa_lib.errors import HpaError

FILE = "SHA256SUMS"


def write(folder: Path, unwritten: Mapping[str, str], passing: Iterable[str] = ()) -> None:
    """Record the digests of all files of a run.

    Args:
        folder: The run folder.
        unwritten: Texts by name of files that are written right after this.
        passing: Names of files that are removed after this, and left out.
    """
    present = {
        path.name: files.digest_file(path)
        for path in folder.glob("[!.]*")
        if path.is_file() and path.name not in (FILE, *unwritten, *passing)
    }
    later = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in unwritten.items()}
    _write(folder, present | later)


def add(path: Path) -> None:
    """Record the digest of a file that a finished run has got since; not in runs without any."""
    if (path.parent / FILE).is_file():
        _write(path.parent, _read(path.parent) | {path.name: files.digest_file(path)})


def changed(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Which files of a run, given by their names and digests, aren't as they were recorded."""
    recorded = _read(folder)
    return [name for name, digest in digests.items() if recorded.get(name, digest) != digest]


def checked(path: Path) -> Path:
    """A file of a run, which is refused where it isn't as it was recorded.

    A missing file is left to its reader.

    Raises:
        HpaError: Naming the file.
    """
    recorded = _read(path.parent).get(path.name)
    if recorded and path.is_file() and files.digest_file(path) != recorded:
        raise HpaError(
            f"{path} has changed since its run ended: its SHA-256 isn't the one in {FILE}.",
            "Restore the file from a copy, or remove the run folder and run the notebook again.",
        )
    return path


def _read(folder: Path) -> dict[str, str]:
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    pairs = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in pairs}


def _write(folder: Path, digests: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    files.write_text(folder / FILE, "".join(lines))
