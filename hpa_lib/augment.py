"""Change training images in ways that leave their labels true.

* ``study``: one flip or quarter turn, chosen at random. Each image gets exactly one of five
  operations and is never left as it is.
* ``dihedral``: one of all eight combinations of flips and quarter turns, the image itself among
  them.
* ``strong``: ``dihedral``, then another place, size, brightness and contrast, noise, and a hidden
  square, within the bounds of `STRONG`. `strong_policy` does it here, on the processor;
  `device_augmentation` does the same where the network computes.

imgaug defines the operations; those that move pixels without interpolating OpenCV does alike,
at the speed of memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from hpa_lib import batch_memory
from hpa_lib.errors import HpaError
from hpa_lib.imgaug_shim import iaa

OPERATIONS: dict[str, iaa.Augmenter] = {
    "horizontal flip": iaa.Fliplr(1.0),
    "vertical flip": iaa.Flipud(1.0),
    "rotation by 180°": iaa.Affine(rotate=180),
    "rotation by 270°": iaa.Affine(rotate=270),
    "rotation by 90°": iaa.Affine(rotate=90),
}
"""The five operations of the study by name. imgaug's rotations run clockwise."""

POLICIES: tuple[str, ...] = ("none", "study", "dihedral", "strong")
"""Names of all policies."""


def _flip_horizontally(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 1, dst=out)


def _flip_vertically(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 0, dst=out)


