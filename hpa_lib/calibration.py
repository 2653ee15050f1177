"""Probabilities that mean what they say: temperature scaling, and how far off they are.

Arrays have the shape (samples, classes); an entry is one class of one sample. Cross-entropy and
the Brier score are lowest for the true probabilities, and are the measures to judge by. The
expected calibration error tells only how far off the mean of each bin is: a bin in which errors
cancel counts as right, and few entries raise it by chance alone.

Bins have equal width, as in Guo et al. Since about one entry in twenty is positive, nine of ten
bins with equally many entries would crowd at low probabilities, and the range in which labels are
given would be one point of a reliability diagram.

Probabilities are kept between the smallest normal float32 and the largest below 1, wherever a
logarithm is taken: a network's sigmoid gives 0 and 1 where its float32 has no other number left.

Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import binomtest

from hpa_lib import metrics
from hpa_lib.errors import HpaError

LOWEST = float(np.finfo(np.float32).tiny)
HIGHEST = float(np.nextafter(np.float32(1), np.float32(0)))
"""Between these probabilities are kept before a logarithm is taken."""

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
"""Between these a temperature is sought."""

BINS = 10
"""Bins of equal width; the last one holds 1."""


def fit_temperature(truth: np.ndarray, probability: np.ndarray) -> float:
    """The temperature with the lowest cross-entropy, one for all classes.

    Scaled logits are logits / temperature: above 1 it draws probabilities towards 0.5, which a
    network needs that is too sure. The cross-entropy is convex in 1 / temperature, so that there
    is one minimum.

    Args:
        truth: Labels of the threshold part, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        A number from `LOWEST_TEMPERATURE` to `HIGHEST_TEMPERATURE`; 1 where no other is better.

    Raises:
        HpaError: If the arrays are not valid.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    logits = _logits(probability)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - truth * scaled))

    found = minimize_scalar(
        loss,
        bounds=np.log([LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def scaled(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by a temperature.

    No two entries swap their order, neither within a sample nor within a class.

    Args:
        probability: Predicted probabilities of any shape, values 0–1.
        temperature: A number above 0; see `fit_temperature`.

    Returns:
        Array of the same shape, dtype float64, values 0–1.

    Raises:
        HpaError: If the temperature isn't above 0.
    """
    if not temperature > 0:
        raise HpaError(f"temperature is {temperature}.", "Give a number above 0.")
    return expit(_logits(probability) / temperature)


def cross_entropy(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each entry in nats, at most 87 for a label that is missed.

    `training.binary_crossentropy` cuts at 16 nats instead, as Keras does.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        Array of the same shape, dtype float64, values from 0.

    Raises:
        HpaError: If the arrays are not valid.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    kept = np.clip(probability, LOWEST, HIGHEST)
    return -np.where(truth == 1, np.log(kept), np.log1p(-kept))


def squared_error(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Squared difference of probability and label of each entry.

    Its mean over all entries is the Brier score, its mean over samples the one of each class.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        Array of the same shape, dtype float64, values 0–1.

    Raises:
        HpaError: If the arrays are not valid.

    Source: G. W. Brier, "Verification of forecasts expressed in terms of probability" (1950); of
    the two forms in use the one for two outcomes, as in scikit-learn.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    return (probability - truth) ** 2


def expected_calibration_error(
    truth: np.ndarray, probability: np.ndarray, *, class_wise: bool = False
) -> float:
    """Distance between mean probability and share of positives in a bin, averaged over entries.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        class_wise: Bin each class by itself, and average over all classes. In the pool of all
            entries a class with too high probabilities makes up for one with too low ones.

    Returns:
        A value 0–1. It has no sampling interval here: resampling adds to the distance of each
        bin, so that bootstrap intervals lie too high.

    Raises:
        HpaError: If the arrays are not valid.

    Source of the class-wise form: Kull et al., "Beyond temperature scaling" (2019).
    """
    truth, probability = metrics.checked_scores(truth, probability)
    cell = _bin(probability)
    if class_wise:
        cell = cell + BINS * np.arange(truth.shape[1])
    surplus = np.bincount(cell.ravel(), weights=(probability - truth).ravel())
    return float(np.abs(surplus).sum() / truth.size)


def reliability(truth: np.ndarray, probability: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    """What a reliability diagram shows: how often entries of a probability are positive.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        level: Confidence level of the intervals, between 0 and 1.

    Returns:
        One row a bin that has entries, index bin (from 0); columns from, to (below which the
        bin's probabilities lie, but for 1), entries, mean_probability, observed_share, low and
        high. The last two are Wilson's interval of the share, which takes entries for
        independent: labels of one sample aren't quite.

    Raises:
        HpaError: If the arrays are not valid.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    cell = _bin(probability).ravel()
    entries = np.bincount(cell, minlength=BINS)
    positives = np.bincount(cell[truth.ravel() == 1], minlength=BINS)
    total = np.bincount(cell, weights=probability.ravel(), minlength=BINS)
    filled = np.flatnonzero(entries)
    intervals = [
        binomtest(int(positives[one]), int(entries[one])).proportion_ci(level, method="wilson")
        for one in filled
    ]
    return pd.DataFrame(
        {
            "from": _EDGES[filled],
            "to": _EDGES[filled + 1],
            "entries": entries[filled],
            "mean_probability": total[filled] / entries[filled],
            "observed_share": positives[filled] / entries[filled],
            "low": [interval.low for interval in intervals],
            "high": [interval.high for interval in intervals],
        },
        index=pd.Index(filled, name="bin"),
    )


_EDGES = np.linspace(0, 1, BINS + 1)


def _bin(probability: np.ndarray) -> np.ndarray:
    return np.digitize(probability, _EDGES[1:-1])


def _logits(probability: np.ndarray) -> np.ndarray:
    return logit(np.clip(np.asarray(probability, np.float64), LOWEST, HIGHEST))
