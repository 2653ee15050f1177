"""Resize 8-bit channels to a square, with anti-aliasing or as the reference study does.

Both ways are defined by a formula in plain floating-point numbers, so that every machine gives
the same 8-bit values, whichever instructions OpenCV uses there.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_array

INTERPOLATIONS: tuple[str, ...] = ("area", "bilinear")
"""``area``: the mean of the area that a new pixel covers; ``bilinear``: the study's way, which
looks at the four nearest pixels only and skips the others."""


class Resizer:
    """Resizes sums of 8-bit images to one size, many images of one shape after the other.

    Keeps its working memory between calls, since fresh memory costs more than the arithmetic.
    Therefore threads need one each.

    Args:
        size: Height and width of the result in pixels.
        interpolation: One of `INTERPOLATIONS`. Images are enlarged bilinearly in any case.
    """

    def __init__(self, size: int, interpolation: str) -> None:
        self._size = size
        self._interpolation = interpolation
        self._working = np.empty((0, 0), np.uint8)
        self._resized = np.empty((size, size), np.uint16)

    def __call__(self, parts: Sequence[np.ndarray], divisor: int) -> np.ndarray:
        """Resize the sum of some images, divided by 1 or 2.

        Args:
            parts: One image, or two; shape (height, width), dtype uint8.
            divisor: At least the number of parts.

        Returns:
            Array of shape (size, size), dtype uint8. ``bilinear`` is exactly
            ``np.rint(bilinear(…) / divisor / 255 * 255)``.
        """
        if self._interpolation == "area" and self._size <= min(parts[0].shape):
            return self._area(parts, divisor)
        return self._bilinear(parts, divisor)

    def _area(self, parts: Sequence[np.ndarray], divisor: int) -> np.ndarray:
        total = self._sum(parts, np.float32)
        height, width = total.shape
        rows = _area_weights(height, self._size) @ total
        mean = _area_weights(width, self._size) @ cv2.transpose(rows)
        return cv2.convertScaleAbs(cv2.transpose(mean), alpha=1 / divisor)  # halves to even

    def _bilinear(self, parts: Sequence[np.ndarray], divisor: int) -> np.ndarray:
        """OpenCV in 16 bits first; pixels that it leaves in doubt by the formula."""
        total = self._sum(parts, np.uint16)
        scale = 256 // divisor
        np.multiply(total, scale, out=total)
        resized = cv2.resize(
            total, (self._size, self._size), dst=self._resized, interpolation=cv2.INTER_LINEAR
        )
        error = _largest_error(total.shape, self._size)
        # Values of n + ½ are 128 in the low byte; unsigned numbers wrap around below it.
        above_lowest = resized.astype(np.uint8) - np.uint8(128 - error)
        doubtful = np.flatnonzero(above_lowest <= 2 * error)
        rounded = ((resized + np.uint16(128)) >> 8).astype(np.uint8)
        if len(doubtful):
            exact = bilinear(total, self._size, doubtful) / (scale * divisor)
            rounded.reshape(-1)[doubtful] = np.rint(exact / 255 * 255)
        return rounded

    def _sum(self, parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
        shape = parts[0].shape
        if self._working.shape != shape or self._working.dtype != dtype:
            self._working = np.empty(shape, dtype)
        np.copyto(self._working, parts[0])
        for part in parts[1:]:
            self._working += part
        return self._working


def bilinear(image: np.ndarray, size: int, chosen: np.ndarray | None = None) -> np.ndarray:
    """Resize bilinearly, without anti-aliasing, in float64.

    Pixel centres lie at half-integers and borders are repeated, as in OpenCV and TensorFlow.

    Args:
        image: Array of shape (height, width).
        size: Height and width of the result in pixels.
        chosen: Flat positions of the result's pixels that are wanted; by default all.

    Returns:
        Array of shape (size, size), or of the shape of `chosen`, dtype float64. A chosen pixel
        has the same bits as in the whole result.
    """
    if chosen is None:
        rows, columns = np.arange(size)[:, None], np.arange(size)[None, :]
    else:
        rows, columns = np.divmod(chosen, size)
    height, width = image.shape
    above, down = (values[rows] for values in _pixel_before(height, size))
    left, across = (values[columns] for values in _pixel_before(width, size))
    to_below, to_right = (width if height > 1 else 0), (1 if width > 1 else 0)
    corner = above * width + left
    pixels = image.ravel()
    upper = _between(pixels[corner], pixels[corner + to_right], across)
    corner += to_below
    lower = _between(pixels[corner], pixels[corner + to_right], across)
    return _between(upper, lower, down)


def _between(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    start = first.astype(np.float64)
    return start + (second - start) * weight


@lru_cache(maxsize=64)
def _pixel_before(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The old pixel before each new pixel's centre, and the weight of the one after it."""
    position = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    before = np.minimum(np.floor(position).astype(np.intp), max(length - 2, 0))
    return before, position - before


@lru_cache(maxsize=64)
def _largest_error(shape: tuple[int, int], size: int) -> int:
    """Twice the largest error of OpenCV's 16-bit resizing, in 256ths of a grey value.

    Half of one is rounding. The rest depends on whose routines serve OpenCV on this machine,
    some of which keep positions in single precision; it is measured on an image of the highest
    contrast.
    """
    image = np.random.default_rng(0).integers(0, 2, shape, np.uint16) * np.uint16(255 << 8)
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return int(np.ceil(2 * np.abs(resized - bilinear(image, size)).max()))


@lru_cache(maxsize=64)
def _area_weights(length: int, size: int) -> csr_array:
    """Share of each old pixel in each new one: shape (size, length), rows sum to 1."""
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return csr_array((np.clip(overlap, 0, None) * (size / length)).astype(np.float32))
