import keras
import numpy as np
import pytest

from hpa_lib import backbones, devices, initialization, models, splits
from hpa_lib.parameters import TrainParameters

FREQUENCY = np.linspace(0.0, 0.4, 28)


def chain_backbone(*, weights, include_top, input_shape, name):
    """Eight convolutions without batch normalization, as in VGG16."""
    inputs = signal = keras.Input(input_shape)
    for number in range(8):
        signal = keras.layers.Conv2D(
            8, 3, padding="same", activation="relu", name=f"convolution_{number}"
        )(signal)
    return keras.Model(inputs, signal, name=name)


def normalized_backbone(*, weights, include_top, input_shape, name):
    inputs = keras.Input(input_shape)
    signal = keras.layers.Conv2D(4, 3, name="convolution")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(signal), name=name)


@pytest.fixture
def pixels():
    """Images that differ in colour and in a coarse pattern."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 200, (32, 3, 3, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + random.integers(0, 56, (32, 12, 12, 3))).astype(np.uint8)


@pytest.fixture
def build(monkeypatch):
    def made(backbone):
        monkeypatch.setitem(backbones.BACKBONES, "Toy", backbones.Backbone(backbone, "symmetric"))
        devices.prepare(TrainParameters(cpu_threads=0))
        return models.build("Toy", 12)

    return made


def test_every_channel_has_mean_0_and_variance_1_before_its_activation(build, pixels):
    model = build(chain_backbone)
    initialization.fit_to_data(model, pixels, FREQUENCY)
    signal = pixels.astype(np.float32)
    for layer in model.layers[1:3]:
        signal = layer(signal, training=True)
    for layer in model.get_layer("backbone").layers[1:]:
        layer.activation = keras.activations.linear
        values = layer(signal).numpy()
        np.testing.assert_allclose(values.mean(axis=(0, 1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(values.std(axis=(0, 1, 2)), 1, rtol=1e-3)
        signal = np.maximum(values, 0)


def test_different_images_stay_different_through_a_deep_chain(build, pixels):
    """What Keras' default weights fail at: features of two images point into one direction."""

    def likeness(model):
        signal = pixels.astype(np.float32)
        for layer in model.layers[1:4]:
            signal = layer(signal, training=True)
        features = signal.numpy().reshape(len(pixels), -1)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return (unit @ unit.T)[np.triu_indices(len(pixels), k=1)].mean()

    default = likeness(build(chain_backbone))
    model = build(chain_backbone)
    initialization.fit_to_data(model, pixels, FREQUENCY)
    assert 1 - likeness(model) > 2 * (1 - default)


def test_backbone_with_batch_normalization_is_left_as_it_is(build, pixels):
    model = build(normalized_backbone)
    before = model.get_layer("backbone").get_weights()[:2]
    initialization.fit_to_data(model, pixels, FREQUENCY)
    for earlier, now in zip(before, model.get_layer("backbone").get_weights()[:2], strict=True):
        np.testing.assert_array_equal(earlier, now)


def test_first_predictions_are_near_the_class_frequencies(build, pixels):
    model = build(chain_backbone)
    initialization.fit_to_data(model, pixels, FREQUENCY)
    predicted = model(pixels.astype(np.float32), training=False).numpy().mean(axis=0)
    np.testing.assert_allclose(predicted[1:], FREQUENCY[1:], rtol=0.25)
    assert 0 < predicted[0] < 0.01


def test_same_seed_gives_the_same_weights(build, pixels):
    weights = []
    for _ in range(2):
        model = build(chain_backbone)
        initialization.fit_to_data(model, pixels, FREQUENCY)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("choice", "changed"),
    [
        ({"random_weights": "scaled"}, True),
        ({"random_weights": "keras"}, False),
        ({"weights": "imagenet"}, False),
    ],
)
def test_parameters_decide(build, labelled, array_source, pixels, choice, changed):
    model = build(chain_backbone)
    before = model.get_weights()
    dataset = labelled([(row % 28,) for row in range(32)])
    initialization.initialize(
        model, array_source(pixels), dataset, splits.stratified_split(dataset),
        TrainParameters(**choice),
    )  # fmt: skip
    same = all(
        np.array_equal(earlier, now)
        for earlier, now in zip(before, model.get_weights(), strict=True)
    )
    assert same != changed
