"""Initial weights that fit the data, for networks that start without pretrained ones.

In a deep network without batch normalization, such as VGG16, the signals of different images
become ever more alike from layer to layer under Keras' default initial weights, and training
takes hundreds of steps to leave the trivial solution. Scaling and centring each layer by what
it does to real images prevents that: the network starts as if it had batch normalization.
"""

import numpy as np

from hpa_lib.backbones import BACKBONE_LAYER
from hpa_lib.backend import keras, tf
from hpa_lib.dataset import Dataset
from hpa_lib.feed import ImageSource
from hpa_lib.parameters import TrainParameters
from hpa_lib.splits import Split

_IMAGES = 64
_SMALLEST_DEVIATION = 1e-6
_LAST_SCALE = 0.1
_NORMALIZATION = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)


def initialize(
    model: keras.Model,
    source: ImageSource,
    dataset: Dataset,
    division: Split,
    values: TrainParameters,
) -> None:
    """Initialise a network as a training notebook's parameters say.

    Nothing is done where weights are given, or where ``random_weights`` is ``"keras"``. Else
    `fit_to_data` gets the first training images and the class frequencies of the training part.
    """
    if values.weights == "none" and values.random_weights == "scaled":
        rows = division.parts["training"]
        fit_to_data(model, source[rows[:_IMAGES]], dataset.multi_hot[rows].mean(axis=0))


def fit_to_data(model: keras.Model, images: np.ndarray, frequency: np.ndarray) -> None:
    """Scale the random weights of a network from `models.build` to some images.

    Each convolution or dense layer gets orthonormal weights, and then a scale and a bias for
    each output channel, such that the channel has mean 0 and variance 1 over the images before
    its activation. Backbones with layers of normalization are left as they are, since these do
    the same in every step. The last layer's bias is set to the log odds of the class
    frequencies and its weights are kept small, so that training starts near the best constant
    prediction.

    Args:
        model: Network whose weights are changed in place.
        images: Some training images, shape (samples, height, width, channels), values 0–255.
        frequency: Share of training samples of each class, shape (28,).

    Source: Krähenbühl, Doersch, Donahue and Darrell, "Data-dependent initializations of
    convolutional neural networks" (2016), section 3.1; the last bias: Lin et al., "Focal loss
    for dense object detection" (2017), section 4.1.
    """
    signal = tf.cast(images, tf.float32)
    for layer in model.layers[1:]:
        if layer.name != BACKBONE_LAYER:
            signal = _fit_layer(layer, signal)
        elif any(isinstance(part, _NORMALIZATION) for part in layer._flatten_layers()):
            signal = layer(signal, training=True)
        else:
            for part in layer.layers[1:]:
                signal = _fit_layer(part, signal)
    last = model.layers[-1]
    last.kernel.assign(last.kernel * _LAST_SCALE)
    limited = np.clip(frequency, 1e-3, 1 - 1e-3)
    last.bias.assign(np.log(limited / (1 - limited)))


def _fit_layer(layer: keras.layers.Layer, signal: tf.Tensor) -> tf.Tensor:
    """Fit one layer to its input, and pass the input through it."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer(signal, training=True)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
        layer.kernel.assign(keras.initializers.Orthogonal()(layer.kernel.shape))
        layer.bias.assign(tf.zeros_like(layer.bias.value))
        activation, layer.activation = layer.activation, keras.activations.linear
        output = layer(signal)
        layer.activation = activation
        axes = list(range(output.shape.rank - 1))
        mean = tf.reduce_mean(output, axes)
        deviation = tf.maximum(tf.math.reduce_std(output, axes), _SMALLEST_DEVIATION)
        layer.kernel.assign(layer.kernel / deviation)
        layer.bias.assign(-mean / deviation)
    return layer(signal)
