import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_lib import calibration, ensembles
from hpa_lib.errors import HpaError


def loss(truth, probability):
    return calibration.cross_entropy(truth, probability).mean()


@st.composite
def networks(draw):
    """Truth and the probabilities of two to four networks, some of them sure and wrong."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 40)), draw(st.integers(2, 4))
    truth = (generator.random(shape) < 0.3).astype(np.uint8)
    sharpness = draw(st.sampled_from([0.5, 3, 30, 300]))
    members = []
    for skill in generator.normal(size=draw(st.integers(2, 4))):
        logits = skill * (2.0 * truth - 1) + generator.normal(size=shape)
        with np.errstate(over="ignore"):
            probability = (1 / (1 + np.exp(-sharpness * logits))).astype(np.float32)
        members.append(np.clip(probability, calibration.LOWEST, calibration.HIGHEST))
    return truth, members


@settings(max_examples=80, deadline=None)
@given(networks())
def test_no_network_no_average_and_no_other_weights_are_better(drawn):
    truth, members = drawn
    weights = ensembles.fit_weights(truth, members)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    found = loss(truth, ensembles.average(members, weights))
    corners = np.eye(len(members))
    # The loss falls towards no corner, and is convex.
    others = [*corners, *(0.99 * weights + 0.01 * corners), np.full(len(members), 1 / len(members))]
    for other in others:
        assert found <= loss(truth, ensembles.average(members, other)) + 1e-6


def test_weights_by_hand():
    # One network gives 0.8 to what is so and 0.2 to the rest in three entries of four, the other
    # in one: the likelihood (0.2 + 0.6 w)³ (0.8 − 0.6 w) is highest at 0.2 + 0.6 w = 3/4.
    truth = np.array([[1, 0], [1, 0]])
    first = np.array([[0.8, 0.2], [0.8, 0.8]])
    weights = ensembles.fit_weights(truth, [first, 1 - first])
    np.testing.assert_allclose(weights, [0.55 / 0.6, 0.05 / 0.6], atol=1e-4)


def test_a_network_without_use_gets_nothing_and_equals_share():
    truth = np.array([[1, 0], [0, 1]])
    good = np.where(truth == 1, 0.9, 0.1)
    assert ensembles.fit_weights(truth, [good, np.full((2, 2), 0.5)]).tolist() == [1, 0]
    assert ensembles.fit_weights(truth, [good, good]).tolist() == [0.5, 0.5]
    assert ensembles.fit_weights(truth, [good, good, 1 - good]).tolist() == [1, 0, 0]


def test_averages_by_hand():
    first, second, third = np.array([[0.2, 0.4]]), np.array([[0.6, 1.0]]), np.array([[0.1, 0.1]])
    np.testing.assert_allclose(ensembles.average([first, second]), [[0.4, 0.7]])
    np.testing.assert_allclose(ensembles.average([first, second, third]), [[0.3, 0.5]])
    np.testing.assert_allclose(ensembles.average([first, second], [0.25, 0.75]), [[0.5, 0.85]])


@pytest.mark.parametrize("weights", [[0.5], [0.5, 0.6], [-0.5, 1.5], [np.nan, 1]])
def test_weights_add_up_to_1(weights):
    with pytest.raises(HpaError, match="weights is"):
        ensembles.average([np.zeros((2, 2)), np.zeros((2, 2))], weights)


@pytest.mark.parametrize("shapes", [[(2, 2)], [(2, 2), (3, 2)], []])
def test_networks_are_two_or_more_of_the_same_samples(shapes):
    with pytest.raises(HpaError, match="at least two networks"):
        ensembles.fit_weights(np.zeros((2, 2), int), [np.full(shape, 0.5) for shape in shapes])
