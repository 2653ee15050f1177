import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_lib import stratification

FOLDS = (12, 2, 2, 4)


def test_ideal_shares_worked_out_by_hand():
    ideal = stratification.ideal_shares(np.array([100, 11, 5, 4, 3, 0]), (0.6, 0.1, 0.1, 0.2))
    np.testing.assert_allclose(ideal[:, 0], [60, 10, 10, 20])
    np.testing.assert_allclose(ideal[:, 1], [6.6, 1.1, 1.1, 2.2])
    np.testing.assert_allclose(ideal[:, 2], [2, 1, 1, 1])
    np.testing.assert_allclose(ideal[:, 3], [1, 1, 1, 1])
    np.testing.assert_allclose(ideal[:, 4], [1.8, 0.3, 0.3, 0.6])
    np.testing.assert_allclose(ideal[:, 5], 0)


def unevenness(counts, part, ideal):
    dealt = np.stack([counts[part == number].sum(axis=0) for number in range(len(ideal))])
    weight = 1 + stratification.RARE / np.maximum(counts.sum(axis=0), 1)
    return (weight * np.square(dealt - ideal)).sum()


def assert_no_step_makes_it_more_even(counts, part, ideal):
    reached = unevenness(counts, part, ideal)
    for a in range(len(counts)):
        for goal in range(len(FOLDS)):
            moved = part.copy()
            moved[a] = goal
            assert unevenness(counts, moved, ideal) > reached - 1e-5
            for b in np.flatnonzero(part == goal):
                exchanged = moved.copy()
                exchanged[b] = part[a]
                assert unevenness(counts, exchanged, ideal) > reached - 1e-5


# With two classes many units are alike, with four few.
@settings(max_examples=20)
@given(st.integers(20, 30), st.sampled_from([2, 4]), st.integers(0, 1000))
def test_no_move_and_no_exchange_makes_it_more_even(units, classes, seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 3, (units, classes)) * (random.random((units, classes)) < 0.4)
    counts = np.column_stack((counts, random.integers(1, 4, units)))
    part = stratification.deal(counts, FOLDS, seed)
    assert set(part) <= {0, 1, 2, 3}
    ideal = stratification.ideal_shares(counts.sum(axis=0), np.array(FOLDS) / sum(FOLDS))
    assert_no_step_makes_it_more_even(counts, part, ideal)


@pytest.mark.parametrize("seed", range(25, 30))
def test_equal_units_that_come_and_go_are_counted(seed):
    # From a start that takes many steps the same kind of unit enters and leaves a part.
    random = np.random.default_rng(seed)
    counts = np.column_stack((random.integers(0, 2, (60, 3)), np.ones(60, int)))
    ideal = stratification.ideal_shares(counts.sum(axis=0), np.array(FOLDS) / sum(FOLDS))
    part = stratification._mended(counts, random.integers(0, 4, 60), ideal)
    assert_no_step_makes_it_more_even(counts, part, ideal)


def test_same_seed_same_parts():
    counts = np.random.default_rng(0).integers(0, 2, (200, 6))
    counts[:, -1] = 1
    first, again, other = (stratification.deal(counts, FOLDS, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("size", [1, 3])
def test_units_without_any_class_are_dealt_by_size(size):
    counts = np.tile([0, 0, size], (40, 1))
    part = stratification.deal(counts, FOLDS, 0)
    assert np.bincount(part).tolist() == [24, 4, 4, 8]
