"""The reference study's network on a choice of backbones.

    image 0–255 → divide by 255 (→ square root) → batch normalization → backbone without top
    → 1×1 convolution, 128, ReLU → flatten → dropout ½ → dense 512, ReLU → dropout ½
    → dense 28, sigmoid

The study's text speaks of a 3×3 convolution; its parameter counts prove 1×1. The square root is
ours and can be left out.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from hpa_lib import labels, paths
from hpa_lib.backend import keras
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "InceptionResNetV2": keras.applications.InceptionResNetV2,
    "VGG16": keras.applications.VGG16,
}
"""Backbones by name."""

BACKBONE_LAYER = "backbone"


INTENSITIES: tuple[str, ...] = ("linear", "square_root")
"""How the network sees pixel values."""


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


def build(
    backbone: str,
    image_size: int,
    channels: int = 3,
    weights: str = "none",
    dropout: float = 0.5,
    intensity: str = "linear",
) -> keras.Model:
    """Build the study's network.

    Args:
        backbone: A key of `BACKBONES`.
        image_size: Height and width of the input in pixels, at least 75.
        channels: Channels of the input; ImageNet weights need 3.
        weights: ``"imagenet"``, ``"none"`` for random initial weights, or the path of a file
            with weights of the backbone without top.
        dropout: Share of the features that each of the two dropout layers leaves out in
            training, from 0 to below 1; the study's is one half.
        intensity: One of `INTENSITIES`: ``"linear"`` as in the study, or ``"square_root"``; see
            `SquareRoot`.

    Returns:
        A model that maps images of shape (samples, image_size, image_size, channels), values
        0–255, to probabilities of shape (samples, 28).

    Raises:
        HpaError: If backbone or intensity is unknown, or the weights can't be had or don't fit.
    """
    if intensity not in INTENSITIES:
        raise HpaError(f"Intensity {intensity!r} is unknown.", f"Try {', '.join(INTENSITIES)}.")
    if backbone not in BACKBONES:
        raise HpaError(f"Backbone {backbone!r} is unknown.", f"There are: {', '.join(BACKBONES)}.")
    inputs = keras.Input((image_size, image_size, channels), name="image")
    scaled = keras.layers.Rescaling(1 / 255, name="scale_to_unit")(inputs)
    if intensity == "square_root":
        scaled = SquareRoot(name="square_root")(scaled)
    normalized = keras.layers.BatchNormalization(name="input_normalization")(scaled)
    features = _backbone(backbone, (image_size, image_size, channels), weights)(normalized)
    reduced = keras.layers.Conv2D(128, 1, activation="relu", name="reduce_channels")(features)
    flat = keras.layers.Flatten(name="flatten")(reduced)
    hidden = keras.layers.Dropout(dropout, name="dropout_features")(flat)
    hidden = keras.layers.Dense(512, activation="relu", name="hidden")(hidden)
    hidden = keras.layers.Dropout(dropout, name="dropout_hidden")(hidden)
    outputs = keras.layers.Dense(
        labels.CLASS_COUNT, activation="sigmoid", dtype="float32", name="probabilities"
    )(hidden)
    return keras.Model(inputs, outputs, name=f"study_{backbone.lower()}")


def configured(backbone: str, channels: int, values: TrainParameters) -> keras.Model:
    """Build the network that a training notebook's parameters describe; see `build`."""
    return build(
        backbone, values.image_size, channels, values.weights, values.dropout, values.intensity
    )


def freeze_backbone(model: keras.Model, freeze: bool) -> None:
    """Keep the backbone's weights as they are, or let them train.

    While frozen, the backbone's batch normalization also keeps its moving statistics and runs
    in inference mode. Takes effect when the model is compiled.
    """
    model.get_layer(BACKBONE_LAYER).trainable = not freeze


def layer_table(model: keras.Model) -> pd.DataFrame:
    """Layers with their kind, output shape and number of parameters, and the sum of all."""
    rows = [
        (layer.name, type(layer).__name__, str(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    rows.append(("all layers", "", "", model.count_params()))
    table = pd.DataFrame(rows, columns=["layer", "kind", "output shape", "parameters"])
    return table.set_index("layer")


def weights_description(weights: str) -> str:
    """The initial weights in words, for headings."""
    known = {"imagenet": "ImageNet weights", "none": "random initial weights"}
    return known.get(weights, f"weights of {Path(weights).name}")


def _backbone(name: str, shape: tuple[int, int, int], weights: str) -> keras.Model:
    constructor = BACKBONES[name]
    options = {"include_top": False, "input_shape": shape, "name": BACKBONE_LAYER}
    if weights == "none":
        return _random(constructor, options)
    if weights == "imagenet":
        if shape[2] != 3:
            raise HpaError(
                f"Parameter weights is 'imagenet', but the input has {shape[2]} channels.",
                "ImageNet weights need composition 'composite'; else set weights to 'none'.",
            )
        return _imagenet_backbone(constructor, options, name)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise HpaError(
            f"Parameter weights names {weights!r}, which is neither 'imagenet', 'none' nor a file.",
            "Give the path of a .h5 or .weights.h5 file with weights of the backbone.",
        )
    model = _random(constructor, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for each layer that doesn't fit
            model.load_weights(path)
    except (ValueError, OSError, BadZipFile) as error:
        reason = str(error).splitlines()[0]  # the other lines list all layers
        raise HpaError(
            f"Weights {path} don't fit {name} for input {shape}: {reason}",
            "Give weights of this backbone, without top and with the same number of channels.",
        ) from error
    return model


def _random(constructor: Callable[..., keras.Model], options: dict) -> keras.Model:
    with warnings.catch_warnings():
        # Keras warns of four channels, which only pretrained weights mind.
        warnings.filterwarnings("ignore", "This model usually expects")
        return constructor(weights=None, **options)


def _imagenet_backbone(
    constructor: Callable[..., keras.Model], options: dict, name: str
) -> keras.Model:
    try:
        return constructor(weights="imagenet", **options)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        if "URL fetch failure" not in str(error):
            raise
        raise HpaError(
            f"ImageNet weights of {name} (parameter weights) can't be downloaded: {error}.",
            f"Download that file elsewhere and put it into {paths.keras_weights_folder()}, name "
            "another file in weights, or set weights to 'none'.",
        ) from error