def _turn_by_180(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.rotate(image, cv2.ROTATE_180, dst=out)


def _transpose(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    np.copyto(scratch, image)  # transposing jumps through memory, which is fast if it was read
    cv2.transpose(scratch, dst=out)


def _turn_by_270(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    _transpose(image, out, scratch)
    cv2.flip(out, 0, dst=out)


def _turn_by_90(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 0, dst=scratch)
    cv2.transpose(scratch, dst=out)


def _transpose_and_turn(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.rotate(image, cv2.ROTATE_180, dst=scratch)
    cv2.transpose(scratch, dst=out)


_MOVES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], None]] = {
    "horizontal flip": _flip_horizontally,
    "vertical flip": _flip_vertically,
    "rotation by 180°": _turn_by_180,
    "rotation by 270°": _turn_by_270,
    "rotation by 90°": _turn_by_90,
}
"""The same operations from one array into another, with a third one to work in."""

_VIEWS = (
    *_MOVES.values(),
    _transpose,
    _transpose_and_turn,
    lambda image, out, scratch: np.copyto(out, image),
)

VIEW_COUNT = len(_VIEWS)
UNCHANGED = VIEW_COUNT - 1
"""Views are numbered: the study's five operations, the other two, and the image itself."""


def study_policy() -> iaa.Augmenter:
    """The study's policy as an imgaug augmenter: one of `OPERATIONS` for each image.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 4. Its ``Fliplr()``
    and ``Flipud()`` flip always, as imgaug's default probability is 1.
    """
    return iaa.Sequential([iaa.OneOf(list(OPERATIONS.values()))], random_order=True)


@dataclass(frozen=True)
class StrongBounds:
    """What ``strong`` draws for each image, evenly between two bounds.

    Attributes:
        scale: Times the size of what is seen, about the centre.
        shift: To the right, and drawn anew downwards, as a share of the width. What lies beyond
            the edge is the mirror image of what lies before it.
        brightness: Factor of the pixel values of a channel.
        gamma: Exponent of the pixel values of a channel, as shares of 255.
        noise: Standard deviation of normal noise in grey levels, one for an image; each pixel of
            each channel draws its own noise.
        noise_share: Share of the images that get noise.
        square: Side of a black square as a share of the width; its centre lies anywhere.
        square_share: Share of the images that get one.
    """

    scale: tuple[float, float] = (0.9, 1.1)
    shift: tuple[float, float] = (-0.1, 0.1)
    brightness: tuple[float, float] = (0.75, 1.33)
    gamma: tuple[float, float] = (0.8, 1.25)
    noise: tuple[float, float] = (0, 8)
    noise_share: float = 0.5
    square: float = 0.2
    square_share: float = 0.5

    def table(self) -> pd.DataFrame:
        """One row a draw: its name and bounds, or the one value that it always has."""
        shown = {
            name.replace("_", " "): "{:g} to {:g}".format(*value)
            if isinstance(value, tuple)
            else f"{value:g}"
            for name, value in asdict(self).items()
        }
        return pd.DataFrame({"bounds": shown}).rename_axis("draw")


STRONG = StrongBounds()
"""The bounds in use, on the processor as on the device."""


def strong_policy() -> iaa.Augmenter:
    """What ``strong`` does after flips and turns, as an imgaug augmenter for 8-bit images.

    In the order of `StrongBounds`. imgaug gives whole grey levels after each operation.
    """
    noise = iaa.AdditiveGaussianNoise(scale=STRONG.noise, per_channel=True)
    square = iaa.Cutout(size=STRONG.square, fill_mode="constant", cval=0)
    return iaa.Sequential(
        [
            iaa.Affine(
                scale=STRONG.scale,
                translate_percent={"x": STRONG.shift, "y": STRONG.shift},
                mode="reflect",
                backend="cv2",
            ),
            iaa.Multiply(STRONG.brightness, per_channel=True),
            iaa.GammaContrast(STRONG.gamma, per_channel=True),
            iaa.Sometimes(STRONG.noise_share, noise),
            iaa.Sometimes(STRONG.square_share, square),
        ]
    )


class StrongDraws(NamedTuple):
    """What ``strong`` does to each image of a batch; see `StrongBounds`.

    Attributes:
        views: Number of the view of each image, shape (images,), dtype int32.
        scales: Shape (images,). This and all below but the seed: dtype float32.
        shifts: To the right and downwards, shape (images, 2).
        brightness: Shape (images, channels).
        gammas: Shape (images, channels).
        noise: Deviation, 0 for none, shape (images,).
        noise_seed: Two numbers that the noise of the whole batch follows from, dtype int32.
        squares: Side, 0 for none, shape (images,).
        centres: Of the squares, from the left and from the top as shares of the width, shape
            (images, 2).
    """

    views: np.ndarray
    scales: np.ndarray
    shifts: np.ndarray
    brightness: np.ndarray
    gammas: np.ndarray
    noise: np.ndarray
    noise_seed: np.ndarray
    squares: np.ndarray
    centres: np.ndarray


def draw_strong(count: int, channels: int, random: np.random.Generator) -> StrongDraws:
    """What ``strong`` does to so many images with so many channels on the device.

    The views are those that `augment_batch` draws from the same generator.
    """

    def draw(bounds: tuple[float, float], *shape: int) -> np.ndarray:
        return random.uniform(*bounds, (count, *shape)).astype(np.float32)

    def chosen(share: float) -> np.ndarray:
        return random.random(count) < share

    return StrongDraws(
        views=draw_views(count, "strong", random).astype(np.int32),
        scales=draw(STRONG.scale),
        shifts=draw(STRONG.shift, 2),
        brightness=draw(STRONG.brightness, channels),
        gammas=draw(STRONG.gamma, channels),
        noise=draw(STRONG.noise) * chosen(STRONG.noise_share),
        noise_seed=random.integers(2**31, size=2, dtype=np.int32),
        squares=np.float32(STRONG.square) * chosen(STRONG.square_share),
        centres=draw((0, 1), 2),
    )


def augment_batch(
    images: Sequence[np.ndarray], policy: str, seed: int | Sequence[int]
) -> np.ndarray:
    """Augment a batch of images.

    Args:
        images: Square images of shape (size, size, channels), dtype uint8 or float, in an
            array or a list. Each is read once, so that views of a memory map cost no copy.
        policy: One of `POLICIES`; ``"none"`` for no change.
        seed: One number or several; the same ones give the same result.

    Returns:
        New array of shape (images, size, size, channels) and the same dtype.

    Raises:
        HpaError: If the policy is unknown, or ``"strong"`` and the images don't have 8 bits.
    """
    if policy not in POLICIES:
        raise HpaError(f"The augmentation is {policy!r}.", f"Choose one of {', '.join(POLICIES)}.")
    first = images[0]
    if policy == "strong" and first.dtype != np.uint8:
        raise HpaError(
            f"The augmentation is 'strong', but the images are {first.dtype}.",
            "Set image_source to 'cache', or augmentation to another policy.",
        )
    random = np.random.default_rng(seed)
    batch = take_views(images, draw_views(len(images), policy, random))
    if policy == "strong":
        augmenter = strong_policy()
        augmenter.seed_(int(random.integers(2**31)))  # and all that it consists of
        batch[:] = augmenter.augment_images(batch)
    return batch


def draw_views(count: int, policy: str, random: np.random.Generator) -> np.ndarray:
    """Numbers of the views that a policy gives to so many images."""
    if policy == "none":
        return np.full(count, UNCHANGED)
    return random.integers(len(_MOVES) if policy == "study" else VIEW_COUNT, size=count)


def take_views(images: Sequence[np.ndarray], numbers: Sequence[int]) -> np.ndarray:
    """Flip and turn each image as the number of its view says; see `augment_batch`."""
    first = images[0]
    batch = batch_memory.empty((len(images), *first.shape), first.dtype)
    scratch = np.empty_like(first)
    for image, number, out in zip(images, numbers, batch, strict=True):
        _VIEWS[number](image, out, scratch)
    return batch


class Mixture(NamedTuple):
    """How the images of a batch are mixed.

    Attributes:
        others: Position of the image that each one is mixed with, shape (images,), dtype int32.
        shares: Share that each one keeps, shape (images,), dtype float32.
    """

    others: np.ndarray
    shares: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Mix images or labels, one in each row; same shape and dtype, whole numbers rounded."""
        shares = self.shares.reshape(-1, *[1] * (values.ndim - 1))
        mixed = values * shares + values[self.others] * (1 - shares)
        if np.issubdtype(values.dtype, np.integer):
            mixed = np.rint(mixed)
        return mixed.astype(values.dtype)


def draw_mixture(count: int, strength: float, seed: int | Sequence[int]) -> Mixture:
    """Mix each image of a batch with another.

    Args:
        count: Images in the batch.
        strength: Parameter of the Beta distribution of an image's share, above 0: small values
            leave most images nearly alone, 1 draws all shares equally often.
        seed: One number or several; the same ones give the same result.

    Source: Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization"
    (2018).
    """
    random = np.random.default_rng(seed)
    others = random.permutation(count).astype(np.int32)
    return Mixture(others, random.beta(strength, strength, count).astype(np.float32))
