import keras
import numpy as np
import pytest

from hpa_lib.inference import Predictor


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Rescaling(1 / 255),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(28, activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_equals_the_model_s_own_prediction(network, pixels, array_source, batch_size):
    found = Predictor(network, batch_size)(array_source(pixels), np.arange(11))
    assert found.shape == (11, 28)
    assert found.dtype == np.float32
    wanted = network.predict(pixels.astype(np.float32), verbose=0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_all_views_are_the_eight_flips_and_turns(network, pixels, array_source):
    predict, rows = Predictor(network, 4), np.arange(11)
    averaged = predict(array_source(pixels), rows, all_views=True)
    turned = [np.rot90(pixels, turns, (1, 2)) for turns in range(4)]
    views = [*turned, *(view[:, ::-1] for view in turned)]
    single = [predict(array_source(np.ascontiguousarray(view)), rows) for view in views]
    np.testing.assert_allclose(averaged, np.mean(single, axis=0), atol=1e-6)
    for view in views:  # whichever way the field lay under the microscope
        found = predict(array_source(np.ascontiguousarray(view)), rows, all_views=True)
        np.testing.assert_allclose(found, averaged, atol=1e-6)
    assert np.abs(averaged - single[0]).max() > 1e-3


def test_keeps_the_order_of_rows_and_their_repetitions(network, pixels, array_source):
    predict, source = Predictor(network, 2), array_source(pixels)
    everything = predict(source, np.arange(11))
    rows = [9, 0, 9, 3, 4]
    np.testing.assert_allclose(predict(source, rows), everything[rows], atol=1e-6)


def test_bytes_and_floats_give_the_same(network, pixels, array_source):
    predict = Predictor(network)
    floats = array_source(pixels.astype(np.float32))
    np.testing.assert_array_equal(
        predict(array_source(pixels), np.arange(5)), predict(floats, np.arange(5))
    )


def test_no_row_gives_an_empty_array(network, pixels, array_source):
    found = Predictor(network)(array_source(pixels), np.array([], dtype=np.int64))
    assert (found.shape, found.dtype) == ((0, 28), np.float32)


def test_always_uses_the_present_weights(network, pixels, array_source):
    predict, source = Predictor(network), array_source(pixels)
    before = predict(source, np.arange(11))
    kept = network.get_weights()
    network.set_weights([weight * 0.5 + 0.1 for weight in kept])
    after = predict(source, np.arange(11))
    np.testing.assert_allclose(after, network.predict(pixels, verbose=0), atol=1e-6)
    assert np.abs(after - before).max() > 1e-3
    network.set_weights(kept)
    np.testing.assert_array_equal(predict(source, np.arange(11)), before)


def test_dropout_and_batch_statistics_are_off(network, pixels, array_source):
    predict, source = Predictor(network), array_source(pixels)
    alone = predict(source, [3])
    np.testing.assert_allclose(predict(source, np.arange(11))[3:4], alone, atol=1e-6)
