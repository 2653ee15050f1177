"""Unpack downloaded zip archives without trusting them.

All members of all archives are looked at before the first file is written. Files appear under
their names only when they are whole, and a file that is there already with the same content is
left alone, so that an interrupted unpacking goes on where it stopped.
"""

import lzma
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from hpa_lib import files, paths
from hpa_lib.errors import HpaError
from hpa_lib.image_files import FORMATS

MOST_BYTES = 100 * 2**30
"""Bytes to which all archives of one call may expand."""

LARGEST_RATIO = 200
"""A member of more than `SMALL_MEMBER` bytes may expand to this many times its packed size."""

SMALL_MEMBER = 2**26

_BLOCK = 2**20
_LONGEST_NAME = 255
# What the zip format's readers let through for bytes that are none, when a file is opened or read.
_DAMAGED = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    IndexError,
    ValueError,
    struct.error,
)
_UNPACKING = (zlib.error, lzma.LZMAError, RuntimeError)
_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1
_UNIX = 3


@dataclass(frozen=True)
class Unpacked:
    """What an unpacking did.

    Attributes:
        written: Files written.
        present: Files that were there already with the same content.
        nested: Archives that lay in the archives; they aren't unpacked in turn.
    """

    written: int
    present: int
    nested: tuple[Path, ...]


@dataclass(frozen=True)
class _Member:
    archive: Path
    info: zipfile.ZipInfo
    target: PurePosixPath


def unpack(
    archives: Sequence[Path], folder: Path, *, most_bytes: int = MOST_BYTES, progress: bool = True
) -> Unpacked:
    """Unpack zip archives into a folder.

    An archive that has images at its top level, as the competition's ``train.zip``, goes into
    a folder of its name, so that the result is in the Kaggle layout.

    Args:
        archives: Zip files.
        folder: Where to unpack to; it is created.
        most_bytes: Bytes to which the archives may expand together.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        HpaError: Before anything is written: if an archive can't be read; if a member has an
            absolute name or one that climbs out of the folder, is a link or a device, is
            encrypted, has the name of another but for case, or declares an enormous
            expansion; if all together exceed `most_bytes` or the free space. Later: if a
            member doesn't hold what it declares, or a file is there with another content.
    """
    folder = paths.expanded(folder).absolute()
    members = [member for archive in archives for member in _members(paths.expanded(archive))]
    _refuse_collisions(members)
    _refuse_expansion(members, folder, most_bytes)
    written = 0
    total = sum(member.info.file_size for member in members)
    bar = tqdm(
        total=total, desc="Unpacking", unit="B", unit_scale=True, disable=None if progress else True
    )
    with bar:
        for archive in dict.fromkeys(member.archive for member in members):
            with zipfile.ZipFile(archive) as opened:
                for member in members:
                    if member.archive == archive:
                        written += _write(opened, member, folder)
                        bar.update(member.info.file_size)
    nested = tuple(folder / m.target for m in members if m.target.suffix.lower() == ".zip")
    return Unpacked(written, len(members) - written, nested)


def _members(archive: Path) -> list[_Member]:
    try:
        with files.open_bytes(archive) as stream, zipfile.ZipFile(stream) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
    except OSError as error:
        raise HpaError(
            f"Archive {archive} can't be opened ({error.strerror or error}).", "Check the path."
        ) from error
    except _DAMAGED as error:
        raise HpaError(
            f"Archive {archive} isn't a whole zip file ({error}).",
            "Download it again; a .7z archive is unpacked with 7-Zip.",
        ) from error
    for info in infos:
        _refuse_unsafe(archive, info)
    flat = any("/" not in i.filename and Path(i.filename).suffix in FORMATS for i in infos)
    base = PurePosixPath(archive.stem if flat else "")
    return [_Member(archive, info, base / info.filename) for info in infos]


