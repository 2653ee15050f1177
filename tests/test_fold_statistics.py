import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpa_lib import fold_statistics


def figures(values):
    """Figures by (fold, seed)."""
    index = pd.MultiIndex.from_tuples(values, names=["fold", "seed"])
    return pd.Series(list(values.values()), index)


def test_interval_is_that_of_nadeau_and_bengio():
    given = figures({(1, 0): 0.2, (1, 1): 0.4, (2, 0): 0.5, (3, 0): 0.4})
    found = fold_statistics.mean_over_folds(given, test_share=0.25, level=0.9)
    # Folds' means are 0.3, 0.5 and 0.4: their mean is 0.4, their variance 0.01.
    error = np.sqrt(0.01 * (1 / 3 + 0.25))
    assert found.estimate == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - 2.919986 * error, abs=1e-6)  # t(0.95, 2)
    assert found.high == pytest.approx(0.4 + 2.919986 * error, abs=1e-6)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.4 / error, 2))
    assert (found.folds, found.trainings) == (3, 4)


def test_more_seeds_of_the_same_folds_do_not_narrow_the_interval():
    one = figures({(1, 0): 0.2, (2, 0): 0.5, (3, 0): 0.4})
    three = figures({(fold, seed): value for (fold, _), value in one.items() for seed in range(3)})
    narrow, wide = (fold_statistics.mean_over_folds(given, 0.25) for given in (one, three))
    assert (narrow.low, narrow.high) == pytest.approx((wide.low, wide.high))


@pytest.mark.parametrize(
    ("values", "estimate", "folds"),
    [({}, np.nan, 0), ({(1, 0): 0.3, (1, 1): 0.5}, 0.4, 1), ({(1, 0): np.nan}, np.nan, 0)],
)
def test_fewer_than_two_folds_have_no_interval(values, estimate, folds):
    given = figures(values) if values else pd.Series(dtype=float, index=pd.Index([], name="fold"))
    found = fold_statistics.mean_over_folds(given, 0.25)
    assert found.estimate == pytest.approx(estimate, nan_ok=True)
    assert found.folds == folds
    assert np.isnan([found.low, found.high, found.p_value]).all()


def test_equal_folds_have_a_point_for_an_interval():
    found = fold_statistics.mean_over_folds(figures({(1, 0): 0.0, (2, 0): 0.0}), 0.25)
    assert (found.low, found.high, found.p_value) == (0, 0, 1)
    found = fold_statistics.mean_over_folds(figures({(1, 0): 0.5, (2, 0): 0.5}), 0.25)
    assert (found.low, found.high, found.p_value) == (0.5, 0.5, 0)


def test_intervals_hold_their_level_where_training_parts_overlap():
    """The folds of the draws are correlated as much as Nadeau and Bengio take them to be."""
    random = np.random.default_rng(0)
    correlation = 0.2  # of test samples by all samples; by training samples that is 0.25
    covered = 0
    for _ in range(400):
        shared, own = random.normal(size=1), random.normal(size=5)
        values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        given = pd.Series(values, pd.Index(range(1, 6), name="fold"))
        found = fold_statistics.mean_over_folds(given, 0.25)
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_spread_is_divided_as_by_hand():
    given = figures({(1, 0): 0.1, (1, 1): 0.3, (2, 0): 0.6, (2, 1): 0.8})
    found = fold_statistics.spread(given)
    # Within folds 0.02; the folds' means 0.2 and 0.7 have the variance 0.125 = between + 0.02 / 2.
    assert found.of_seeds == pytest.approx(np.sqrt(0.02))
    assert found.of_folds == pytest.approx(np.sqrt(0.125 - 0.01))
    assert found.share_of_seeds == pytest.approx(0.02 / (0.02 + 0.115))


def test_spread_of_unequal_numbers_of_seeds_recovers_what_was_drawn():
    random = np.random.default_rng(1)
    values = {}
    for fold in range(1, 2001):
        level = random.normal(0, 0.3)
        for seed in range(1 + fold % 3):
            values[fold, seed] = level + random.normal(0, 0.1)
    found = fold_statistics.spread(figures(values))
    assert found.of_folds == pytest.approx(0.3, rel=0.05)
    assert found.of_seeds == pytest.approx(0.1, rel=0.05)


def test_spread_that_cannot_be_told_is_nan():
    lone = fold_statistics.spread(figures({(1, 0): 0.1, (2, 0): 0.3}))
    assert np.isnan([lone.of_folds, lone.of_seeds, lone.share_of_seeds]).all()
    one_fold = fold_statistics.spread(figures({(1, 0): 0.1, (1, 1): 0.3}))
    assert one_fold.of_seeds == pytest.approx(np.sqrt(0.02))
    assert np.isnan([one_fold.of_folds, one_fold.share_of_seeds]).all()
    same = fold_statistics.spread(figures(dict.fromkeys([(1, 0), (1, 1), (2, 0), (2, 1)], 0.5)))
    assert (same.of_folds, same.of_seeds) == (0, 0)
    assert np.isnan(same.share_of_seeds)
