"""Ranking metrics of bootstrap resamples: average precision, ROC AUC, coverage and ranking loss.

A resample is a vector of weights over samples; a metric of it equals scikit-learn's with that
``sample_weight``. Ranks don't depend on weights, so each column of probabilities is sorted once.
What a resample then needs are two sums for each distinct probability of a positive, from the
highest down: the weight of the positives that have it, and the weight of the negatives from it up
to the next higher one. These sums are the product of a sparse matrix of counts with the weights
of many resamples, which runs in one thread, so that models can be scored side by side. Cumulative
sums of them are the true and false positives at each threshold where recall changes. No other
threshold enters average precision, and a positive gains in ROC AUC the negatives below it and
half of those that tie with it. Micro averages are the same with the entries of all classes in one
column.

Edge cases are those of `hpa_lib.metrics` and `hpa_lib.evaluation`: average precision without
positives, and ROC AUC without positives or without negatives, are NaN and left out of macro
averages. Where these exist in the truth and a resample holds none of them, the class, or the
micro average, keeps the value of the samples at hand.

Sums are taken in float64, so that two models that are equal in a metric differ by less than what
`hpa_lib.evaluation` takes for a rounding error.
"""

import numpy as np
from scipy import sparse

from hpa_lib import metrics

METRICS: tuple[str, ...] = (
    "macro_average_precision",
    "micro_average_precision",
    "macro_roc_auc",
    "micro_roc_auc",
    "coverage_error",
    "label_ranking_loss",
)
"""Metrics of `metrics.summary` that depend on the order of probabilities, not on decisions."""

# Resamples scored together: few enough that their weights stay in the processor's cache from one
# class to the next, and no power of two, whose strides would share a part of it.
_BLOCK = 40


class RankingScorer:
    """All ranking metrics of one model as functions of sample weights.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """

    def __init__(self, truth: np.ndarray, probability: np.ndarray) -> None:
        truth, probability = metrics.checked_scores(truth, probability)
        columns = zip(truth.T[:, :, None], probability.T[:, :, None], strict=True)
        self._rankings = [_Ranking(*column) for column in columns]
        self._rankings.append(_Ranking(truth, probability))
        self._defined = np.isfinite(np.hstack([rank.at_hand for rank in self._rankings[:-1]]))
        self._losses = sparse.csr_array(np.stack(list(sample_losses(truth, probability).values())))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Score resamples.

        Args:
            weights: Shape (resamples, samples), not negative; each row adds up to the number of
                samples.

        Returns:
            Shape (resamples, metrics + 2 · classes): `METRICS`, then average precision of each
            class, then ROC AUC of each class.
        """
        parts, losses = [], []
        for start in range(0, len(weights), _BLOCK):
            block = np.ascontiguousarray(weights[start : start + _BLOCK].T)
            parts.append([rank(block) for rank in self._rankings])
            losses.append(self._losses @ block)
        rankings = np.concatenate(parts, axis=-1)
        (precisions, areas), micro = rankings[:-1].swapaxes(0, 1), rankings[-1]
        averages = [
            _mean_of_defined(precisions, self._defined[0]),
            micro[0],
            _mean_of_defined(areas, self._defined[1]),
            micro[1],
        ]
        mean_losses = np.hstack(losses) / weights.shape[1]
        return np.vstack([*averages, mean_losses, precisions, areas]).T


def sample_losses(truth: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """Score the order of labels in each sample; the mean over samples is the metric of that name.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        Arrays of shape (samples,). ``coverage_error``: the classes that have at least the
        probability of the sample's least probable label, 0 without labels.
        ``label_ranking_loss``: the share of pairs of a label that the sample has and one that it
        hasn't in which the latter is at least as probable, 0 where there is no such pair.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    lowest = np.where(truth == 1, probability, np.inf).min(axis=1, keepdims=True)
    wrong = np.zeros(len(truth))
    for label, own in zip(truth.T, probability.T, strict=True):
        wrong += label * ((probability >= own[:, None]) & (truth == 0)).sum(axis=1)
    pairs = truth.sum(axis=1) * (1 - truth).sum(axis=1)
    return {
        "coverage_error": (probability >= lowest).sum(axis=1).astype(np.float64),
        "label_ranking_loss": wrong / np.maximum(pairs, 1),
    }


class _Ranking:
    """Average precision and ROC AUC of all given entries as functions of sample weights.

    Attributes:
        at_hand: Both with equal weights; NaN where undefined.
    """

    def __init__(self, truth: np.ndarray, probability: np.ndarray) -> None:
        """Sort the entries.

        Args:
            truth: Labels, shape (samples, columns), dtype int64, values 0 and 1.
            probability: Same shape, dtype float64.
        """
        samples = len(truth)
        sample, column = np.nonzero(truth)
        thresholds, row = np.unique(-probability[sample, column], return_inverse=True)
        self._positive_counts = _counts(row, sample, (len(thresholds), samples))
        sample, column = np.nonzero(truth == 0)
        score = -probability[sample, column]
        # The last row holds the negatives below all positives.
        row = np.searchsorted(thresholds, score)
        self._negative_counts = _counts(row, sample, (len(thresholds) + 1, samples))
        tied = np.append(thresholds, np.inf)[row] == score
        self._tied, row = np.unique(row[tied], return_inverse=True)
        self._tied_counts = _counts(row, sample[tied], (len(self._tied), samples))
        self.at_hand = np.full((2, 1), np.nan)
        self.at_hand = self(np.ones((samples, 1)))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Average precision and ROC AUC, shape (2, resamples).

        Args:
            weights: Shape (samples, resamples), C order.
        """
        values = np.repeat(self.at_hand, weights.shape[1], axis=1)
        if not self._positive_counts.shape[0]:
            return values
        found = self._positive_counts @ weights
        true_positives = found.cumsum(axis=0)
        false_positives = self._negative_counts @ weights
        np.cumsum(false_positives, axis=0, out=false_positives)
        positives, negatives = true_positives[-1].copy(), false_positives[-1]
        false_positives = false_positives[:-1]
        below = negatives - false_positives
        below *= found
        area = below.sum(axis=0)
        if len(self._tied):
            area += (found[self._tied] * (self._tied_counts @ weights)).sum(axis=0) / 2
        predicted = false_positives
        predicted += true_positives
        # A threshold above all samples with weight has neither; found is 0 there.
        np.maximum(predicted, np.finfo(np.float64).tiny, out=predicted)
        true_positives /= predicted
        true_positives *= found
        precision = true_positives.sum(axis=0)
        np.divide(precision, positives, out=values[0], where=positives > 0)
        pairs = positives * negatives
        np.divide(area, pairs, out=values[1], where=pairs > 0)
        return values


def _counts(row: np.ndarray, sample: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """How often each pair of row and sample occurs."""
    return sparse.csr_array((np.ones(len(row)), (row, sample)), shape=shape)


def _mean_of_defined(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Mean over the defined classes of an array (classes, resamples); NaN without any."""
    return values[defined].mean(axis=0) if defined.any() else np.full(values.shape[1], np.nan)
