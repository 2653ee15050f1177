"""The reference study's network, on a choice of backbones and with a choice of heads.

    image 0–255 → divide by 255 (→ square root) → input scaling → backbone without top
    → head → dense 28, sigmoid

The study's input scaling is batch normalization, and its head

    1×1 convolution, 128, ReLU → flatten → dropout ½ → dense 512, ReLU → dropout ½

Its text speaks of a 3×3 convolution; its parameter counts prove 1×1. The other heads pool each
feature over the image in place of the convolution and the flattening. The square root is ours
and can be left out.
"""

import pandas as pd

from hpa_lib import backbones, devices, labels
from hpa_lib.backbones import BACKBONE_LAYER
from hpa_lib.backend import keras
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters

INTENSITIES: tuple[str, ...] = ("linear", "square_root")
"""How the network sees pixel values."""

INPUT_SCALINGS: tuple[str, ...] = ("study", "backbone")
"""``study``: batch normalization of values from 0 to 1; ``backbone``: as its ImageNet weights
expect, see `backbones.scale_input`."""

HEADS: tuple[str, ...] = ("study", "average", "average_max", "generalized_mean")
"""What lies between the backbone and the probabilities."""


@keras.saving.register_keras_serializable("hpa_lib")
class SquareRoot(keras.layers.Layer):
    """Takes the square root of non-negative values.

    Photon noise grows with the square root of the signal, so that after this transformation it
    is about equally strong in bright and in dark structures.

    Source: M. S. Bartlett, "The square root transformation in analysis of variance" (1936).
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Square root of each value; same shape and dtype."""
        return keras.ops.sqrt(inputs)


@keras.saving.register_keras_serializable("hpa_lib")
class AverageAndMaximum(keras.layers.Layer):
    """Pools each feature to its average and its maximum over the image, one after the other."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Shape (samples, height, width, features) becomes (samples, 2 · features)."""
        ops = keras.ops
        return ops.concatenate([ops.mean(inputs, (1, 2)), ops.max(inputs, (1, 2))], axis=-1)


@keras.saving.register_keras_serializable("hpa_lib")
class GeneralizedMean(keras.layers.Layer):
    """Pools each feature x to (mean of x^p)^(1/p) over the image; p is learned, and starts at 3.

    1 would be the average; the larger p, the nearer to the maximum. Negative features count as 0.

    Source: Radenović, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation"
    (2018), section 3.2.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the exponent."""
        self.exponent = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(3.0), name="exponent"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Shape (samples, height, width, features) becomes (samples, features), float32.

        Powers are taken of shares of the maximum, which don't overflow.
        """
        ops = keras.ops
        exponent = ops.cast(self.exponent, "float32")
        values = ops.maximum(ops.cast(inputs, "float32"), 1e-6)
        largest = ops.max(values, (1, 2), keepdims=True)
        mean = ops.mean((values / largest) ** exponent, (1, 2))
        return ops.reshape(largest, ops.shape(mean)) * mean ** (1 / exponent)


def build(
    backbone: str,
    image_size: int,
    channels: int = 3,
    weights: str = "none",
    dropout: float = 0.5,
    intensity: str = "linear",
    input_scaling: str = "study",
    head: str = "study",
) -> keras.Model:
    """Build a network.

    Args:
        backbone: A key of `backbones.BACKBONES`.
        image_size: Height and width of the input in pixels, at least 75.
        channels: Channels of the input.
        weights: ``"imagenet"``, ``"none"`` for random initial weights, or the path of a file
            with weights of the backbone without top. Weights for three channels are extended to
            four, see `backbones.build`.
        dropout: Share of the features that each of the two dropout layers leaves out in
            training, from 0 to below 1; the study's is one half.
        intensity: One of `INTENSITIES`: ``"linear"`` as in the study, or ``"square_root"``; see
            `SquareRoot`.
        input_scaling: One of `INPUT_SCALINGS`.
        head: One of `HEADS`.

    Returns:
        A model that maps images of shape (samples, image_size, image_size, channels), values
        0–255, to probabilities of shape (samples, 28).

    Raises:
        HpaError: If a name is unknown, or the weights can't be had or don't fit.
    """
    for name, value, known in (
        ("Intensity", intensity, INTENSITIES),
        ("Input scaling", input_scaling, INPUT_SCALINGS),
        ("Head", head, HEADS),
        ("Backbone", backbone, tuple(backbones.BACKBONES)),
    ):
        if value not in known:
            raise HpaError(f"{name} {value!r} is unknown.", f"There are: {', '.join(known)}.")
    inputs = keras.Input((image_size, image_size, channels), name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale_to_unit")(inputs)
    if intensity == "square_root":
        scaled = SquareRoot(name="square_root")(scaled)
    if input_scaling == "study":
        scaled = keras.layers.BatchNormalization(name="input_normalization")(scaled)
    else:
        scaled = backbones.scale_input(backbone, scaled)
    shape = (image_size, image_size, channels)
    features = _flat(head, backbones.build(backbone, shape, weights)(scaled))
    hidden = keras.layers.Dropout(dropout, name="dropout_features")(features)
    hidden = keras.layers.Dense(512, activation="relu", name="hidden")(hidden)
    hidden = keras.layers.Dropout(dropout, name="dropout_hidden")(hidden)
    outputs = keras.layers.Dense(
        labels.CLASS_COUNT, activation="sigmoid", dtype="float32", name="probabilities"
    )(hidden)
    model = keras.Model(inputs, outputs, name=f"{head}_{backbone.lower()}")
    devices.synchronize(model)
    return model


def configured(values: TrainParameters, channels: int) -> keras.Model:
    """Build the network that a training notebook's parameters describe; see `build`."""
    return build(
        values.backbone,
        values.image_size,
        channels,
        values.weights,
        values.dropout,
        values.intensity,
        values.input_scaling,
        values.head,
    )


