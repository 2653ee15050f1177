"""Feed batches of images and labels to a network.

Images come from the decoded cache (uint8) or straight from the files, as in the reference
study (float32). Both hold values 0–255; the network's first layer divides by 255.
"""

import itertools
from collections.abc import Iterator
from typing import Protocol

import joblib
import numpy as np
import pandas as pd

from hpa_lib import augment, cache, class_sampling, images
from hpa_lib.backend import tf
from hpa_lib.dataset import Dataset
from hpa_lib.device_augmentation import DeviceAugmenter
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters
from hpa_lib.splits import Split

_BATCHES_AHEAD = 2
"""Batches that wait to be trained on."""


class ImageSource(Protocol):
    """Anything that gives the images of some rows."""

    shape: tuple[int, int, int]
    dtype: np.dtype

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        """Images, values 0–255.

        Args:
            rows: Row numbers give a new array of shape (rows, height, width, channels). One row
                number gives one image, shape (height, width, channels), not to be written to.
        """


class CachedImages:
    """Images from the decoded cache, dtype uint8. See `cache.open_cache`."""

    def __init__(self, dataset: Dataset, size: int, composition: str, interpolation: str) -> None:
        opened = cache.open_cache(dataset, size, composition, interpolation)
        self._array = np.asarray(opened)  # a plain view of the same map is faster to index
        self.shape = self._array.shape[1:]
        self.dtype = self._array.dtype

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        return self._array[rows]


