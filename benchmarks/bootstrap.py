"""Claim: 10,000 bootstrap replicates over 6,000 samples, 28 classes and two networks take seconds.

python benchmarks/bootstrap.py
"""

import time

import numpy as np

from hpa_lib import evaluation, labels

SAMPLES, REPLICATES = 6_000, 10_000


def main() -> None:
    """Time the bootstrap on random labels with the class frequencies of the Kaggle set."""
    random = np.random.default_rng(0)
    frequency = np.array(labels.TRAINING_SET_COUNTS) / 31_072
    truth = (random.random((SAMPLES, labels.CLASS_COUNT)) < frequency).astype(np.uint8)
    predictions = {
        name: np.where(random.random(truth.shape) < error, 1 - truth, truth)
        for name, error in (("first", 0.03), ("second", 0.05))
    }
    started = time.perf_counter()
    result = evaluation.bootstrap_metrics(truth, predictions, REPLICATES)
    seconds = time.perf_counter() - started
    print(f"{'samples':>8} {'classes':>8} {'networks':>9} {'replicates':>11} {'seconds':>8}")
    print(
        f"{SAMPLES:>8} {labels.CLASS_COUNT:>8} {len(predictions):>9} "
        f"{result.replicates:>11} {seconds:>8.1f}"
    )


if __name__ == "__main__":
    main()
