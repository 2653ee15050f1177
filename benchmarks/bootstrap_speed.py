"""Claim: 10,000 bootstrap replicates of every metric and difference take under 20 s on two cores.

The samples, 6,000 with 28 classes, have the class frequencies of the Kaggle set, and two networks
are simulated. Ranking metrics are compared with scikit-learn's for the same weights, which takes
so long that two replicates have to do. Where other work takes the cores, the CPU seconds tell more.

python benchmarks/bootstrap_speed.py
"""

import os
import time

import numpy as np
from sklearn import metrics as sklearn_metrics

from hpa_lib import evaluation, labels, metrics
from hpa_lib.ranking_bootstrap import RankingScorer

SAMPLES, REPLICATES, SCIKIT_LEARN_REPLICATES = 6_000, 10_000, 2


def simulated() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Random labels, and the probabilities of two networks that tell them by a noisy logit."""
    random = np.random.default_rng(0)
    frequency = np.array(labels.TRAINING_SET_COUNTS) / 31_072
    truth = (random.random((SAMPLES, labels.CLASS_COUNT)) < frequency).astype(np.uint8)
    prior = np.log(frequency / (1 - frequency))
    return truth, {
        name: 1 / (1 + np.exp(-(prior + signal * truth + random.normal(size=truth.shape))))
        for name, signal in (("first", 2.5), ("second", 2.2))
    }


def by_scikit_learn(
    truth: np.ndarray, probability: np.ndarray, sample_weight: np.ndarray
) -> np.ndarray:
    """The values of `RankingScorer` for one resample."""
    scores = [
        score(truth, probability, average=average, sample_weight=sample_weight)
        for score in (sklearn_metrics.average_precision_score, sklearn_metrics.roc_auc_score)
        for average in (None, "micro")
    ]
    losses = [
        loss(truth, probability, sample_weight=sample_weight)
        for loss in (sklearn_metrics.coverage_error, sklearn_metrics.label_ranking_loss)
    ]
    precisions, micro_precision, areas, micro_area = scores
    averages = [precisions.mean(), micro_precision, areas.mean(), micro_area]
    return np.hstack([averages, losses, precisions, areas])


def times() -> np.ndarray:
    """Seconds on the clock, and of this process on all cores."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Time the bootstrap without and with ranking metrics, and scikit-learn on the latter."""
    truth, probabilities = simulated()
    predictions = {name: metrics.decide(values, 0.3) for name, values in probabilities.items()}
    measured = []
    for what, given in (("decision metrics alone", None), ("all metrics", probabilities)):
        started = times()
        evaluation.bootstrap_metrics(truth, predictions, REPLICATES, probabilities=given)
        measured.append((what, REPLICATES, times() - started))

    scorers = {name: RankingScorer(truth, values) for name, values in probabilities.items()}
    drawn = next(evaluation.resampling_weights(evaluation.strata(truth), REPLICATES, seed=0))
    started, furthest = times(), 0.0
    for weights in drawn[:SCIKIT_LEARN_REPLICATES]:
        for name, scorer in scorers.items():
            expected = by_scikit_learn(truth, probabilities[name], weights)
            furthest = max(furthest, np.abs(scorer(weights[None])[0] - expected).max())
    what = "ranking metrics by scikit-learn"
    measured.append((what, SCIKIT_LEARN_REPLICATES, times() - started))

    print(
        f"{SAMPLES:,} samples, {labels.CLASS_COUNT} classes, {len(probabilities)} networks, "
        f"{os.cpu_count()} cores"
    )
    print(f"{'':<32} {'replicates':>10} {'seconds':>8} {'CPU s':>8} {'s for 10,000':>13}")
    for what, replicates, (seconds, busy) in measured:
        print(
            f"{what:<32} {replicates:>10,} {seconds:>8.1f} {busy:>8.1f} "
            f"{seconds / replicates * 1e4:>13,.1f}"
        )
    print(f"largest difference from scikit-learn in a ranking metric: {furthest:.1e}")


if __name__ == "__main__":
    main()
