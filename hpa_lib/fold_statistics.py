"""Means over the folds of a cross-validation, with intervals that know what the folds share.

The training parts of two folds overlap, so that figures of folds are correlated and their plain
variance is too small. Nadeau and Bengio take the variance of a mean over J folds for

    variance of the figures × (1 / J + test samples / training samples)

and the distribution of the mean for Student's t with J - 1 degrees of freedom. Trainings of one
fold with several seeds share their test samples too. They are no further folds, and are averaged
first.

Source: C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52
(2003).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


@dataclass(frozen=True)
class FoldMean:
    """A mean over folds.

    Attributes:
        estimate: The mean of the folds' means; NaN where no fold has a figure.
        low: Lower end of the interval; NaN for fewer than two folds.
        high: Its upper end.
        p_value: Two-sided, against 0; NaN for fewer than two folds.
        folds: Number of folds.
        trainings: Number of figures.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    folds: int
    trainings: int


def mean_over_folds(figures: pd.Series, test_share: float, level: float = 0.95) -> FoldMean:
    """Average figures over folds, with a corrected interval.

    Args:
        figures: One a training, indexed by its fold, or by (fold, …); NaN is left out.
        test_share: Test samples of a fold by its training samples, above 0.
        level: Confidence level, between 0 and 1.
    """
    known = figures.dropna()
    means = known.groupby(level=0).mean().to_numpy()
    folds, trainings = len(means), len(known)
    estimate = float(means.mean()) if folds else np.nan
    if folds < 2:
        return FoldMean(estimate, np.nan, np.nan, np.nan, folds, trainings)
    error = np.sqrt(means.var(ddof=1) * (1 / folds + test_share))
    reach = stats.t.ppf((1 + level) / 2, folds - 1) * error
    if error:
        p_value = float(2 * stats.t.sf(abs(estimate) / error, folds - 1))
    else:
        p_value = float(estimate == 0)
    return FoldMean(
        estimate, float(estimate - reach), float(estimate + reach), p_value, folds, trainings
    )


@dataclass(frozen=True)
class Spread:
    """Where the spread of figures comes from.

    Attributes:
        of_folds: Standard deviation between folds, without what seeds alone would do; NaN for
            fewer than two folds, or where no fold has two seeds.
        of_seeds: Standard deviation between the seeds of a fold; NaN where no fold has two.
        share_of_seeds: Share of the seeds in the sum of both variances, 0–1; NaN where either is
            unknown or both are 0.
    """

    of_folds: float
    of_seeds: float
    share_of_seeds: float


def spread(figures: pd.Series) -> Spread:
    """Divide the variance of figures between folds and seeds: one-way analysis of variance.

    Folds are taken for random, seeds for repetitions within a fold, whose numbers may differ.

    Args:
        figures: One a training, indexed by its fold, or by (fold, …); NaN is left out.

    Source: S. Searle, G. Casella and C. McCulloch, "Variance Components" (1992), section 3.6.
    """
    groups = figures.dropna().groupby(level=0)
    sizes, means = groups.size().to_numpy(), groups.mean().to_numpy()
    folds, trainings = len(sizes), sizes.sum()
    if trainings <= folds:
        return Spread(np.nan, np.nan, np.nan)
    within = (groups.var(ddof=0).to_numpy() * sizes).sum() / (trainings - folds)
    if folds < 2:
        return Spread(np.nan, float(np.sqrt(within)), np.nan)
    typical_size = (trainings - (sizes**2).sum() / trainings) / (folds - 1)
    overall = (sizes * means).sum() / trainings
    among = (sizes * (means - overall) ** 2).sum() / (folds - 1)
    between = max((among - within) / typical_size, 0.0)
    total = between + within
    return Spread(
        float(np.sqrt(between)), float(np.sqrt(within)), within / total if total else np.nan
    )
