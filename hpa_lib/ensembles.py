"""Probabilities of several networks joined into one.

Weights are fitted on the threshold part, by cross-entropy. The networks are taken for the
components of a mixture, whose weights the EM algorithm improves in every step. The cross-entropy is
convex in them, so that its derivatives tell how far from the lowest one the search is.

Source: P. Smyth and D. Wolpert, "Linearly combining density estimators via stacking" (1999).
"""

from collections.abc import Sequence

import numpy as np

from hpa_lib import calibration, metrics
from hpa_lib.errors import HpaError

# Nats to which the lowest cross-entropy is reached, and steps after which the search ends anyway.
_TOLERANCE = 1e-8
_STEPS = 10_000

# Decimals of a cross-entropy that are told apart.
_DIGITS = 10


def average(
    probabilities: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """Average the probabilities of two or more networks.

    Args:
        probabilities: Each of shape (samples, classes), values 0–1.
        weights: One a network, at least 0, with sum 1; equal ones by default.

    Returns:
        Array of shape (samples, classes), dtype float64.

    Raises:
        HpaError: If there are fewer than two networks, shapes differ, or the weights are not
            valid.
    """
    stacked = _stacked(probabilities)
    if weights is None:
        return stacked.mean(axis=0)
    weights = np.asarray(weights, np.float64)
    valid = weights.shape == (len(stacked),) and np.all(weights >= 0)
    if not valid or not np.isclose(weights.sum(), 1):
        raise HpaError(
            f"weights is {weights.tolist()}.",
            f"Give {len(stacked)} numbers from 0 on that add up to 1.",
        )
    # A weighted sum of ones may end a rounding error above 1.
    return np.minimum(np.tensordot(weights, stacked, axes=1), 1.0)


def fit_weights(truth: np.ndarray, probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """The weights whose average has the lowest cross-entropy.

    Args:
        truth: Labels of the threshold part, shape (samples, classes), values 0 and 1.
        probabilities: Those of two or more networks, each of the same shape, values 0–1.

    Returns:
        Array of shape (networks,), dtype float64, values from 0 with sum 1. On `truth` neither
        the plain average nor any network alone has a lower cross-entropy. Equal weights, or else
        a single network, are preferred to others that are no better.

    Raises:
        HpaError: If there are fewer than two networks, or the arrays are not valid.
    """
    stacked = _stacked(probabilities)
    networks = len(stacked)
    for one in stacked:
        truth, _ = metrics.checked_scores(truth, one)
    # What each network gives to the outcome of each entry; the mixture's is their average.
    kept = np.clip(stacked, calibration.LOWEST, calibration.HIGHEST)
    of_outcome = np.where(truth == 1, kept, 1 - kept).reshape(networks, -1)
    fitted = equal = np.full(networks, 1 / networks)
    for _ in range(_STEPS):
        change = (of_outcome / (fitted @ of_outcome)).mean(axis=1)
        if change.max() < 1 + _TOLERANCE:  # no weights have a lower loss by more than that
            break
        fitted = fitted * change
        fitted = fitted / fitted.sum()

    def rounded_loss(weights: np.ndarray) -> float:
        found = calibration.cross_entropy(truth, average(stacked, weights)).mean()
        return round(float(found), _DIGITS)

    return min([equal, *np.eye(networks), fitted], key=rounded_loss)


def _stacked(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """All probabilities as one array of shape (networks, samples, classes), dtype float64."""
    shapes = [np.shape(one) for one in probabilities]
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise HpaError(
            f"probabilities have the shapes {shapes}.",
            "Give those of at least two networks on the same samples.",
        )
    return np.stack([np.asarray(one, np.float64) for one in probabilities])
