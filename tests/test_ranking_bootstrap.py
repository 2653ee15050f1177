import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hpa_lib import metrics, ranking_bootstrap
from hpa_lib.errors import HpaError
from hpa_lib.ranking_bootstrap import RankingScorer


@st.composite
def weighted_samples(draw):
    """Truth, probabilities with ties, and weights that leave some samples, or a class, out."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples, classes = draw(st.integers(2, 30)), draw(st.integers(2, 6))
    share = generator.choice([0.0, 0.1, 0.5, 1.0], size=classes)
    truth = (generator.random((samples, classes)) < share).astype(np.uint8)
    levels = draw(st.sampled_from([1, 3, 20, 1_000_000]))
    probability = generator.integers(0, levels + 1, (samples, classes)) / levels
    weights = generator.integers(0, 3, (3, samples)) * generator.choice([1.0, 4 / 3, 2.0], samples)
    weights[:, 0] += 0.5
    return truth, probability, weights * samples / weights.sum(axis=1, keepdims=True)


def expected(score, truth, probability, sample_weight, at_hand, needs_negatives):
    """scikit-learn's value, or that of the samples at hand where the resample lost a class."""
    kept = truth[sample_weight > 0]
    if not kept.any() or (needs_negatives and kept.all()):
        return at_hand
    return score(truth, probability, sample_weight=sample_weight)


@settings(max_examples=80, deadline=None)
@given(weighted_samples())
def test_resamples_are_scored_as_scikit_learn_scores_weighted_samples(case):
    truth, probability, weights = case
    classes = truth.shape[1]
    columns = [(truth[:, index], probability[:, index]) for index in range(classes)]
    at_hand = metrics.summary(truth, probability, 0.5)
    scored = RankingScorer(truth, probability)(weights)
    for row, sample_weight in zip(scored, weights, strict=True):
        values = []
        for name, score, of_class in (
            (
                "average_precision",
                sklearn_metrics.average_precision_score,
                metrics.average_precision,
            ),
            ("roc_auc", sklearn_metrics.roc_auc_score, metrics.roc_auc),
        ):
            needs_negatives = name == "roc_auc"
            by_class = [
                expected(score, *column, sample_weight, own, needs_negatives)
                for column, own in zip(columns, of_class(truth, probability), strict=True)
            ]
            micro = expected(
                score,
                truth.ravel(),
                probability.ravel(),
                np.repeat(sample_weight, classes),
                at_hand[f"micro_{name}"],
                needs_negatives,
            )
            with warnings.catch_warnings(action="ignore"):  # the mean of nothing
                values.append((np.nanmean(by_class), micro, by_class))
        losses = [
            loss(truth, probability, sample_weight=sample_weight)
            for loss in (sklearn_metrics.coverage_error, sklearn_metrics.label_ranking_loss)
        ]
        (macro_ap, micro_ap, precisions), (macro_auc, micro_auc, areas) = values
        np.testing.assert_allclose(
            row,
            [macro_ap, micro_ap, macro_auc, micro_auc, *losses, *precisions, *areas],
            atol=1e-12,
        )


def test_a_tie_worked_out_by_hand():
    truth = np.array([[1], [1], [0], [0]])
    probability = np.array([[0.9], [0.5], [0.5], [0.1]])
    (values,) = RankingScorer(truth, probability)(np.array([[1, 0.5, 2, 0.5]]))
    precision, area = values[-2:]
    # First threshold: recall 1/1.5, precision 1; second: all of 1.5, of 3.5 that are given.
    assert precision == pytest.approx((1 * 1 + 0.5 * 1.5 / 3.5) / 1.5)
    # The first positive beats 2.5 of the negatives; the second 0.5, and half of 2.
    assert area == pytest.approx((1 * 2.5 + 0.5 * (0.5 + 2 / 2)) / (1.5 * 2.5))


def test_sample_losses_worked_out_by_hand():
    truth = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    probability = np.array([[0.9, 0.8, 0.3, 0.3], [0.1, 0.7, 0.2, 0.6], [0.5] * 4, [0.5] * 4])
    losses = ranking_bootstrap.sample_losses(truth, probability)
    assert losses["coverage_error"].tolist() == [4, 1, 0, 4]
    # Of the first sample's 2·2 pairs, 0.3 is below 0.8 and ties with 0.3.
    assert losses["label_ranking_loss"].tolist() == [2 / 4, 0, 0, 0]


def test_each_resample_is_scored_alone():
    generator = np.random.default_rng(0)
    truth = (generator.random((50, 4)) < 0.3).astype(int)
    probability = generator.random((50, 4)).round(1)
    weights = generator.multinomial(50, np.full(50, 1 / 50), size=100).astype(float)
    scorer = RankingScorer(truth, probability)
    assert len(weights) > 2 * ranking_bootstrap._BLOCK
    alone = np.vstack([scorer(row[None]) for row in weights])
    np.testing.assert_allclose(scorer(weights), alone, rtol=1e-12)


def test_probabilities_out_of_range_are_refused():
    with pytest.raises(HpaError, match="probability holds 2"):
        RankingScorer(np.ones((2, 2)), np.full((2, 2), 2.0))
