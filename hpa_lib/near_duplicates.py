"""Find samples that show nearly the same field, by perceptual hashes of all channels.

The hash of a channel says which of its 63 lowest spatial frequencies lie above their median. It
stays nearly the same when a field is exposed again, scaled, compressed, or moved by one or two
hundredths of its width, and has little in common with that of another field. It doesn't see
turned or mirrored fields, and of crops that overlap in part it sees no more than chance:
``benchmarks/near_duplicates.py`` measures both.

Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010),
section 3.2.1.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hpa_lib import cache, files, paths
from hpa_lib.dataset import Dataset

log = logging.getLogger(__name__)

PICTURE_SIZE = 32
"""Height and width, in pixels, of the pictures that hashes are made from."""

LARGEST_DISTANCE = 31
"""Hashes of four channels, 252 bits, that differ in at most so many bits are near-duplicates.

Unrelated fields differ in half of the bits: on 60 samples of the Kaggle training set in 90 to
162 of them, and the same fields with half the brightness, noise of 10 grey levels, or JPEG
compression of quality 50 in 2 to 5 on average. It is also the largest distance up to which
`matches` finds every pair.
"""

_FREQUENCIES = 8
_BAND_BITS = 16
_PICTURES_AT_ONCE = 1024
_CANDIDATES_AT_ONCE = 2**21


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of samples whose hashes nearly agree, the most alike first.

    Attributes:
        rows: Shape (pairs, 2), row numbers, the smaller one first.
        distances: Shape (pairs,), differing bits, from 0 to `LARGEST_DISTANCE`.
    """

    rows: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 over the pairs of rows, in ascending order."""
        return files.digest_json(sorted(self.rows.tolist()))

    def groups(self, samples: int) -> np.ndarray:
        """Samples that are linked by a chain of pairs get the same number.

        Args:
            samples: Number of samples of the dataset.

        Returns:
            Shape (samples,): the smallest row number of each sample's group.
        """
        first, second = self.rows.T
        group = np.arange(samples)
        while (group[first] != group[second]).any():
            smaller = np.minimum(group[first], group[second])
            np.minimum.at(group, first, smaller)
            np.minimum.at(group, second, smaller)
            group = group[group]
        return group

    def titles(self, dataset: Dataset) -> list[str]:
        """A title for each picture of the pairs in their order: Id and distance."""
        return [
            f"{dataset.ids[row][:13]}, distance {distance}"
            for pair, distance in zip(self.rows, self.distances, strict=True)
            for row in pair
        ]

    def sentence(self) -> str:
        """How many pairs and samples there are, in words."""
        if not len(self):
            return "No two samples are near-duplicates."
        pairs = "pair of samples is" if len(self) == 1 else "pairs of samples are"
        return (
            f"{len(self):,} {pairs} near-duplicates, {len(np.unique(self.rows)):,} samples in "
            f"all; their hashes differ in {self.distances.min()} to {self.distances.max()} of "
            "252 bits."
        )


def find(dataset: Dataset) -> NearDuplicates:
    """Find near-duplicates within a dataset; those found before are read from the data folder.

    The pictures come from a decoded cache of their own, of 32×32 pixels, so that the pairs
    don't depend on the size and composition of any network's input.

    Raises:
        HpaError: If an image can't be decoded, or the data folder can't be written.
    """
    path = kept_pairs(dataset)
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("%s is damaged (%s). The pairs are found again.", path, error)
    found = matches(hashes(open_pictures(dataset)))
    kept = {"rows": found.rows.tolist(), "distances": found.distances.tolist()}
    with paths.writing_data():
        files.write_json(path, kept | {"sha256": files.digest_json(kept)})
    return found


def _read(path: Path) -> NearDuplicates:
    kept = files.read_json(path)
    digest = kept.pop("sha256")
    if files.digest_json(kept) != digest:
        raise ValueError("its SHA-256 isn't the one that it holds")
    rows = np.array(kept["rows"], dtype=np.int64).reshape(-1, 2)
    return NearDuplicates(rows, np.array(kept["distances"], dtype=np.int64))


def kept_pairs(dataset: Dataset) -> Path:
    """Where `find` keeps the pairs of a dataset."""
    pictures = cache.cache_folder(dataset, PICTURE_SIZE, "rgby")
    code = files.digest_file(Path(__file__))
    return pictures.with_name(f"{pictures.name}-near-duplicates-{code[:8]}.json")


def open_pictures(dataset: Dataset, *, verify: bool = False) -> np.ndarray:
    """The small pictures that hashes are made from, decoded first if need be.

    Args:
        dataset: The samples.
        verify: See `cache.open_cache`.

    Returns:
        Shape (samples, `PICTURE_SIZE`, `PICTURE_SIZE`, 4), dtype uint8.
    """
    return cache.open_cache(dataset, PICTURE_SIZE, "rgby", verify=verify)


def hashes(pictures: np.ndarray) -> np.ndarray:
    """Hash each channel of each picture.

    A picture is reduced to 32×32 pixels, each the mean of its area, and transformed by the
    two-dimensional discrete cosine transform (type II). Of the lowest 8×8 frequencies the mean
    brightness is left out; a bit is set where the coefficient lies above their median. A factor
    on the brightness changes no bit as long as nothing saturates.

    Args:
        pictures: Shape (samples, size, size, channels), dtype uint8; may be memory-mapped.

    Returns:
        Shape (samples, channels), dtype uint64; the lowest bit of each is 0. A channel without
        any contrast has the hash 0.
    """
    samples, _, _, channels = pictures.shape
    frequency, position = np.arange(_FREQUENCIES)[:, None], np.arange(PICTURE_SIZE)
    cosines = np.cos(np.pi * frequency * (2 * position + 1) / (2 * PICTURE_SIZE))
    found = np.empty((samples, channels), dtype=np.uint64)
    for start in range(0, samples, _PICTURES_AT_ONCE):
        reduced = np.stack([_reduced(one) for one in pictures[start : start + _PICTURES_AT_ONCE]])
        planes = np.moveaxis(reduced, -1, 1).astype(np.float64)
        coefficients = (cosines @ planes @ cosines.T).reshape(-1, channels, _FREQUENCIES**2)
        varying = np.round(coefficients[..., 1:], 6)  # what is 0 but for rounding becomes 0
        bits = np.zeros(coefficients.shape, dtype=bool)
        bits[..., 1:] = varying > np.median(varying, axis=-1, keepdims=True)
        packed = np.packbits(bits, axis=-1, bitorder="little")
        found[start : start + _PICTURES_AT_ONCE] = packed.view("<u8")[..., 0]
    return found


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of bits in which hashes of shape (…, channels) differ, over all channels."""
    return np.bitwise_count(first ^ second).sum(axis=-1, dtype=np.int64)


