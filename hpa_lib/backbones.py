"""Backbones from Keras, the input that their ImageNet weights expect, and these weights.

A backbone takes a line in `BACKBONES`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hpa_lib import parameters, paths
from hpa_lib.backend import keras
from hpa_lib.errors import HpaError

BACKBONE_LAYER = "backbone"
"""Name of the backbone's layer in a network."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, on a scale from 0 to 1."""

_CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Of ImageNet's blue, green and red, on a scale from 0 to 255."""


@dataclass(frozen=True)
class Backbone:
    """A network without top.

    Attributes:
        constructor: Takes ``weights``, ``include_top``, ``input_shape`` and ``name``, and gives a
            Keras model that doesn't scale its input itself.
        scaling: What its ImageNet weights expect: ``symmetric``, values from -1 to 1;
            ``standardized`` by ImageNet's means and deviations; ``caffe``, blue first, values
            from 0 to 255 minus ImageNet's means.
    """

    constructor: Callable[..., keras.Model]
    scaling: str


def _bare(constructor: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """A constructor without scaling inside; some take no other name than their own."""

    def build_bare(name: str, **options: Any) -> keras.Model:
        model = constructor(include_preprocessing=False, **options)
        return keras.Model(model.inputs, model.outputs, name=name)

    return build_bare


BACKBONES: dict[str, Backbone] = {
    "InceptionResNetV2": Backbone(keras.applications.InceptionResNetV2, "symmetric"),
    "VGG16": Backbone(keras.applications.VGG16, "caffe"),
    "ResNet50V2": Backbone(keras.applications.ResNet50V2, "symmetric"),
    "DenseNet121": Backbone(keras.applications.DenseNet121, "standardized"),
    "EfficientNetV2S": Backbone(_bare(keras.applications.EfficientNetV2S), "symmetric"),
    "ConvNeXtTiny": Backbone(_bare(keras.applications.ConvNeXtTiny), "standardized"),
}
"""Backbones by name."""


@keras.saving.register_keras_serializable("hpa_lib")
class BlueFirst(keras.layers.Layer):
    """Exchanges the first and the third channel; others stay."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Same shape and dtype."""
        rest = range(3, inputs.shape[-1])
        return keras.ops.take(inputs, [2, 1, 0, *rest], axis=-1)


def scale_input(backbone: str, values: keras.KerasTensor) -> keras.KerasTensor:
    """Scale values from 0 to 1 as a backbone's ImageNet weights expect; see `Backbone`.

    A fourth channel is scaled by the averages of the other three's constants.
    """
    channels, scaling = values.shape[-1], BACKBONES[backbone].scaling
    if scaling == "symmetric":
        scale, offset = 2.0, -1.0
    elif scaling == "standardized":
        mean, deviation = _extended(_MEAN, channels), _extended(_DEVIATION, channels)
        scale, offset = (1 / deviation).tolist(), (-mean / deviation).tolist()
    else:
        values = BlueFirst(name="blue_first")(values)
        scale, offset = 255.0, (-_extended(_CAFFE_MEAN, channels)).tolist()
    return keras.layers.Rescaling(scale, offset, name="input_scaling")(values)


def build(name: str, shape: tuple[int, int, int], weights: str) -> keras.Model:
    """Build a backbone with its initial weights.

    Weights for three channels become weights for four so that an image with four equal channels
    gives the first layer's response to three such channels: the fourth channel gets the average
    of the other three, and all are multiplied by ¾.

    Args:
        name: A key of `BACKBONES`.
        shape: Height, width and channels of its input.
        weights: ``"imagenet"``, ``"none"``, or the path of a file.

    Raises:
        HpaError: If the weights can't be had or don't fit.
    """
    if weights == "none":
        return _random(name, shape)
    if weights == "imagenet":
        return _with_channels(_imagenet(name, (*shape[:2], 3)), name, shape)
    path = parameters.weights_file(weights)
    model = _random(name, shape)
    refused = _load(model, path)
    if refused and shape[2] != 3:
        three = _random(name, (*shape[:2], 3))
        if not _load(three, path):
            return _with_channels(three, name, shape)
    if refused:
        raise HpaError(
            f"Weights {path} don't fit {name} for input {shape}: {refused}",
            "Give weights of this backbone, without top and for as many channels, or for three.",
        )
    return model


def weights_description(weights: str) -> str:
    """The initial weights in words, for headings."""
    known = {"imagenet": "ImageNet weights", "none": "random initial weights"}
    return known.get(weights, f"weights of {Path(weights).name}")


def _options(shape: tuple[int, int, int]) -> dict[str, Any]:
    return {"include_top": False, "input_shape": shape, "name": BACKBONE_LAYER}


def _random(name: str, shape: tuple[int, int, int]) -> keras.Model:
    with warnings.catch_warnings():
        # Keras warns of four channels, which only pretrained weights mind.
        warnings.filterwarnings("ignore", "This model usually expects")
        return BACKBONES[name].constructor(weights=None, **_options(shape))


def _imagenet(name: str, shape: tuple[int, int, int]) -> keras.Model:
    try:
        return BACKBONES[name].constructor(weights="imagenet", **_options(shape))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        if "URL fetch failure" not in str(error):
            raise
        raise HpaError(
            f"ImageNet weights of {name} (parameter weights) can't be downloaded: {error}.",
            f"Download that file elsewhere and put it into {paths.keras_weights_folder()}, name "
            "another file in weights, or set weights to 'none'.",
        ) from error


def _load(model: keras.Model, path: Path) -> str:
    """Load weights; the reason where they don't fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one for each layer that doesn't fit
            model.load_weights(path)
    except (ValueError, OSError, BadZipFile) as error:
        return str(error).splitlines()[0]  # the other lines list all layers
    return ""


def _with_channels(three: keras.Model, name: str, shape: tuple[int, int, int]) -> keras.Model:
    """The same backbone for other channels than three."""
    if shape[2] == 3:
        return three
    model = _random(name, shape)
    for target, weight in zip(model.weights, three.weights, strict=True):
        value = weight.numpy()
        if target.shape != weight.shape:  # the first convolution: height, width, channels, outputs
            extra = np.repeat(value.mean(axis=2, keepdims=True), shape[2] - 3, axis=2)
            value = np.concatenate([value, extra], axis=2) * (3 / shape[2])
        target.assign(value)
    return model


def _extended(constants: tuple[float, float, float], channels: int) -> np.ndarray:
    return np.array([*constants, *[np.mean(constants)] * (channels - 3)])
