"""Read the channels of a sample and compose them into network input or a picture.

Channels are always in the order of `CHANNELS`. Arrays of single channels are uint8 with values
0–255; shapes are (height, width) or (height, width, channels).
"""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from hpa_lib.errors import HpaError

CHANNELS: tuple[str, ...] = ("red", "green", "blue", "yellow")
"""File name endings of the four channels."""

CHANNEL_MEANINGS: dict[str, str] = {
    "red": "microtubules",
    "green": "protein of interest",
    "blue": "nucleus",
    "yellow": "endoplasmic reticulum",
}

COMPOSITIONS: dict[str, int] = {"composite": 3, "rgby": 4}
"""Ways to compose network input, with their number of channels."""

_DISPLAY_COLOURS = np.array(
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=np.float32
)


def channel_file(folder: Path, sample_id: str, channel: str) -> Path:
    """Path of one channel of one sample in the Kaggle layout: ``<folder>/<Id>_<channel>.png``."""
    return folder / f"{sample_id}_{channel}.png"


def read_channel(path: Path) -> np.ndarray:
    """Read one channel image.

    Args:
        path: An 8-bit greyscale image.

    Returns:
        Array of shape (height, width), dtype uint8.

    Raises:
        HpaError: If the file is missing, can't be decoded, or isn't 8-bit greyscale.
    """
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise HpaError(
            f"Image {path} can't be opened ({error.strerror}).", "Check that the file is there."
        ) from error
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if image is None:
        raise HpaError(
            f"Image {path} can't be decoded: it is empty, damaged or no image.",
            "Download or copy the file again.",
        )
    if image.dtype != np.uint8 or image.ndim != 2:
        raise HpaError(
            f"Image {path} has shape {image.shape} and type {image.dtype}.",
            "Channels must be 8-bit greyscale images.",
        )
    return image


def read_sample(folder: Path, sample_id: str) -> np.ndarray:
    """Read the four channels of one sample.

    Returns:
        Array of shape (height, width, 4), dtype uint8, in the order of `CHANNELS`.

    Raises:
        HpaError: As `read_channel`; also if the channels differ in size.
    """
    channels = [read_channel(channel_file(folder, sample_id, name)) for name in CHANNELS]
    shapes = {name: image.shape for name, image in zip(CHANNELS, channels, strict=True)}
    if len(set(shapes.values())) > 1:
        raise HpaError(
            f"The channels of sample {sample_id} in {folder} differ in size: {shapes}.",
            "All four channels of a sample must show the same field.",
        )
    return np.stack(channels, axis=-1)


def study_composite(sample: np.ndarray, size: int) -> np.ndarray:
    """Compose three channels exactly as the reference study does.

    Red is red/2 + yellow/2, green is green/2 + yellow/2, blue is blue/2; then bilinear
    resizing without anti-aliasing, then division by 255. The endoplasmic reticulum thereby
    enters the protein's channel, and blue never exceeds one half.

    Args:
        sample: Array of shape (height, width, 4), dtype uint8, as from `read_sample`.
        size: Height and width of the result in pixels.

    Returns:
        Array of shape (size, size, 3), dtype float64, values from 0 to 1.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 4.
    """
    red, green, blue, yellow = np.moveaxis(sample.astype(np.float64), -1, 0)
    mixed = np.stack((red / 2 + yellow / 2, green / 2 + yellow / 2, blue / 2), axis=-1)
    return cv2.resize(mixed, (size, size), interpolation=cv2.INTER_LINEAR) / 255


def resize_area(sample: np.ndarray, size: int) -> np.ndarray:
    """Resize with anti-aliasing: each pixel of a smaller result is the mean of its area.

    Args:
        sample: Array of shape (height, width, channels), dtype uint8.
        size: Height and width of the result in pixels.

    Returns:
        Array of shape (size, size, channels), dtype uint8.
    """
    smaller = size <= min(sample.shape[:2])
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(sample, (size, size), interpolation=interpolation)


def compose(sample: np.ndarray, size: int, composition: str) -> np.ndarray:
    """Turn the four channels of a sample into network input.

    Args:
        sample: Array of shape (height, width, 4), dtype uint8.
        size: Height and width of the result in pixels.
        composition: ``"composite"``, the study's three channels rounded to eight bits, or
            ``"rgby"``, the four channels resized with anti-aliasing.

    Returns:
        Array of shape (size, size, 3 or 4), dtype uint8.
    """
    if composition == "rgby":
        return resize_area(sample, size)
    return np.rint(study_composite(sample, size) * 255).astype(np.uint8)


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
