"""Re-estimate the statistics that batch normalization uses in inference mode.

During training the moving averages lag behind the weights: after a hundred steps with Keras'
momentum of 0.99 they still describe weights of long ago, which makes validation figures
meaningless (the reference study's validation loss of 1604.7 is an instance). Here the
statistics are averaged anew over some training batches, all with the present weights, which
stay as they are.

Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization"
(2018), section 3.2, who recompute them for averaged weights in the same way.
"""

from collections.abc import Iterable

import numpy as np

from hpa_lib.backend import keras, tf


class Reestimator:
    """Averages means and variances of all batch-normalization layers over given batches.

    A layer that is frozen keeps its statistics, as it also does in training.

    Args:
        model: Network with its layers frozen or not as in the training at hand.
    """

    def __init__(self, model: keras.Model) -> None:
        self._momentum = tf.Variable(0.0, trainable=False)
        self._layers = [
            layer
            for layer in model._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        self._forward = tf.function(
            lambda images: model(images, training=True), input_signature=[signature]
        )

    def __call__(self, batches: Iterable[np.ndarray]) -> None:
        """Replace the statistics by their averages over batches of images, values 0–255."""
        if not self._layers:
            return
        kept = [layer.momentum for layer in self._layers]
        for layer in self._layers:
            layer.momentum = self._momentum
        try:
            for number, images in enumerate(batches):
                # With this momentum a moving average is the plain average of all so far.
                self._momentum.assign(number / (number + 1))
                self._forward(tf.cast(images, tf.float32))
        finally:
            for layer, momentum in zip(self._layers, kept, strict=True):
                layer.momentum = momentum