def matches(hashed: np.ndarray) -> NearDuplicates:
    """Find all pairs of hashes that differ in at most `LARGEST_DISTANCE` bits.

    The hashes of four channels are cut into 16 bands of 16 bits. Two hashes that differ in at
    most 31 bits differ in at most one bit in one band at least, since 16 bands of two would
    make 32. So only pairs that agree in a band up to one bit are compared, which sorting each
    band finds; for that each band is looked up as it is and with each of its bits turned.

    Args:
        hashed: Shape (samples, 4), dtype uint64, as from `hashes`.

    Source: Norouzi, Punjani and Fleet, "Fast exact search in Hamming space with multi-index
    hashing" (2014).
    """
    turned = [np.uint16(0), *(np.uint16(1 << bit) for bit in range(_BAND_BITS))]
    found = [np.empty((0, 2), dtype=np.int64)]
    for band in _bands(hashed).T:
        order = np.argsort(band, kind="stable")
        for bits in turned:
            for rows in _equal(band ^ bits, band[order], order):
                kept = rows[rows[:, 0] < rows[:, 1]]
                near = distances(*hashed[kept.T]) <= LARGEST_DISTANCE
                found.append(kept[near])
    rows = np.unique(np.concatenate(found), axis=0)
    apart = distances(*hashed[rows.T])
    order = np.argsort(apart, kind="stable")
    return NearDuplicates(rows[order], apart[order])


def _reduced(picture: np.ndarray) -> np.ndarray:
    if picture.shape[0] == PICTURE_SIZE:
        return picture
    return cv2.resize(picture, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)


def _bands(values: np.ndarray) -> np.ndarray:
    """Cut hashes into bands, shape (samples, 4 × channels), dtype uint16."""
    return np.ascontiguousarray(values).view(np.uint16)


def _equal(wanted: np.ndarray, keys: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (row of `wanted`, `order` of an equal one among the sorted `keys`), some at a time."""
    start = np.searchsorted(keys, wanted, side="left")
    count = np.searchsorted(keys, wanted, side="right") - start
    total = np.cumsum(count)
    row = 0
    while row < len(wanted):
        done = total[row - 1] if row else 0
        end = max(row + 1, int(np.searchsorted(total, done + _CANDIDATES_AT_ONCE, side="right")))
        left = np.repeat(np.arange(row, end), count[row:end])
        before = total[row:end] - count[row:end] - done
        offset = np.arange(len(left)) - np.repeat(before, count[row:end])
        yield np.stack((left, order[start[left] + offset]), axis=1)
        row = end
