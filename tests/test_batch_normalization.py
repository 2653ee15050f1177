import keras
import numpy as np
import pytest

from hpa_lib.batch_normalization import Reestimator


@pytest.fixture
def model():
    inputs = keras.Input((4, 4, 2))
    hidden = keras.layers.Conv2D(3, 1, name="mix")(inputs)
    outputs = keras.layers.BatchNormalization(name="normalization")(hidden)
    return keras.Model(inputs, outputs)


def batches(count=5):
    random = np.random.default_rng(0)
    return [random.normal(3, 2, (6, 4, 4, 2)).astype(np.float32) for _ in range(count)]


def test_statistics_are_the_plain_average_over_the_batches(model):
    given = batches()
    mixed = [model.get_layer("mix")(images).numpy() for images in given]
    Reestimator(model)(given)
    layer = model.get_layer("normalization")
    means = np.mean([values.mean(axis=(0, 1, 2)) for values in mixed], axis=0)
    variances = np.mean([values.var(axis=(0, 1, 2)) for values in mixed], axis=0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), means, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variances, rtol=1e-5)


def test_what_was_there_before_leaves_no_trace(model):
    layer = model.get_layer("normalization")
    layer.moving_mean.assign([1e3, -1e3, 7])
    Reestimator(model)(batches(1))
    assert abs(layer.moving_mean.numpy()).max() < 100


def test_trained_weights_and_momentum_stay(model):
    before = [weight.numpy() for weight in model.trainable_weights]
    momentum = model.get_layer("normalization").momentum
    Reestimator(model)(batches())
    for earlier, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(earlier, weight.numpy())
    assert model.get_layer("normalization").momentum == momentum


def test_frozen_layer_keeps_its_statistics(model):
    layer = model.get_layer("normalization")
    layer.trainable = False
    Reestimator(model)(batches())
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(3))


def test_layers_inside_a_nested_model_are_found(model):
    inputs = keras.Input((4, 4, 2))
    outer = keras.Model(inputs, model(inputs))
    Reestimator(outer)(batches())
    assert model.get_layer("normalization").moving_mean.numpy().any()
