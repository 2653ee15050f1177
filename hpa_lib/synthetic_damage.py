"""Damage image files in the ways that downloads, disks and microscopes do.

A kind of damage acts either on the pixels, before they are written, or on the bytes of the
finished file. `KINDS` names all of them, and what is wrong afterwards.
"""

from collections.abc import Callable

import cv2
import numpy as np

_ERROR_PAGE = b"<!DOCTYPE html><title>403 Forbidden</title><h1>Forbidden</h1>\n"


def _half_size(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _sixteen_bit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


def _constant(image: np.ndarray) -> np.ndarray:
    return np.zeros_like(image)


def _saturated(image: np.ndarray) -> np.ndarray:
    """Flood the camera with stray light that falls off towards the left border."""
    stray = np.linspace(200, 520, image.shape[1])
    return np.minimum(image + stray, 255).astype(np.uint8)


PIXEL_DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "wrong size": _half_size,
    "16 bit": _sixteen_bit,
    "constant": _constant,
    "saturated": _saturated,
}
"""Functions of a channel, shape (height, width), dtype uint8, that return what is written."""

FILE_DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "not an image": lambda content: _ERROR_PAGE,
    "missing": lambda content: None,
}
"""Functions of a file's content that return the damaged content, or None for no file."""

KINDS: dict[str, str] = {
    "truncated": "the second half of the file is missing",
    "empty": "the file has no byte",
    "not an image": "the file holds a server's error page",
    "missing": "the file isn't there",
    "wrong size": "half the width and height of the other channels",
    "16 bit": "16 bits a pixel instead of 8",
    "constant": "all pixels are 0",
    "saturated": "most pixels are 255",
}
"""All kinds of damage and what is wrong with the file."""
