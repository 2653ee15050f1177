import keras
import numpy as np
import pytest

from hpa_lib.weight_averages import WeightAverage


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )


def test_average_written_out(model):
    average, kernel = WeightAverage(model, 0.5), model.layers[0].kernel
    expected = kernel.numpy().astype(np.float64)
    for update in range(30):
        kernel.assign(np.full((3, 2), update, np.float32))
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
    with average.applied():
        np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(kernel.numpy(), np.full((3, 2), 29))
    average.apply()
    np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5)


def test_statistics_of_batch_normalization_are_not_averaged(model):
    average = WeightAverage(model, 0.9)
    model.layers[1].moving_mean.assign([5.0, 5.0])
    average.update()
    with average.applied():
        assert model.layers[1].moving_mean.numpy().tolist() == [5, 5]


def test_weights_return_after_an_error(model):
    average, kernel = WeightAverage(model, 0.9), model.layers[0].kernel
    kernel.assign(np.ones((3, 2)))
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    np.testing.assert_array_equal(kernel.numpy(), np.ones((3, 2)))


def test_variables_carry_the_average_over_an_interruption(model):
    whole, kernel = WeightAverage(model, 0.9), model.layers[0].kernel
    for step in range(6):
        if step == 3:
            kept = [variable.numpy() for variable in whole.variables]
        kernel.assign(np.full((3, 2), step, np.float32))
        whole.update()
    resumed = WeightAverage(model, 0.9)
    for variable, value in zip(resumed.variables, kept, strict=True):
        variable.assign(value)
    for step in range(3, 6):
        kernel.assign(np.full((3, 2), step, np.float32))
        resumed.update()
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
