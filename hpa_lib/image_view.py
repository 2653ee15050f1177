"""What of a sample is looked at, and how: place, magnification, brightness, colours.

Samples are arrays of shape (height, width, 4), dtype uint8, channels in the order of
`images.CHANNELS`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hpa_lib import images
from hpa_lib.images import CHANNELS

STRETCH_SHARES = (0.001, 0.999)
"""Shares of a channel's pixels that are darker than black and at most white when stretched."""


@dataclass(frozen=True)
class Region:
    """A rectangle of a sample, of the sample's proportions.

    Attributes:
        magnification: Sides of the sample over those of the rectangle; at least 1. None: the
            largest rectangle that can be shown without merging pixels.
        across: Where the rectangle lies in its free room, from 0 (left edge) to 1 (right edge).
        down: The same from 0 (upper edge) to 1 (lower edge).
    """

    magnification: float | None = 1.0
    across: float = 0.5
    down: float = 0.5

    def slices(self, height: int, width: int, size: int) -> tuple[slice, slice]:
        """Rows and columns of the rectangle.

        Args:
            height: Height of the sample in pixels.
            width: Its width.
            size: Largest height and width of what is shown, in pixels.
        """
        factor = self.magnification or max(1.0, max(height, width) / size)
        return _span(height, factor, self.down), _span(width, factor, self.across)


@dataclass(frozen=True)
class Tone:
    """How pixel values become brightness.

    A value is placed between the limits of its channel on a scale from 0 to 1, multiplied by the
    gain, cut at 1, and raised to the power `gamma`.

    Attributes:
        gains: Factor of each channel; 0 switches it off.
        gamma: Exponent; below 1 dark structures become brighter.
        limits: Values of each channel that become 0 and 1 before the gain; see `stretch_limits`.
    """

    gains: tuple[float, ...] = (1.0,) * len(CHANNELS)
    gamma: float = 1.0
    limits: tuple[tuple[float, float], ...] = ((0.0, 255.0),) * len(CHANNELS)

    def table(self) -> np.ndarray:
        """Brightness of each value in each channel, shape (256, 4), dtype uint8."""
        values = np.arange(256.0)[:, None]
        low, high = np.transpose(self.limits)
        share = np.clip((values - low) / (high - low), 0, 1)
        return np.rint(255 * np.clip(share * self.gains, 0, 1) ** self.gamma).astype(np.uint8)


def stretch_limits(sample: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Values of each channel that become black and white when its contrast is stretched.

    They are quantiles at `STRETCH_SHARES`; 0 and 255 for a channel that is nearly constant.
    """
    limits = []
    for channel in range(sample.shape[-1]):
        counts = cv2.calcHist([sample], [channel], None, [256], [0, 256]).ravel()
        low, high = np.searchsorted(np.cumsum(counts), np.multiply(STRETCH_SHARES, counts.sum()))
        limits.append((float(low), float(high)) if low < high else (0.0, 255.0))
    return tuple(limits)


def cut_out(sample: np.ndarray, region: Region, size: int) -> np.ndarray:
    """The pixels of a region, reduced to the mean of the area under each where they are too many.

    Args:
        sample: The sample.
        region: The part of it that is wanted.
        size: Largest height and width of the result in pixels.
    """
    pixels = sample[region.slices(*sample.shape[:2], size)]
    height, width = pixels.shape[:2]
    factor = max(height, width) / size
    if factor <= 1:
        return np.ascontiguousarray(pixels)
    reduced = max(1, round(width / factor)), max(1, round(height / factor))
    return cv2.resize(pixels, reduced, interpolation=cv2.INTER_AREA)


def colour(pixels: np.ndarray, tone: Tone, grey_channel: str | None = None) -> np.ndarray:
    """Turn pixels into a picture.

    Args:
        pixels: Array of shape (height, width, 4), as from `cut_out`.
        tone: Brightness of the channels.
        grey_channel: The one channel that is shown, in grey; None: the overlay of all in the
            colours of `images.to_display`.

    Returns:
        Array of shape (height, width, 3), dtype uint8, red–green–blue.
    """
    bright = cv2.LUT(pixels, tone.table()[:, None, :])
    if grey_channel is None:
        return images.to_display(bright)
    return np.repeat(bright[..., CHANNELS.index(grey_channel), None], 3, axis=-1)


def _span(length: int, factor: float, place: float) -> slice:
    shown = min(length, max(1, round(length / factor)))
    start = round(place * (length - shown))
    return slice(start, start + shown)