def freeze_backbone(model: keras.Model, freeze: bool) -> None:
    """Keep the backbone's weights as they are, or let them train.

    While frozen, the backbone's batch normalization also keeps its moving statistics and runs
    in inference mode. Takes effect when the model is compiled.
    """
    for backbone in _backbones(model):
        backbone.trainable = not freeze


def backbone_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights of the backbone that training changes."""
    return [variable for layer in _backbones(model) for variable in layer.trainable_variables]


def split_at_features(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A network from `build` as two that share its layers.

    Returns:
        The backbone with all before it, and what pools its features without weights; the head,
        which maps these features to probabilities.
    """
    first = next(layer for layer in model.layers if layer.name in _HEAD_BEGINNINGS)
    features = first.input if first.weights else first.output
    return keras.Model(model.inputs, features), keras.Model(features, model.outputs)


def layer_table(model: keras.Model) -> pd.DataFrame:
    """Layers with their kind, output shape and number of parameters, and the sum of all."""
    rows = [
        (layer.name, type(layer).__name__, str(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    rows.append(("all layers", "", "", model.count_params()))
    table = pd.DataFrame(rows, columns=["layer", "kind", "output shape", "parameters"])
    return table.set_index("layer")


def _backbones(model: keras.Model) -> list[keras.layers.Layer]:
    """The backbone of a network; a head alone has none."""
    return [layer for layer in model.layers if layer.name == BACKBONE_LAYER]


_HEAD_BEGINNINGS = ("reduce_channels", "pooling")
"""First layer of a head."""


def _flat(head: str, features: keras.KerasTensor) -> keras.KerasTensor:
    """Features of whole images, shape (samples, features)."""
    if head == "study":
        reduced = keras.layers.Conv2D(128, 1, activation="relu", name="reduce_channels")(features)
        return keras.layers.Flatten(name="flatten")(reduced)
    pooling = {
        "average": keras.layers.GlobalAveragePooling2D,
        "average_max": AverageAndMaximum,
        "generalized_mean": GeneralizedMean,
    }
    return pooling[head](name="pooling")(features)
