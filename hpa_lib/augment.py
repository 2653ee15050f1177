"""The reference study's augmentation: one flip or quarter turn, chosen at random.

The policy is an imgaug augmenter that applies exactly one of five operations to each image,
and never leaves it as it is. All five are exact: they move pixels without interpolating.
"""

import numpy as np

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


def study_policy() -> iaa.Augmenter:
    """The study's policy as an imgaug augmenter: one of `OPERATIONS` for each image.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 4. Its ``Fliplr()``
    and ``Flipud()`` flip always, as imgaug's default probability is 1.
    """
    return iaa.Sequential([iaa.OneOf(list(OPERATIONS.values()))], random_order=True)


def augment_batch(images: np.ndarray, policy: str, seed: int) -> np.ndarray:
    """Augment a batch of images.

    Args:
        images: Array of shape (samples, height, width, channels), square images, uint8 or
            float.
        policy: ``"study"`` for one flip or quarter turn an image, ``"none"`` for no change.
        seed: The same seed gives the same result.

    Returns:
        Array of the same shape and dtype.
    """
    if policy == "none":
        return images
    augmenter = study_policy()
    augmenter.seed_(seed)
    return augmenter.augment_images(images)
