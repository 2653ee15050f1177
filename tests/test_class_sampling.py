import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpa_lib import class_sampling
from hpa_lib.errors import HpaError

# Two classes: half of the samples, and one in a hundred, which also has the first.
LABELS = np.zeros((100, 2), np.uint8)
LABELS[:50, 0] = 1
LABELS[0, 1] = 1


def test_uniform_weights_are_all_one():
    assert (class_sampling.row_weights(LABELS, "uniform") == 1).all()


def test_class_balanced_draws_each_class_equally_often():
    weights = class_sampling.row_weights(LABELS, "class_balanced")
    assert (weights[50:] == 0).all()  # no class draws them
    # Half of the draws are for the second class, all of its only sample.
    assert weights[0] / weights.sum() == pytest.approx(0.5 + 0.5 / 50)
    assert weights[1] / weights.sum() == pytest.approx(0.5 / 50)


def test_repeat_factor_is_the_root_of_what_is_missing_to_five_percent():
    weights = class_sampling.row_weights(LABELS, "repeat_factor")
    assert weights[0] / weights[1] == pytest.approx(np.sqrt(0.05 / 0.01))
    assert (weights[1:] == weights[1]).all()


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 5)).filter(np.any),
    st.integers(1, 200),
    st.integers(0, 5),
)
def test_each_is_drawn_as_often_as_its_weight_says_up_to_rounding(weights, count, seed):
    weights = weights / weights.mean()
    drawn = class_sampling.draw(weights, count, np.random.default_rng(seed))
    assert len(drawn) == count
    expected = weights / weights.sum() * count
    found = np.bincount(drawn, minlength=len(weights))
    assert (np.abs(found - expected) < 1 + 1e-6).all()


def test_draws_follow_the_generator_alone():
    weights = class_sampling.row_weights(LABELS, "repeat_factor")
    one, same, other = (
        class_sampling.draw(weights, 64, np.random.default_rng(k)) for k in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_table_shows_what_is_drawn():
    labels = np.zeros((100, 28), np.uint8)
    labels[:, :2] = LABELS
    table = class_sampling.table(labels, class_sampling.row_weights(labels, "class_balanced"))
    assert table["samples"].tolist()[:3] == [50, 1, 0]
    assert table["share"].tolist()[:3] == [0.5, 0.01, 0]
    assert table["share drawn"].tolist()[:3] == pytest.approx([1, 0.51, 0])


@pytest.mark.parametrize(
    ("labels", "name", "wanted"),
    [(LABELS, "rare", "'rare'"), (np.zeros((3, 2)), "class_balanced", "no training sample")],
)
def test_refusals(labels, name, wanted):
    with pytest.raises(HpaError, match=wanted):
        class_sampling.row_weights(labels, name)
