"""The reference study's augmentation: one flip or quarter turn, chosen at random.

Each image gets exactly one of five operations and is never left as it is. imgaug defines them;
since all five move pixels without interpolating, OpenCV gives the same images at the speed of
memory.
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

POLICIES: tuple[str, ...] = ("none", "study")


def _flip_horizontally(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 1, dst=out)


def _flip_vertically(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 0, dst=out)


def _turn_by_180(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.rotate(image, cv2.ROTATE_180, dst=out)


def _turn_by_270(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    np.copyto(scratch, image)  # transposing jumps through memory, which is fast if it was read
    cv2.transpose(scratch, dst=out)
    cv2.flip(out, 0, dst=out)


def _turn_by_90(image: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    cv2.flip(image, 0, dst=scratch)
    cv2.transpose(scratch, dst=out)


_MOVES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], None]] = {
    "horizontal flip": _flip_horizontally,
    "vertical flip": _flip_vertically,
    "rotation by 180°": _turn_by_180,
    "rotation by 270°": _turn_by_270,
    "rotation by 90°": _turn_by_90,
}
"""The same operations from one array into another, with a third one to work in."""


def study_policy() -> iaa.Augmenter:
    """The study's policy as an imgaug augmenter: one of `OPERATIONS` for each image.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 4. Its ``Fliplr()``
    and ``Flipud()`` flip always, as imgaug's default probability is 1.
    """
    return iaa.Sequential([iaa.OneOf(list(OPERATIONS.values()))], random_order=True)


def augment_batch(
    images: Sequence[np.ndarray], policy: str, seed: int | Sequence[int]
) -> np.ndarray:
    """Augment a batch of images.

    Args:
        images: Square images of shape (size, size, channels), dtype uint8 or float, in an
            array or a list. Each is read once, so that views of a memory map cost no copy.
        policy: ``"study"`` for one flip or quarter turn an image, as `study_policy` does;
            ``"none"`` for no change.
        seed: One number or several; the same ones give the same result.

    Returns:
        New array of shape (images, size, size, channels) and the same dtype.

    Raises:
        HpaError: If the policy is unknown.
    """
    if policy not in POLICIES:
        raise HpaError(f"The augmentation is {policy!r}.", f"Choose one of {', '.join(POLICIES)}.")
    first = images[0]
    batch = batch_memory.empty((len(images), *first.shape), first.dtype)
    if policy == "none":
        return np.stack(images, out=batch)
    moves = list(_MOVES.values())
    drawn = np.random.default_rng(seed).integers(len(moves), size=len(images))
    scratch = np.empty_like(batch[0])
    for image, number, out in zip(images, drawn, batch, strict=True):
        moves[number](image, out, scratch)
    return batch
