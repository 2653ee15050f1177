"""Rules that choose the probability from which a label is given.

A tuned rule reads the samples that the caller passes (the threshold part) and is applied to
others (the report part) with `metrics.decide`. All rules return one threshold a class:

* ``"0.5"`` and ``"0.2"``: fixed; the reference study scores with the first and compares with
  the second;
* ``"global"``: the one threshold with the highest macro F1;
* ``"per_class"``: for each class the threshold with its highest F1;
* ``"matched"``: for each class the threshold at which the share of samples that get the label
  equals the share that has it in the reference labels;
* ``"expected_f1"``: the thresholds with the highest macro F1 and, for a small part, micro F1 that
  the probabilities themselves promise. It reads no label, so that a class with two positives
  can't mislead it, and is as good as the probabilities are calibrated.

Conventions of the tuned rules:

* A threshold lies halfway between the lowest accepted and the highest rejected probability of
  the tuning samples. Beyond the extremes, 0 and 1 take the place of the missing neighbour.
* Among thresholds with equal F1, the highest wins (fewest labels).
* A class without positives in the tuning samples keeps the global threshold under
  ``"per_class"``, and a class of frequency 0 under ``"matched"``. Without any positive, the
  global threshold is 0.5.
* Equal probabilities are accepted or rejected together, so ``"matched"`` may miss the share; it
  takes the number of labels that is nearest, the smaller of two equally near ones.

The search is exact: every threshold that changes a decision is tried.
"""

import numpy as np

from hpa_lib import metrics
from hpa_lib.errors import HpaError

FIXED_RULES: tuple[str, ...] = ("0.5", "0.2")
"""The reference study's thresholds: for its metric, and for its comparison."""

RULES: tuple[str, ...] = (*FIXED_RULES, "global", "per_class", "matched", "expected_f1")
"""Names of all rules."""

FALLBACK_THRESHOLD = 0.5

MICRO_SHARE = 0.1
"""Weight of micro F1 under ``"expected_f1"``: enough to save labels that macro F1 doesn't miss."""

# Sums of F1 differences that agree to this many units are taken as equal.
_TIE_TOLERANCE = 1e-10


def tune(
    rule: str,
    truth: np.ndarray,
    probability: np.ndarray,
    reference_frequency: np.ndarray | None = None,
) -> np.ndarray:
    """Thresholds by the name of the rule.

    Args:
        rule: One of `RULES`.
        truth: Labels of the tuning samples, shape (samples, classes), values 0 and 1. The fixed
            rules read only the number of classes, and accept an empty part.
        probability: Predicted probabilities, same shape, values 0–1.
        reference_frequency: Share of samples that have each class, shape (classes,), for
            ``"matched"``; the shares in `truth` by default.

    Returns:
        Array of shape (classes,), dtype float64.

    Raises:
        HpaError: If the rule is unknown, or a tuned rule gets no sample or arrays that are not
            valid.
    """
    if rule not in RULES:
        raise HpaError(f"The threshold rule is {rule!r}.", f"Choose one of {', '.join(RULES)}.")
    classes = np.asarray(truth).shape[-1]
    if rule in FIXED_RULES:
        return np.full(classes, float(rule))
    if len(truth) == 0:
        raise HpaError(
            f"The threshold rule {rule!r} got a threshold part without samples.",
            "Use a split with a threshold part, or the rule 0.5 or 0.2.",
        )
    if rule == "global":
        return np.full(classes, global_threshold(truth, probability))
    if rule == "per_class":
        return per_class_thresholds(truth, probability)
    if rule == "expected_f1":
        return expected_f1_thresholds(probability)
    return matched_thresholds(truth, probability, reference_frequency)


def global_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    """The one threshold with the highest macro F1 over all classes.

    Lowering the threshold accepts one entry after the other, in descending probability; each
    changes the F1 of its class only. A cumulative sum of these changes gives the macro F1 at
    every threshold in O(entries · log entries).

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        The threshold, or 0.5 where `truth` has no positive.

    Raises:
        HpaError: If the arrays are not valid.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    if not truth.any():
        return FALLBACK_THRESHOLD
    descending, f1 = _f1_by_accepted(truth, probability)
    change = np.diff(f1, axis=0, prepend=0).ravel()
    order = np.argsort(-descending.ravel(), kind="stable")
    values, total = descending.ravel()[order], np.cumsum(change[order])
    total[~_ends_of_ties(values)] = -np.inf
    accepted = int(np.argmax(total >= total.max() - _TIE_TOLERANCE)) + 1
    return float(_halfway(values[:, None], np.array([accepted]))[0])


def per_class_thresholds(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """For each class the threshold with its highest F1.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        Array of shape (classes,), dtype float64. Classes without positives in `truth` have the
        global threshold.

    Raises:
        HpaError: If the arrays are not valid.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    descending, f1 = _f1_by_accepted(truth, probability)
    accepted = np.where(_ends_of_ties(descending), f1, -1.0).argmax(axis=0) + 1
    return np.where(
        truth.any(axis=0), _halfway(descending, accepted), global_threshold(truth, probability)
    )