class DecodedImages:
    """The study's composite, read from files at every access and never rounded, dtype float32."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        self._dataset = dataset
        self.shape = (size, size, images.COMPOSITIONS["composite"].channels)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        if np.ndim(rows):
            return np.stack([self[row] for row in rows])
        composite = images.study_composite(self._dataset.read_sample(rows), self.shape[0])
        return (composite * 255).astype(self.dtype)


def open_source(
    dataset: Dataset, kind: str, size: int, composition: str, interpolation: str = "area"
) -> ImageSource:
    """Open the images of a dataset.

    Args:
        dataset: The samples.
        kind: ``"cache"`` for `CachedImages`, which decodes the dataset first if that hasn't
            been done, or ``"decode"`` for `DecodedImages`.
        size: Height and width in pixels.
        composition: A key of `images.COMPOSITIONS`.
        interpolation: One of `resizing.INTERPOLATIONS`.

    Raises:
        HpaError: If an image can't be decoded, or ``"decode"`` is asked for anything but the
            study's composite.
    """
    if kind == "cache":
        return CachedImages(dataset, size, composition, interpolation)
    if (composition, interpolation) != ("composite", "bilinear"):
        raise HpaError(
            f"Parameter image_source is 'decode' while composition is {composition!r} and "
            f"interpolation {interpolation!r}.",
            "Reading files in every step is the study's way: set composition to 'composite' and "
            "interpolation to 'bilinear', or image_source to 'cache'.",
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
        sampling: One of `class_sampling.SAMPLINGS`. Unless it is uniform, an epoch draws each
            row as often as its weight says, up to rounding.
        policy: One of `augment.POLICIES`.
        augment_on: ``"host"``, or ``"device"`` to leave ``strong``, and mixing, to the device on
            which the network computes; see `device_augmentation`.
        mixup: Strength of `augment.draw_mixture`; 0 for none.
        seed: Each epoch has its own random numbers, derived from the seed and its number, so
            that a resumed run repeats an uninterrupted one.

    Raises:
        HpaError: If another policy than ``strong`` is to run on the device.
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
        sampling: str = "uniform",
        policy: str = "none",
        augment_on: str = "host",
        mixup: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch or max(1, len(self.rows) // batch_size)
        self._labels = multi_hot.astype(np.float32)
        self._draws = draws
        self._uniform = sampling == "uniform"
        self._weights = class_sampling.row_weights(multi_hot[self.rows], sampling)
        self._policy = policy
        self._device: DeviceAugmenter | None = None
        if augment_on == "device":
            if policy != "strong":
                raise HpaError(
                    f"Augmentation {policy!r} is to run on the device.",
                    "Only 'strong' does: set augment_on to 'host', or augmentation to 'strong'.",
                )
            self._device = DeviceAugmenter()
        self._mixup = mixup
        self._seed = seed

    def epoch_rows(self, epoch: int) -> np.ndarray:
        """Row numbers of one epoch, shape (steps per epoch, batch size)."""
        count = self.steps_per_epoch * self.batch_size
        random = np.random.default_rng([self._seed, epoch])
        if self._draws == "replacement":
            shares = None if self._uniform else self._weights / len(self.rows)
            order = random.choice(self.rows, count, p=shares)
        elif not self._uniform:
            order = self.rows[class_sampling.draw(self._weights, count, random)]
        else:
            passes = -(-count // len(self.rows))
            order = np.concatenate([random.permutation(self.rows) for _ in range(passes)])[:count]
        return order.reshape(self.steps_per_epoch, self.batch_size)

    def batch(self, epoch: int, step: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Augmented images and labels (float32) of the given rows at one step of one epoch."""
        pictures, truth = self._host_batch(epoch, step, rows)
        if self._device:
            return self._augmented(pictures, epoch, step).numpy(), truth
        return pictures, truth

    def batches(self, first_epoch: int = 0) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """All batches from `first_epoch` on, endlessly, in their order: what `batch` gives."""
        ready = iter(self.dataset(first_epoch))
        if self._device is None:
            yield from ready
        for epoch in itertools.count(first_epoch):
            for step in range(self.steps_per_epoch):
                pictures, truth = next(ready)
                yield self._augmented(pictures, epoch, step), truth

    def _host_batch(self, epoch: int, step: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the host makes of the images, and all that is done to the labels."""
        pictures, truth = [self.source[row] for row in rows], self._labels[rows]
        policy = "none" if self._device else self._policy
        batch = augment.augment_batch(pictures, policy, self._step_seed(epoch, step))
        mixture = self._mixture(len(rows), epoch, step)
        if mixture is None:
            return batch, truth
        return batch if self._device else mixture.apply(batch), mixture.apply(truth)

    def _augmented(self, pictures: np.ndarray | tf.Tensor, epoch: int, step: int) -> tf.Tensor:
        """What the device makes of the host's images."""
        mixture = self._mixture(len(pictures), epoch, step)
        return self._device(pictures, self._step_seed(epoch, step), mixture)

    def _mixture(self, count: int, epoch: int, step: int) -> augment.Mixture | None:
        if not self._mixup:
            return None
        seed = (*self._step_seed(epoch, step), 1)
        return augment.draw_mixture(count, self._mixup, seed)

    def views(self, epoch: int, step: int) -> np.ndarray:
        """Number of the view of each image that `batch` gives; see `augment.take_views`.

        With `exact_views` these are all that it changes.
        """
        random = np.random.default_rng(self._step_seed(epoch, step))
        return augment.draw_views(self.batch_size, self._policy, random)

    @property
    def sample_count(self) -> int:
        """Rows of the dataset."""
        return len(self._labels)

    @property
    def exact_views(self) -> bool:
        """Whether images are flipped and turned at most."""
        return self._policy != "strong" and not self._mixup

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of some rows, shape (rows, 28), dtype float32."""
        return self._labels[rows]

    def _step_seed(self, epoch: int, step: int) -> tuple[int, int, int]:
        # Step 0 would repeat the random numbers of `epoch_rows`: missing numbers count as 0.
        return self._seed, epoch, 1 + step

    def class_shares(self) -> pd.DataFrame:
        """How often each class is drawn; see `class_sampling.table`."""
        return class_sampling.table(self._labels[self.rows], self._weights)

    def preview(self, count: int) -> list[np.ndarray]:
        """The first images of the first epoch as pictures; see `images.input_to_display`."""
        steps = -(-count // self.batch_size)
        order = self.epoch_rows(0)[:steps]
        batches = [self.batch(0, step, rows)[0] for step, rows in enumerate(order)]
        return [images.input_to_display(image) for image in np.concatenate(batches)[:count]]

    def dataset(self, first_epoch: int = 0) -> tf.data.Dataset:
        """All batches from `first_epoch` on, endlessly, as the host makes them; see `batches`."""
        steps, batch_size = self.steps_per_epoch, self.batch_size

        def plan(epoch: tf.Tensor) -> tf.data.Dataset:
            rows = tf.numpy_function(self.epoch_rows, [epoch], tf.int64, stateful=False)
            rows = tf.ensure_shape(rows, (steps, batch_size))
            epochs = tf.fill((steps,), epoch)
            return tf.data.Dataset.from_tensor_slices((epochs, tf.range(steps), rows))

        def read(epoch: tf.Tensor, step: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            kinds = (self.source.dtype, tf.float32)
            # Stateless functions may run side by side where operations must be deterministic.
            pictures, truth = tf.numpy_function(
                self._host_batch, [epoch, step, rows], kinds, stateful=False
            )
            return (
                tf.ensure_shape(pictures, (batch_size, *self.source.shape)),
                tf.ensure_shape(truth, (batch_size, self._labels.shape[1])),
            )

        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        at_once = _batches_at_once("none" if self._device else self._policy)
        batches = epochs.flat_map(plan).map(read, num_parallel_calls=at_once)
        options = tf.data.Options()  # own threads: a deterministic network leaves it only one
        options.threading.private_threadpool_size = at_once
        return batches.prefetch(_BATCHES_AHEAD).with_options(options)


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
        sampling=values.sampling,
        policy=values.augmentation,
        augment_on=values.augment_on,
        mixup=values.mixup,
        seed=values.seed,
    )


def _batches_at_once(policy: str) -> int:
    """Batches that are read side by side.

    One thread flips and turns images as fast as memory gives them; ``strong`` computes.
    """
    return joblib.cpu_count() if policy == "strong" else 1


def sequential_batches(
    source: ImageSource, rows: np.ndarray, batch_size: int
) -> Iterator[np.ndarray]:
    """Images of `rows` in their order, in batches; the last one may be smaller."""
    for start in range(0, len(rows), batch_size):
        yield source[rows[start : start + batch_size]]
