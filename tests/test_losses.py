import keras
import numpy as np
import pytest
import tensorflow as tf

from hpa_lib import losses
from hpa_lib.errors import HpaError

RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((6, 28)) < 0.2).astype(np.float64)
PROBABILITY = RANDOM.uniform(0.02, 0.98, (6, 28))


def value(name, truth, probability, **options):
    return float(losses.create(name, **options)(truth, probability))


def test_binary_crossentropy_is_the_study_s():
    expected = keras.losses.binary_crossentropy(TRUTH, PROBABILITY)
    assert value("binary_crossentropy", TRUTH, PROBABILITY) == pytest.approx(
        float(np.mean(expected)), rel=1e-6
    )


def test_focal_loss_written_out():
    right = np.where(TRUTH == 1, PROBABILITY, 1 - PROBABILITY)
    expected = -((1 - right) ** 2 * np.log(right)).mean()
    assert value("focal", TRUTH, PROBABILITY) == pytest.approx(expected, rel=1e-5)


def test_asymmetric_loss_written_out():
    shifted = np.maximum(PROBABILITY - 0.05, 0)
    costs = np.where(TRUTH == 1, np.log(PROBABILITY), shifted**4 * np.log(1 - shifted))
    assert value("asymmetric", TRUTH, PROBABILITY) == pytest.approx(-costs.mean(), rel=1e-5)


def test_soft_f1_of_decisions_is_macro_f1():
    truth = np.array([[1, 0], [1, 1], [0, 0]])
    decided = np.array([[1, 1], [0, 1], [0, 0]])  # F1: 2/3 and 2/3
    assert value("soft_f1", truth, decided) == pytest.approx(1 / 3, abs=1e-6)


def test_label_smoothing_draws_labels_towards_one_half():
    smoothed = TRUTH * 0.9 + 0.05
    for name in losses.SMOOTHED:
        given = value(name, TRUTH, PROBABILITY, label_smoothing=0.1)
        assert given == pytest.approx(value(name, smoothed, PROBABILITY), rel=1e-5)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    loss = losses.create(name)

    def total(probability):
        return tf.reduce_mean(loss.call(tf.constant(TRUTH), probability))

    variable = tf.Variable(PROBABILITY)
    with tf.GradientTape() as tape:
        at = total(variable)
    gradient = tape.gradient(at, variable).numpy()
    assert np.abs(gradient).max() > 1e-4
    step = 1e-6
    for position in RANDOM.choice(PROBABILITY.size, 30):
        row, column = divmod(position, TRUTH.shape[1])
        change = np.zeros_like(PROBABILITY)
        change[row, column] = step
        slope = (total(PROBABILITY + change) - total(PROBABILITY - change)) / (2 * step)
        assert gradient[row, column] == pytest.approx(float(slope), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_certain_predictions_give_finite_losses_and_gradients(name):
    loss = losses.create(name)
    for probability in (0.0, 1.0, 1e-8, 1 - 1e-7, 0.05):
        variable = tf.Variable(tf.fill(TRUTH.shape, tf.constant(probability, tf.float32)))
        with tf.GradientTape() as tape:
            at = loss(tf.constant(TRUTH, tf.float32), variable)
        assert np.isfinite(at)
        assert np.isfinite(tape.gradient(at, variable)).all()


def test_an_absent_label_under_the_margin_costs_nothing():
    assert value("asymmetric", np.zeros((1, 2)), np.array([[0.04, 0.0]])) == pytest.approx(0)


def test_unknown_loss():
    with pytest.raises(HpaError, match="'hinge'"):
        losses.create("hinge")


def test_label_smoothing_where_it_does_not_go():
    with pytest.raises(HpaError, match=r"label_smoothing is 0.1 while loss is 'soft_f1'"):
        losses.create("soft_f1", 0.1)
