"""Compute the features of a frozen backbone once for each view of an image.

While the backbone stays as it is, an image that is flipped and turned alike gives the same
features in every epoch. They are kept in a file without a name, which is gone with the process.
"""

import logging
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpa_lib import augment, files, models
from hpa_lib.backend import keras, tf
from hpa_lib.feed import TrainingFeed
from hpa_lib.inference import Predictor

log = logging.getLogger(__name__)

_DISK_SHARE = 0.5
"""Share of the free disk that features may take."""


class FrozenFeatures:
    """Features of training and validation images, computed when they are first needed.

    Attributes:
        head: The network above the features; it shares its layers with the whole one.
    """

    def __init__(
        self, below: keras.Model, head: keras.Model, feed: TrainingFeed, folder: Path
    ) -> None:
        """See `keep`."""
        self.head = head
        self.shape: tuple[int, ...] = head.input_shape[1:]
        self.dtype = np.dtype(np.float32)
        self._feed = feed
        self._predictor = Predictor(head)
        signature = tf.TensorSpec((feed.batch_size, *below.input_shape[1:]), tf.float32)
        self._forward = tf.function(
            lambda images: below(images, training=False), input_signature=[signature]
        )
        self._folder = folder
        with tempfile.TemporaryFile(dir=folder) as file:
            self._kept = np.memmap(file, self.dtype, shape=_shape(head, feed))
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self._known = np.zeros(self._kept.shape[:2], bool)

    def batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and labels of the batches of one epoch."""
        order = self._feed.epoch_rows(epoch)
        views = [self._feed.views(epoch, step) for step in range(len(order))]
        self._compute(order.ravel(), np.concatenate(views))
        for rows, numbers in zip(order, views, strict=True):
            yield self._kept[rows, numbers], self._feed.labels(rows)

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """What the network predicts for some rows; see `inference.Predictor`."""
        return self._predictor(self, rows)

    def __getitem__(self, rows: int | np.ndarray) -> np.ndarray:
        """Features of unchanged images; see `feed.ImageSource`."""
        numbers = np.atleast_1d(rows)
        self._compute(numbers, np.full(len(numbers), augment.UNCHANGED))
        return self._kept[rows, augment.UNCHANGED]

    def _compute(self, rows: np.ndarray, views: np.ndarray) -> None:
        """Compute what isn't known yet of these views of these rows.

        All batches have one size, since the last bits can depend on it.
        """
        pairs = np.unique(np.stack([rows, views], axis=1), axis=0)
        pairs = pairs[~self._known[*pairs.T]]
        size = self._feed.batch_size
        for start in range(0, len(pairs), size):
            rows, views = np.resize(pairs[start : start + size], (size, 2)).T
            images = augment.take_views([self._feed.source[row] for row in rows], views)
            features = self._forward(tf.cast(images, tf.float32))
            found = tf.cast(features, tf.float32).numpy()
            for place, one in zip(rows * augment.VIEW_COUNT + views, found, strict=True):
                self._write(place, one)
            self._known[rows, views] = True

    def _write(self, place: int, features: np.ndarray) -> None:
        """Write the features of one view, not through memory, where a full disk ends the process.

        Raises:
            HpaError: If the disk is full.
        """
        offset, left = int(place) * features.nbytes, memoryview(features).cast("B")
        with files.naming_full_disk(self._folder / "features of the frozen backbone"):
            while left:
                written = os.pwrite(self._file, left, offset)
                offset, left = offset + written, left[written:]


def keep(model: keras.Model, feed: TrainingFeed, folder: Path) -> FrozenFeatures | None:
    """The features of a network's frozen backbone, where they can be kept.

    They can if nothing below the head learns (``input_scaling`` is ``backbone``), if images are
    flipped and turned at most, and if they take less than half of the free disk.

    Args:
        model: Network from `models.build` whose backbone is frozen.
        feed: Training batches.
        folder: Where the file lies.
    """
    below, head = models.split_at_features(model)
    if below.trainable_variables or not feed.exact_views:
        log.info(
            "The frozen backbone's features are computed in every epoch: to keep them takes "
            "input_scaling 'backbone', mixup 0, and augmentation 'none', 'study' or 'dihedral'."
        )
        return None
    needed, free = 4 * math.prod(_shape(head, feed)), shutil.disk_usage(folder).free
    if needed > _DISK_SHARE * free:
        log.info(
            "The frozen backbone's features are computed in every epoch: to keep them may take "
            "%.1f GB, and %s has %.1f GB free.",
            needed / 1e9,
            folder,
            free / 1e9,
        )
        return None
    log.info("The frozen backbone's features are computed once for each view of an image.")
    return FrozenFeatures(below, head, feed, folder)


def _shape(head: keras.Model, feed: TrainingFeed) -> tuple[int, ...]:
    """Shape of all features: rows of the dataset, views, shape of an image's features."""
    return feed.sample_count, augment.VIEW_COUNT, *head.input_shape[1:]