def matched_thresholds(
    truth: np.ndarray, probability: np.ndarray, reference_frequency: np.ndarray | None = None
) -> np.ndarray:
    """For each class the threshold that predicts it as often as the reference labels hold it.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1; used for the global threshold
            of classes with frequency 0, and for the frequencies where none are given.
        probability: Predicted probabilities, same shape, values 0–1.
        reference_frequency: Share of samples that have each class, shape (classes,), values
            0–1, for example in the training part.

    Returns:
        Array of shape (classes,), dtype float64. A frequency so low that no tuning sample
        should get the label gives a threshold above every tuning probability.

    Raises:
        HpaError: If the arrays are not valid.

    Source: the label-ratio rule of the competition's winner, https://doi.org/10.1038/s41592-019-0658-6.
    """
    truth, probability = metrics.checked_scores(truth, probability)
    samples, classes = truth.shape
    frequency = np.asarray(
        truth.mean(axis=0) if reference_frequency is None else reference_frequency, np.float64
    )
    if frequency.shape != (classes,) or not np.all((frequency >= 0) & (frequency <= 1)):
        raise HpaError(
            f"reference_frequency is {frequency!r}.",
            f"Give {classes} shares of samples from 0 to 1.",
        )
    descending = -np.sort(-probability, axis=0)
    # Row k stands for k accepted samples; 0 is always possible.
    possible = np.vstack([np.ones((1, classes), dtype=bool), _ends_of_ties(descending)])
    distance = np.abs(np.arange(samples + 1)[:, None] - frequency * samples)
    accepted = np.where(possible, distance, np.inf).argmin(axis=0)
    return np.where(
        frequency > 0, _halfway(descending, accepted), global_threshold(truth, probability)
    )


def expected_f1_thresholds(probability: np.ndarray, micro_share: float = MICRO_SHARE) -> np.ndarray:
    """Thresholds with the highest expected (1 - s) · macro F1 + s · micro F1, s = `micro_share`.

    With the most probable samples A of a class accepted, its F1 is taken to be
    2 Σ_A p / (|A| + Σ p), the ratio of the expected counts; micro F1 sums over all classes
    before it divides. Macro F1 alone is highest where each class accepts all samples above half
    of its F1, so that a class that is hard to tell is given far more often than it occurs.

    The classes' thresholds are improved in turn until none can be improved alone.

    Args:
        probability: Predicted probabilities, shape (samples, classes), values 0–1.
        micro_share: Weight of micro F1, 0–1.

    Returns:
        Array of shape (classes,), dtype float64. A class with no probability above 0 gets a
        threshold above all.

    Raises:
        HpaError: If the array is not valid.

    Source: for macro F1, Lipton, Elkan and Narayanaswamy, "Optimal thresholding of classifiers to
    maximize F1 measure" (2014).
    """
    _, probability = metrics.checked_scores(np.zeros(np.shape(probability), int), probability)
    samples, classes = probability.shape
    descending = -np.sort(-probability, axis=0)
    # Row k stands for the k most probable samples of each class.
    accepted, columns = np.arange(samples + 1), np.arange(classes)
    hits = np.vstack([np.zeros(classes), np.cumsum(descending, axis=0)])
    possible = np.vstack([np.ones((1, classes), dtype=bool), _ends_of_ties(descending)])
    total = np.maximum(hits[-1], np.finfo(float).tiny)
    macro = 2 * hits / (accepted[:, None] + total) / classes
    count = np.where(possible, macro, -1.0).argmax(axis=0)
    improved = True
    while improved:
        improved = False
        for column in columns:
            all_hits = hits[count, columns].sum() - hits[count[column], column] + hits[:, column]
            all_accepted = count.sum() - count[column] + accepted
            micro = 2 * all_hits / (all_accepted + total.sum())
            goal = (1 - micro_share) * macro[:, column] + micro_share * micro
            best = np.where(possible[:, column], goal, -1.0).argmax()
            if goal[best] > goal[count[column]] + _TIE_TOLERANCE:
                count[column], improved = best, True
    return _halfway(descending, count)


def _f1_by_accepted(truth: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of each class in descending order, and F1 with the rows so far accepted."""
    order = np.argsort(-probability, axis=0, kind="stable")
    true_positives = np.cumsum(np.take_along_axis(truth, order, axis=0), axis=0)
    accepted = np.arange(1, len(truth) + 1)[:, None]
    f1 = 2 * true_positives / (accepted + truth.sum(axis=0))
    return np.take_along_axis(probability, order, axis=0), f1


def _ends_of_ties(descending: np.ndarray) -> np.ndarray:
    """True where the next value down the first axis is smaller, and at the end."""
    last = np.ones((1, *descending.shape[1:]), dtype=bool)
    return np.concatenate([descending[:-1] > descending[1:], last])


def _halfway(descending: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Thresholds that accept the first `accepted` rows of each column.

    The neighbours beyond the extremes are 1 and 0. Where no number lies between the neighbours,
    the threshold is the accepted one; above a rejected 1 it is the next number after 1.
    """
    columns = np.arange(descending.shape[1])
    lowest_accepted = np.where(accepted > 0, descending[accepted - 1, columns], 1.0)
    padded = np.vstack([descending, np.zeros((1, len(columns)))])
    highest_rejected = padded[accepted, columns]
    lowest_accepted = np.where(
        (accepted == 0) & (highest_rejected == 1.0), np.nextafter(1.0, 2.0), lowest_accepted
    )
    middle = (lowest_accepted + highest_rejected) / 2
    return np.where(middle > highest_rejected, middle, lowest_accepted)
