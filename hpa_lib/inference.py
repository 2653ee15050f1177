"""Compute probabilities with a network."""

import numpy as np

from hpa_lib import labels
from hpa_lib.backend import keras, tf
from hpa_lib.feed import ImageSource, sequential_batches


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

    def __call__(self, source: ImageSource, rows: np.ndarray) -> np.ndarray:
        """Probabilities of shape (rows, 28), dtype float32, in the order of `rows`."""
        passes = [
            self._forward(tf.cast(batch, tf.float32)).numpy()
            for batch in sequential_batches(source, np.asarray(rows), self._batch_size)
        ]
        return np.concatenate(passes) if passes else np.empty((0, labels.CLASS_COUNT), np.float32)
