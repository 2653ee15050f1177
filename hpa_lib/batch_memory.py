"""Memory for batches that is used again as soon as nobody holds a batch any more.

Fresh memory has to be cleared by the system page by page, which takes longer than to fill it
with images.
"""

import mmap
import weakref
from collections import defaultdict

import numpy as np

_MOST_KEPT = 8
"""Batches of one size whose memory is kept."""

_free: defaultdict[int, list[mmap.mmap]] = defaultdict(list)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array with arbitrary content, as `numpy.empty` gives it.

    It begins at a page of memory, so that TensorFlow takes it over without copying it. Its
    memory is kept for the next array of the same size once the array and all views are gone.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    free = _free[size]
    try:
        memory = free.pop()
    except IndexError:
        memory = mmap.mmap(-1, size)
    array = np.frombuffer(memory, np.uint8)  # all views, TensorFlow's too, keep this one alive
    weakref.finalize(array, _give_back, free, memory).atexit = False
    return array.view(dtype).reshape(shape)


def _give_back(free: list[mmap.mmap], memory: mmap.mmap) -> None:
    if len(free) < _MOST_KEPT:
        free.append(memory)
