import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from hpa_lib import calibration
from hpa_lib.errors import HpaError

# As float32 sigmoids give them: the extremes too.
PROBABILITIES = np.array([0, 1e-40, 1e-30, 1e-7, 0.01, 0.3, 0.5, 0.9, 1 - 2**-24, 1], np.float32)


@st.composite
def entries(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(2, 40)), draw(st.integers(2, 5))
    probability = generator.choice(PROBABILITIES, shape)
    return (generator.random(shape) < generator.random()).astype(np.uint8), probability


def exact(*blocks):
    """Truth and probability of two classes from (probability, entries, positives)."""
    probability = np.concatenate([np.full(count, value) for value, count, _ in blocks])
    truth = np.concatenate([np.arange(count) < positives for _, count, positives in blocks])
    return truth.astype(int).reshape(-1, 2), probability.reshape(-1, 2)


def test_calibrated_probabilities_keep_their_temperature():
    truth, probability = exact((0.1, 20, 2), (0.25, 40, 10), (0.75, 8, 6))
    assert calibration.fit_temperature(truth, probability) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 3])
def test_the_temperature_that_spoiled_probabilities_is_found(temperature):
    """Logits are log 9 and log 3 of each sign, times `temperature`."""
    spoiled = [odds**temperature / (1 + odds**temperature) for odds in (1 / 9, 1 / 3, 3)]
    truth, probability = exact(*zip(spoiled, (20, 40, 8), (2, 10, 6), strict=True))
    found = calibration.fit_temperature(truth, probability)
    assert found == pytest.approx(temperature, rel=1e-4)
    restored = np.unique(calibration.scaled(probability, found).round(3))
    np.testing.assert_allclose(restored, [0.1, 0.25, 0.75])


def test_scaling_divides_logits():
    # Odds of 9 to 1 become 3 to 1 under the square root, and 81 to 1 under the square.
    np.testing.assert_allclose(calibration.scaled([[0.9, 0.1]], 2), [[0.75, 0.25]])
    np.testing.assert_allclose(calibration.scaled([[0.9, 0.1]], 0.5), [[81 / 82, 1 / 82]])


@settings(max_examples=60, deadline=None)
@given(entries(), st.floats(calibration.LOWEST_TEMPERATURE, calibration.HIGHEST_TEMPERATURE))
def test_scaling_keeps_the_order_of_all_entries(samples, temperature):
    _, probability = samples
    after = calibration.scaled(probability, temperature)
    assert ((after >= 0) & (after <= 1)).all()
    assert (np.diff(after.ravel()[np.argsort(probability.ravel())]) >= 0).all()


def test_scaling_tells_small_probabilities_apart():
    after = calibration.scaled(PROBABILITIES[2:9], 3)
    assert (np.diff(after) > 0).all()


@settings(max_examples=60, deadline=None)
@given(entries())
def test_no_temperature_is_better_than_the_fitted_one(samples):
    truth, probability = samples
    found = calibration.fit_temperature(truth, probability)
    others = np.geomspace(calibration.LOWEST_TEMPERATURE, calibration.HIGHEST_TEMPERATURE, 25)
    losses = [
        calibration.cross_entropy(truth, calibration.scaled(probability, other)).mean()
        for other in (found, 1.0, *others)
    ]
    assert losses[0] <= min(losses) * (1 + 1e-5) + 1e-6


def test_a_temperature_is_above_0():
    with pytest.raises(HpaError, match="temperature is 0"):
        calibration.scaled([[0.5]], 0)


def test_cross_entropy_and_brier_score_equal_scikit_learns():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, (50, 3))
    probability = generator.random((50, 3))
    found = calibration.cross_entropy(truth, probability)
    assert found.mean() == pytest.approx(log_loss(truth.ravel(), probability.ravel()))
    errors = calibration.squared_error(truth, probability)
    assert errors.mean() == pytest.approx(brier_score_loss(truth.ravel(), probability.ravel()))
    for column in range(3):
        wanted = brier_score_loss(truth[:, column], probability[:, column])
        assert errors[:, column].mean() == pytest.approx(wanted)


def test_cross_entropy_is_finite_where_a_sigmoid_has_run_out_of_numbers():
    found = calibration.cross_entropy(np.array([[1, 0]]), np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(found, [[126 * np.log(2), 24 * np.log(2)]])


def test_calibration_error_is_0_where_shares_equal_probabilities():
    truth, probability = exact((0.25, 40, 10), (0.75, 8, 6))
    assert calibration.expected_calibration_error(truth, probability) == pytest.approx(0)


def test_calibration_errors_by_hand():
    # Class a gives 0.45 and has none of two, class b gives 0.45 and has both: together 0.45
    # against a share of 0.5, by themselves 0.45 and 0.55.
    truth, probability = np.array([[0, 1], [0, 1]]), np.full((2, 2), 0.45)
    pooled = calibration.expected_calibration_error(truth, probability)
    by_class = calibration.expected_calibration_error(truth, probability, class_wise=True)
    assert pooled == pytest.approx(0.05)
    assert by_class == pytest.approx(0.5)


def test_reliability_by_hand():
    # 0.2 opens the third bin, and 1 is in the last.
    probability = np.array([[0.05, 0.2], [0.07, 0.24], [0.95, 1.0]])
    truth = np.array([[0, 0], [0, 1], [1, 1]])
    table = calibration.reliability(truth, probability)
    assert table.index.tolist() == [0, 2, 9]
    np.testing.assert_allclose(table["from"], [0, 0.2, 0.9])
    np.testing.assert_allclose(table["to"], [0.1, 0.3, 1])
    assert table["entries"].tolist() == [2, 2, 2]
    np.testing.assert_allclose(table["mean_probability"], [0.06, 0.22, 0.975])
    np.testing.assert_allclose(table["observed_share"], [0, 0.5, 1])
    # Wilson: (k + z²/2) / (n + z²) ∓ z √(k (n − k) / n + z²/4) / (n + z²), here n = 2, k = 1.
    z = 1.959964
    half = z * np.sqrt(1 / 2 + z**2 / 4) / (2 + z**2)
    np.testing.assert_allclose(table.loc[2, ["low", "high"]], [0.5 - half, 0.5 + half], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(entries())
def test_calibration_error_is_the_mean_distance_in_the_reliability_table(samples):
    truth, probability = samples
    table = calibration.reliability(truth, probability)
    distance = (table["mean_probability"] - table["observed_share"]).abs()
    wanted = np.average(distance, weights=table["entries"])
    found = calibration.expected_calibration_error(truth, probability)
    assert found == pytest.approx(wanted)
    assert table["entries"].sum() == truth.size
    slack = 1e-9
    assert (table["low"] <= table["observed_share"] + slack).all()
    assert (table["high"] >= table["observed_share"] - slack).all()
