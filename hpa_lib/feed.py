"""Feed batches of images and labels to a network.

Images come from the decoded cache (uint8) or straight from the PNGs, as in the reference study
(float32). Both hold values 0–255; the network's first layer divides by 255.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from hpa_lib import augment, cache, images
from hpa_lib.backend import tf
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters
from hpa_lib.splits import Split


class ImageSource(Protocol):
    """Anything that gives the images of some rows."""

    shape: tuple[int, int, int]
    dtype: np.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Images of shape (rows, height, width, channels), values 0–255."""


class CachedImages:
    """Images from the decoded cache, dtype uint8. See `cache.open_cache`."""

    def __init__(self, dataset: Dataset, size: int, composition: str) -> None:
        self._array = cache.open_cache(dataset, size, composition)
        self.shape = self._array.shape[1:]
        self.dtype = self._array.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self._array[rows]


class DecodedImages:
    """The study's composite, read from PNGs at every access and never rounded, dtype float32."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        self._dataset = dataset
        self.shape = (size, size, images.COMPOSITIONS["composite"])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        batch = np.empty((len(rows), *self.shape), dtype=self.dtype)
        for position, row in enumerate(rows):
            sample = images.read_sample(self._dataset.image_folder, self._dataset.ids[row])
            batch[position] = images.study_composite(sample, self.shape[0]) * 255
        return batch


def open_source(dataset: Dataset, kind: str, size: int, composition: str) -> ImageSource:
    """Open the images of a dataset.

    Args:
        dataset: The samples.
        kind: ``"cache"`` for `CachedImages`, which decodes the dataset first if that hasn't
            been done, or ``"decode"`` for `DecodedImages`.
        size: Height and width in pixels.
        composition: One of `images.COMPOSITIONS`.

    Raises:
        HpaError: If an image can't be decoded, or four channels are wanted from ``"decode"``.
    """
    if kind == "cache":
        return CachedImages(dataset, size, composition)
    if composition != "composite":
        raise HpaError(
            f"Parameter image_source is 'decode' while composition is {composition!r}.",
            "Reading PNGs in every step is the study's way: set composition to 'composite', or "
            "image_source to 'cache'.",
        )
    return DecodedImages(dataset, size)


class TrainingFeed:
    """Endless batches for training; the order depends only on seed, epoch and parameters.

    Args:
        source: Where images come from.
        multi_hot: Labels of all samples, shape (samples, 28).
        rows: Row numbers of the training part.
        batch_size: Samples in a batch.
        steps_per_epoch: Batches in an epoch; 0 for as many full batches as `rows` fills, at
            least one.
        draws: ``"epochs"`` for shuffled passes without repetition, continued into a new pass
            where an epoch needs more samples than there are; ``"replacement"`` for independent
            draws as in the study.
        policy: One of `augment.POLICIES`.
        seed: Each epoch has its own random numbers, derived from the seed and its number, so
            that a resumed run repeats an uninterrupted one.
    """

    def __init__(
        self,
        source: ImageSource,
        multi_hot: np.ndarray,
        rows: np.ndarray,
        *,
        batch_size: int,
        steps_per_epoch: int = 0,
        draws: str = "epochs",
        policy: str = "none",
        seed: int = 0,
    ) -> None:
        self.source = source
        self.rows = np.asarray(rows)
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch or max(1, len(self.rows) // batch_size)
        self._labels = multi_hot.astype(np.float32)
        self._draws = draws
        self._policy = policy
        self._seed = seed

    def epoch_rows(self, epoch: int) -> np.ndarray:
        """Row numbers of one epoch, shape (steps per epoch, batch size)."""
        count = self.steps_per_epoch * self.batch_size
        random = np.random.default_rng([self._seed, epoch])
        if self._draws == "replacement":
            order = random.choice(self.rows, count)
        else:
            passes = -(-count // len(self.rows))
            order = np.concatenate([random.permutation(self.rows) for _ in range(passes)])[:count]
        return order.reshape(self.steps_per_epoch, self.batch_size)

    def batch(self, epoch: int, step: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Augmented images and labels (float32) of the given rows at one step of one epoch."""
        entropy = np.random.SeedSequence([self._seed, epoch, step]).generate_state(1)
        augmented = augment.augment_batch(self.source[rows], self._policy, int(entropy[0]))
        return augmented, self._labels[rows]

    def preview(self, count: int) -> list[np.ndarray]:
        """The first images of the first epoch as pictures; see `images.input_to_display`."""
        steps = -(-count // self.batch_size)
        order = self.epoch_rows(0)[:steps]
        batches = [self.batch(0, step, rows)[0] for step, rows in enumerate(order)]
        return [images.input_to_display(image) for image in np.concatenate(batches)[:count]]

    def dataset(self, first_epoch: int = 0) -> tf.data.Dataset:
        """All batches from `first_epoch` on, endlessly, prefetched."""

        def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            epoch = first_epoch
            while True:
                for step, rows in enumerate(self.epoch_rows(epoch)):
                    yield self.batch(epoch, step, rows)
                epoch += 1

        signature = (
            tf.TensorSpec((self.batch_size, *self.source.shape), self.source.dtype),
            tf.TensorSpec((self.batch_size, self._labels.shape[1]), tf.float32),
        )
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


def training_feed(
    source: ImageSource, dataset: Dataset, division: Split, values: TrainParameters
) -> TrainingFeed:
    """Training batches as a training notebook's parameters describe them."""
    return TrainingFeed(
        source,
        dataset.multi_hot,
        division.parts["training"],
        batch_size=values.batch_size,
        steps_per_epoch=values.steps_per_epoch,
        draws=values.draws,
        policy=values.augmentation,
        seed=values.seed,
    )


def sequential_batches(
    source: ImageSource, rows: np.ndarray, batch_size: int
) -> Iterator[np.ndarray]:
    """Images of `rows` in their order, in batches; the last one may be smaller."""
    for start in range(0, len(rows), batch_size):
        yield source[rows[start : start + batch_size]]
