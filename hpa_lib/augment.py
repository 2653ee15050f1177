"""Change training images in ways that leave their labels true.

* ``study``: one flip or quarter turn, chosen at random. Each image gets exactly one of five
  operations and is never left as it is.
* ``dihedral``: one of all eight combinations of flips and quarter turns, the image itself among
  them.
* ``strong``: ``dihedral``, then what `strong_policy` does: another place, size, brightness and
  contrast, noise, and a hidden square.

imgaug defines the operations; those that move pixels without interpolating OpenCV does alike,
at the speed of memory.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

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


def strong_policy() -> iaa.Augmenter:
    """What ``strong`` does after flips and turns, as an imgaug augmenter for 8-bit images.

    In this order: 0.9 to 1.1 times the size and a shift by up to a tenth of the image, what lies
    beyond the edge being its mirror image; for each channel on its own, 0.75 to 1.33 times the
    brightness, a gamma of 0.8 to 1.25, and in half of the images noise with a deviation of up to
    8 grey levels; in half of the images a black square of a fifth of the width.
    """
    return iaa.Sequential(
        [
            iaa.Affine(
                scale=(0.9, 1.1),
                translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                mode="reflect",
                backend="cv2",
            ),
            iaa.Multiply((0.75, 1.33), per_channel=True),
            iaa.GammaContrast((0.8, 1.25), per_channel=True),
            iaa.Sometimes(0.5, iaa.AdditiveGaussianNoise(scale=(0, 8), per_channel=True)),
            iaa.Sometimes(0.5, iaa.Cutout(size=0.2, fill_mode="constant", cval=0)),
        ]
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


def mix(
    images: np.ndarray, labels: np.ndarray, strength: float, seed: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Replace each image by a mixture with another of the batch, and its labels alike.

    Args:
        images: Shape (images, size, size, channels), values 0–255.
        labels: Shape (images, classes), float32.
        strength: Parameter of the Beta distribution of an image's share, above 0: small values
            leave most images nearly alone, 1 draws all shares equally often.
        seed: One number or several; the same ones give the same result.

    Returns:
        New arrays of the same shapes and dtypes.

    Source: Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization"
    (2018).
    """
    random = np.random.default_rng(seed)
    others = random.permutation(len(images))
    share = random.beta(strength, strength, len(images)).astype(np.float32)[:, None]
    wide = share[:, :, None, None]
    mixed = images * wide + images[others] * (1 - wide)
    if np.issubdtype(images.dtype, np.integer):
        mixed = np.rint(mixed)
    return mixed.astype(images.dtype), labels * share + labels[others] * (1 - share)
