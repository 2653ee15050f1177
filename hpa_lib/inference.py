"""Compute probabilities with a network."""

import numpy as np

from hpa_lib import labels
from hpa_lib.backend import keras, tf
from hpa_lib.feed import ImageSource, sequential_batches

_ONE_VIEW = ((0, False),)
_EIGHT_VIEWS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))
"""Quarter turns, and whether a reflection follows."""


class Predictor:
    """The network's forward pass in inference mode, traced once.

    Keras traces its own prediction and evaluation functions anew after every ``compile``, which
    takes seconds for a deep backbone. This one serves validation during all stages and the
    evaluation afterwards; it always uses the network's present weights.

    Args:
        model: Network that maps images 0–255 to probabilities.
        batch_size: Images in one pass.
    """

    def __init__(self, model: keras.Model, batch_size: int = 32) -> None:
        self._batch_size = batch_size
        signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        self._forward = tf.function(
            lambda images: model(images, training=False), input_signature=[signature]
        )

    def __call__(
        self, source: ImageSource, rows: np.ndarray, *, all_views: bool = False
    ) -> np.ndarray:
        """Probabilities of the images of some rows.

        Args:
            source: Where images come from.
            rows: Row numbers.
            all_views: Average over the eight flips and quarter turns of each image, which takes
                eight times as long. A cell has no up or down, so all eight are equally right.

        Returns:
            Array of shape (rows, 28), dtype float32, in the order of `rows`.
        """
        passes = [
            self._averaged(batch, _EIGHT_VIEWS if all_views else _ONE_VIEW)
            for batch in sequential_batches(source, np.asarray(rows), self._batch_size)
        ]
        return np.concatenate(passes) if passes else np.empty((0, labels.CLASS_COUNT), np.float32)

    def _averaged(self, images: np.ndarray, views: tuple[tuple[int, bool], ...]) -> np.ndarray:
        total = 0.0
        for turns, mirrored in views:
            view = np.rot90(images, turns, axes=(1, 2)) if turns else images
            view = view[:, :, ::-1] if mirrored else view
            total += self._forward(tf.cast(np.ascontiguousarray(view), tf.float32)).numpy()
        return total / np.float32(len(views))
