"""Decode a dataset once and keep it as a memory-mapped array.

A cache is a folder named after the dataset's fingerprint, the image parameters and the code
that decides the pixels. It holds ``images.npy``, and ``digests.bin`` with the SHA-256 of each
block of rows. Both are the same bytes however often the work was interrupted.

* A cache becomes visible under its name only when it is whole, by a rename. Processes that want
  the same one wait for each other.
* A block's digest is written after its pixels. The next attempt after an interruption keeps the
  blocks that match their digest, and decodes the others.
* In the end ``digests.bin`` gets the time at which ``images.npy`` last changed. Where the two
  differ, in either direction since clocks are set back too, all blocks are checked before the
  cache is used, and damaged ones are decoded again. Damage that leaves no trace in the file's
  times is found by ``hpa data prepare --verify``.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from hpa_lib import files, image_files, images, paths, png_unpacking, resizing
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError

log = logging.getLogger(__name__)


def open_cache(
    dataset: Dataset,
    size: int,
    composition: str,
    interpolation: str = "area",
    *,
    verify: bool = False,
    progress: bool = True,
) -> np.ndarray:
    """Open the decoded images of a dataset; decode them first if that hasn't been done.

    Args:
        dataset: The samples to decode.
        size: Height and width in pixels.
        composition: A key of `images.COMPOSITIONS`.
        interpolation: One of `resizing.INTERPOLATIONS`.
        verify: Compare all pixels with their digests even where nothing suggests damage.
        progress: Show a progress bar on a terminal or in a notebook.

    Returns:
        Read-only memory-mapped array of shape (samples, size, size, channels), dtype uint8,
        values 0–255.

    Raises:
        HpaError: If an image can't be decoded, the data folder can't be written, or the disk
            is full. What has been decoded until then is kept for the next attempt.
    """
    folder = cache_folder(dataset, size, composition, interpolation)
    shape = (len(dataset), size, size, images.COMPOSITIONS[composition].channels)
    ready = _BlockFile(folder, shape)
    if verify or not ready.looks_untouched():
        with paths.writing_data():
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = folder.with_name(folder.name + ".lock")
            with files.alone(lock, "Another process decodes the same images"):
                if verify or not ready.looks_untouched():
                    _build(dataset, composition, interpolation, folder, shape, progress)
    return ready.open()


def cache_folder(
    dataset: Dataset, size: int, composition: str, interpolation: str = "area"
) -> Path:
    """Where the cache of a dataset under these image parameters lies; see `open_cache`."""
    modules = (image_files, images, png_unpacking, resizing)
    code = files.digest_bytes(
        *(Path(module.__file__).read_bytes() for module in modules), cv2.__version__.encode()
    )
    name = f"{dataset.fingerprint[:16]}-{composition}-{interpolation}-{size}-{code[:8]}"
    return paths.data_folder() / "cache" / name


class _BlockFile:
    """Rows of pixels in ``images.npy``, in blocks whose SHA-256 stand in ``digests.bin``.

    Args:
        folder: Where the two files lie.
        shape: Shape of the whole array, rows first.
    """

    LARGEST_BLOCK = 2**24
    """Bytes; a block of several rows holds at most this many."""

    MOST_ROWS = 32
    """Rows of a block at most."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self._images = folder / "images.npy"
        self._digests = folder / "digests.bin"
        self._shape = shape
        self._row_bytes = int(np.prod(shape[1:]))
        self._block_rows = max(1, min(self.LARGEST_BLOCK // self._row_bytes, self.MOST_ROWS))
        self.blocks = range(-(-shape[0] // self._block_rows))

    def rows(self, block: int) -> range:
        """Row numbers of a block."""
        start = block * self._block_rows
        return range(start, min(start + self._block_rows, self._shape[0]))

    def bytes_of(self, blocks: Iterable[int]) -> int:
        """Bytes of the pixels of some blocks."""
        return sum(len(self.rows(block)) for block in blocks) * self._row_bytes

    def open(self) -> np.memmap:
        """All rows, read-only.

        Raises:
            OSError, ValueError: If the file is missing, too short, or holds something else.
        """
        array = np.load(self._images, mmap_mode="r", allow_pickle=False)
        if array.shape != self._shape or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise ValueError(f"{self._images} holds an array of shape {array.shape}")
        return array

    def looks_untouched(self) -> bool:
        """Whether both files are there, of the right size, and unchanged since `seal`."""
        try:
            self.open()
            digests = self._digests.stat()
            return (digests.st_size, digests.st_mtime_ns) == (self._digest_bytes, self._changed())
        except (OSError, ValueError):
            return False

    def create(self) -> None:
        """Make both files, without any block, unless they are there in the right size."""
        self._images.parent.mkdir(exist_ok=True)
        try:
            self.open()
        except (OSError, ValueError):
            self._digests.unlink(missing_ok=True)
            np.lib.format.open_memmap(self._images, "w+", np.uint8, self._shape)
        if not self._digests.exists() or self._digests.stat().st_size != self._digest_bytes:
            self._digests.write_bytes(bytes(self._digest_bytes))

    def written_blocks(self) -> list[int]:
        """Blocks that have a digest."""
        digests = self._read_digests()
        return [block for block in self.blocks if digests[block].any()]

    def matches(self, block: int) -> bool:
        """Whether the pixels of a block are those that were written."""
        rows = self.rows(block)
        found = hashlib.sha256(self.open()[rows.start : rows.stop]).digest()
        return found == self._read_digests()[block].tobytes()

    def write(self, block: int, pixels: np.ndarray) -> None:
        """Write the pixels of a block, then its digest."""
        with self._images.open("r+b") as stream:
            stream.seek(-self.bytes_of(range(block, len(self.blocks))), os.SEEK_END)
            stream.write(pixels)
        digest = hashlib.sha256(pixels).digest()
        with self._digests.open("r+b") as stream:
            stream.seek(block * len(digest))
            stream.write(digest)

    def flush(self) -> None:
        """Bring both files to the disk."""
        for path in (self._images, self._digests):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())

    def seal(self) -> None:
        """Bring both files to the disk and mark the pixels as checked."""
        self.flush()
        os.utime(self._digests, ns=(self._changed(), self._changed()))

    def _changed(self) -> int:
        """When the pixels, or the status of their file, last changed, in nanoseconds."""
        status = self._images.stat()
        return max(status.st_mtime_ns, status.st_ctime_ns)

    @property
    def _digest_bytes(self) -> int:
        return len(self.blocks) * hashlib.sha256().digest_size

    def _read_digests(self) -> np.ndarray:
        return np.fromfile(self._digests, np.uint8).reshape(len(self.blocks), -1)


def _build(
    dataset: Dataset,
    composition: str,
    interpolation: str,
    folder: Path,
    shape: tuple[int, ...],
    progress: bool,
) -> None:
    """Make, continue or mend a cache; its folder is out of sight meanwhile."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    was_ready = folder.is_dir()
    if was_ready:
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.rename(unfinished)
    stored = _BlockFile(unfinished, shape)
    stored.create()
    hidden = None if progress else True
    written = stored.written_blocks()
    with ThreadPoolExecutor() as pool:
        checks = pool.map(stored.matches, written)
        if written:
            checks = tqdm(checks, "Checking", len(written), unit="block", disable=hidden)
        sound = {block for block, matches in zip(written, checks, strict=True) if matches}
    missing = [block for block in stored.blocks if block not in sound]
    if was_ready and missing:
        log.warning(
            "The decoded images in %s are damaged: %d of %d blocks of rows don't match their "
            "digests. They are decoded again.",
            folder,
            len(missing),
            len(stored.blocks),
        )
    elif sound and missing:
        log.info("%d of %d blocks of rows are decoded already.", len(sound), len(stored.blocks))
    _refuse_full_disk(unfinished, stored.bytes_of(missing))

    def decode(block: int) -> int:
        rows = stored.rows(block)
        compose = images.Composer(shape[1], composition, interpolation)
        pixels = np.empty((len(rows), *shape[1:]), np.uint8)
        for row, picture in zip(rows, pixels, strict=True):
            compose(dataset.read_channels(row), out=picture)
        stored.write(block, pixels)
        return len(rows)

    done = shape[0] - sum(len(stored.rows(block)) for block in missing)
    bar = tqdm(desc="Decoding", initial=done, total=shape[0], unit="sample", disable=hidden)
    pool = ThreadPoolExecutor()
    try:
        for block in as_completed([pool.submit(decode, block) for block in missing]):
            bar.update(block.result())
            stored.flush()  # while others are being decoded, not all at the end
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    stored.seal()
    unfinished.rename(folder)


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise HpaError(
            f"Decoded images need {needed / 1e9:.1f} GB in {folder.parent}, and "
            f"{free / 1e9:.1f} GB are free.",
            "Free some space, name another place in HPA_DATA, or lower image_size.",
        )
