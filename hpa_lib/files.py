"""Write files so that a half-written one never looks finished; read and digest them."""

import errno
import hashlib
import json
import logging
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from hpa_lib import processes
from hpa_lib.errors import HpaError

log = logging.getLogger(__name__)

LARGEST_TEXT = 2**28
"""Tables, presets and other texts of more bytes are refused before they are read."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Surround whatever writes a file, since the system's own error doesn't name it.

    Raises:
        HpaError: If the disk is full or a quota used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise HpaError(
            f"{path} can't be written: its disk is full, or a quota is used up.",
            "Free some space there, then start the same again.",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The rename is atomic on one file system, and the data is on disk before it. When the block
    fails, the temporary file is removed and `path` is untouched.

    Raises:
        HpaError: As `naming_full_disk`.
    """
    path = Path(path)
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{host_digest()}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, waiting: str) -> Iterator[None]:
    """Keep other processes from the same work; the system lifts the lock after a kill.

    Args:
        lock: The file that is locked.
        waiting: What is logged where another process holds it.
    """
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        log.info("%s; waiting for it.", waiting)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def require_room(path: Path, size: int) -> None:
    """Refuse to fill a disk, where a library that writes a file can't cope with that.

    Args:
        path: The file, present and empty.
        size: What it is going to have at most, in bytes.

    Raises:
        OSError: If the disk is full or a quota used up by so much; macOS doesn't tell.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
            stream.truncate(0)


def remove_leftovers(*folders: Path) -> None:
    """Remove temporary files of `replacing` whose process was killed on this machine.

    Args:
        folders: Where to look, not below; one that is missing holds none.
    """
    for folder in folders:
        for path in folder.glob(f".{host_digest()}-*-*"):
            process = path.name.split("-")[1]
            if process.isdecimal() and not processes.is_alive(int(process)):
                path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, all or nothing.

    Raises:
        ValueError: If `value` holds NaN or an infinity, which JSON can't express.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes.

    Raises:
        ValueError: As `write_json`.
    """
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def open_bytes(path: Path | str) -> BinaryIO:
    """Open a file to read its bytes, unbuffered.

    Raises:
        OSError: If it can't be opened, or is a folder, a pipe or a device; a pipe without a
            writer isn't waited for.
    """
    try:
        stream = open(path, "rb", 0, opener=_without_waiting)  # noqa: SIM115 — faster
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
    return stream


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text file; all its lines end with a line feed.

    Raises:
        OSError: As `open_bytes`, or if it has more than `LARGEST_TEXT` bytes.
        UnicodeDecodeError: If it isn't text in this encoding.
    """
    with open_bytes(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > LARGEST_TEXT:
            raise OSError(
                errno.EFBIG, f"it has {size:,} bytes; at most {LARGEST_TEXT:,} are read", str(path)
            )
        text = stream.read().decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8.

    Raises:
        OSError: As `read_text`.
        ValueError: If it isn't JSON, holds NaN or an infinity, or is nested too deeply.
    """
    try:
        return json.loads(read_text(path), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} isn't JSON")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def digest_bytes(*parts: bytes) -> str:
    """SHA-256 over several byte strings, each preceded by its length, as hexadecimal text."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def host_digest() -> str:
    """What files tell of the machine that wrote them: 12 hexadecimal digits, from its name."""
    return digest_bytes(socket.gethostname().encode())[:12]


def digest_json(value: Any) -> str:
    """SHA-256 of a value written as compact JSON with sorted keys."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