def _refuse_unsafe(archive: Path, info: zipfile.ZipInfo) -> None:
    # ZipInfo replaces backslashes on Windows alone and cuts names at a zero byte.
    name = info.orig_filename
    parts = name.split("/")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    if name.startswith("/") or _DRIVE.match(name):
        reason = "has an absolute name"
    elif ".." in parts or "\\" in name:
        reason = "has a name that can climb out of the folder"
    elif "" in parts or "." in parts or any(ord(letter) < 32 for letter in name):
        reason = "has a name that isn't plain"
    elif any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts):
        reason = f"has a name with a part of more than {_LONGEST_NAME} bytes"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        reason = "is a link or a device"
    elif info.flag_bits & _ENCRYPTED:
        reason = "is encrypted"
    elif info.file_size > SMALL_MEMBER and info.file_size > LARGEST_RATIO * info.compress_size:
        reason = f"declares that {info.compress_size:,} bytes expand to {info.file_size:,}"
    else:
        return
    raise HpaError(
        f"Member {name!r} of archive {archive} {reason}.",
        "Nothing was unpacked. Download the archive again from its source.",
    )


def _refuse_collisions(members: list[_Member]) -> None:
    """Refuse names that a file system without case, or with one Unicode form, takes for one."""
    seen: dict[str, _Member] = {}
    for member in members:
        key = unicodedata.normalize("NFC", str(member.target)).casefold()
        first = seen.setdefault(key, member)
        if first is not member:
            raise HpaError(
                f"Members {first.info.filename!r} of {first.archive} and "
                f"{member.info.filename!r} of {member.archive} would be the same file.",
                "Nothing was unpacked. Unpack the archives into folders of their own.",
            )
    for key, member in seen.items():
        for parent in PurePosixPath(key).parents:
            if str(parent) in seen:
                raise HpaError(
                    f"Member {member.info.filename!r} of {member.archive} lies in a folder that "
                    "is a file as well.",
                    "Nothing was unpacked. Download the archive again from its source.",
                )


def _refuse_expansion(members: list[_Member], folder: Path, most_bytes: int) -> None:
    total = sum(member.info.file_size for member in members)
    if total > most_bytes:
        raise HpaError(
            f"The archives declare {total:,} bytes; the limit is {most_bytes:,}.",
            "Nothing was unpacked. Raise the limit (--limit) if you expect as much.",
        )
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    needed = sum(
        member.info.file_size for member in members if not (folder / member.target).exists()
    )
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise HpaError(
            f"The archives need {needed:,} bytes; {existing} has {free:,} free.",
            "Nothing was unpacked. Free some space or choose another folder.",
        )


def _write(opened: zipfile.ZipFile, member: _Member, folder: Path) -> bool:
    """Write one member; False if the file is there already with its size and CRC-32."""
    target = folder / member.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HpaError(
            f"Folder {target.parent} can't be made ({error.strerror}).",
            "Choose another folder.",
        ) from error
    if not target.parent.resolve().is_relative_to(folder.resolve()) or target.is_symlink():
        raise HpaError(
            f"{target} leads out of {folder} by a link.", "Remove the link or choose a new folder."
        )
    if target.exists():
        if _has_content(target, member.info):
            return False
        raise HpaError(
            f"{target} is there already and isn't what {member.archive} holds.",
            "Remove it, or unpack into another folder.",
        )
    # One fixed temporary name, so that an interruption leaves nothing behind once the work is
    # taken up. A flush to disk for each of 124,288 files would cost more than unpacking them;
    # the CRC-32 is compared when a file is met again.
    temporary = target.with_name(f".{target.name}.part")
    try:
        with opened.open(member.info) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink, _BLOCK)
    except (*_DAMAGED, *_UNPACKING) as error:
        temporary.unlink(missing_ok=True)
        raise HpaError(
            f"Member {member.info.filename!r} of archive {member.archive} isn't what it declares "
            f"({error}).",
            "Download the archive again, and call the same command.",
        ) from error
    except OSError as error:
        raise HpaError(
            f"{temporary} can't be written ({error.strerror or error}).",
            "Mend that, and call the same command: it goes on where it stopped.",
        ) from error
    temporary.replace(target)
    return True


def _has_content(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC
