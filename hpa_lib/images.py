"""Compose the channels of a sample into network input or a picture.

Channels are always in the order of `CHANNELS`. Arrays of single channels are uint8 with values
0–255; shapes are (height, width) or (height, width, channels).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hpa_lib.resizing import Resizer, bilinear

CHANNELS: tuple[str, ...] = ("red", "green", "blue", "yellow")
"""File name endings of the four channels."""

CHANNEL_MEANINGS: dict[str, str] = {
    "red": "microtubules",
    "green": "protein of interest",
    "blue": "nucleus",
    "yellow": "endoplasmic reticulum",
}


@dataclass(frozen=True)
class Composition:
    """A way to compose network input.

    Attributes:
        parts: For each channel of the input the positions in `CHANNELS` that are added.
        divisor: What the sums are divided by.
    """

    parts: tuple[tuple[int, ...], ...]
    divisor: int

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.parts)


COMPOSITIONS: dict[str, Composition] = {
    "composite": Composition(((0, 3), (1, 3), (2,)), divisor=2),
    "rgby": Composition(((0,), (1,), (2,), (3,)), divisor=1),
}
"""``composite``: the study's three channels; ``rgby``: all four as they are."""

_DISPLAY_COLOURS = np.array(
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=np.float32
)


def channel_file(folder: Path, sample_id: str, channel: str) -> Path:
    """Path of one channel of one sample in the Kaggle layout: ``<folder>/<Id>_<channel>.png``."""
    return folder / f"{sample_id}_{channel}.png"


def study_composite(sample: np.ndarray, size: int) -> np.ndarray:
    """Compose three channels exactly as the reference study does.

    Red is red/2 + yellow/2, green is green/2 + yellow/2, blue is blue/2; then bilinear
    resizing without anti-aliasing, then division by 255. The endoplasmic reticulum thereby
    enters the protein's channel, and blue never exceeds one half.

    Args:
        sample: Array of shape (height, width, 4), dtype uint8, as from
            `image_files.read_sample`.
        size: Height and width of the result in pixels.

    Returns:
        Array of shape (size, size, 3), dtype float64, values from 0 to 1.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 4.
    """
    sums = (
        sum(sample[..., part].astype(np.float64) for part in parts)
        for parts in COMPOSITIONS["composite"].parts
    )
    return np.stack([bilinear(total / 2, size) for total in sums], axis=-1) / 255


class Composer:
    """Turns the four channels of a sample into network input, one sample after the other.

    Threads need one each; see `resizing.Resizer`.

    Args:
        size: Height and width of the result in pixels.
        composition: A key of `COMPOSITIONS`.
        interpolation: One of `resizing.INTERPOLATIONS`. The composite with ``"bilinear"`` is
            `study_composite` rounded to eight bits.
    """

    def __init__(self, size: int, composition: str, interpolation: str) -> None:
        self._composition = COMPOSITIONS[composition]
        self._resizer = Resizer(size, interpolation)

    def __call__(self, channels: Sequence[np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
        """Compose one sample.

        Args:
            channels: Four arrays of shape (height, width), dtype uint8, in the order of
                `CHANNELS`.
            out: Where to write; by default a new array.

        Returns:
            Array of shape (size, size, 3 or 4), dtype uint8.
        """
        planes = [
            self._resizer([channels[part] for part in parts], self._composition.divisor)
            for parts in self._composition.parts
        ]
        return cv2.merge(planes, dst=out)


def compose(
    sample: np.ndarray, size: int, composition: str, interpolation: str = "area"
) -> np.ndarray:
    """Turn one sample, an array of shape (height, width, 4), into network input.

    See `Composer`, which is faster where there are many samples.
    """
    return Composer(size, composition, interpolation)(cv2.split(sample))


def input_to_display(image: np.ndarray) -> np.ndarray:
    """Turn network input (values 0–255, three or four channels) into a picture to look at.

    Three channels are shown as red, green and blue; four as by `to_display`.
    """
    if image.shape[-1] == len(CHANNELS):
        return to_display(image)
    return np.rint(image).astype(np.uint8)


def channel_statistics(samples: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Mean and standard deviation of each channel over all pixels of some samples.

    Args:
        samples: Arrays of shape (height, width, 4), dtype uint8; read one at a time.

    Returns:
        ``mean`` and ``standard deviation``, each of shape (4,), on a scale from 0 to 1.
    """
    pixels, total, squares = 0, np.zeros(len(CHANNELS)), np.zeros(len(CHANNELS))
    for sample in samples:
        values = sample.reshape(-1, len(CHANNELS)).astype(np.float64) / 255
        pixels += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return {"mean": mean, "standard deviation": deviation}


def to_display(sample: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """Overlay the four channels in their customary colours for looking at.

    Args:
        sample: Array of shape (height, width, 4), dtype uint8.
        gain: Factor on the brightness.

    Returns:
        Array of shape (height, width, 3), dtype uint8, red–green–blue. Sums above 255 are cut.
    """
    mixed = sample.astype(np.float32) @ _DISPLAY_COLOURS * gain
    return np.clip(mixed, 0, 255).astype(np.uint8)
