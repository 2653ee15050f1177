"""Predictors that never look at an image: what a score is worth without any learning.

The trivial predictors are fitted on training labels and predict the same for every sample. The
commonest-classes predictor knows the truth of a few classes on purpose, and shows which metrics
it deceives.
"""

import numpy as np

from hpa_lib import metrics
from hpa_lib.errors import HpaError


def trivial_predictors(training_labels: np.ndarray) -> dict[str, np.ndarray]:
    """Fit the predictors that give every sample the same probabilities.

    * ``nothing``: no label;
    * ``everything``: all labels;
    * ``commonest class``: the class with most training samples (the lowest index among equals);
    * ``commonest label set``: the label set with most training samples (among equals the one
      whose multi-hot row comes first in lexicographic order);
    * ``class frequencies``: the share of training samples that have the class, as probability.

    Args:
        training_labels: Shape (samples, classes), values 0 and 1.

    Returns:
        For each name the probabilities of one sample, shape (classes,), dtype float64. See
        `repeat` for many samples.

    Raises:
        HpaError: If there is no sample, or other values than 0 and 1 occur.
    """
    training_labels, _ = metrics.checked_labels(training_labels, training_labels)
    classes = training_labels.shape[1]
    frequency = training_labels.mean(axis=0)
    commonest_class = np.zeros(classes)
    commonest_class[frequency.argmax()] = 1
    label_sets, counts = np.unique(training_labels, axis=0, return_counts=True)
    return {
        "nothing": np.zeros(classes),
        "everything": np.ones(classes),
        "commonest class": commonest_class,
        "commonest label set": label_sets[counts.argmax()].astype(np.float64),
        "class frequencies": frequency,
    }


def repeat(probability: np.ndarray, samples: int) -> np.ndarray:
    """Give `samples` samples the same probabilities: shape (classes,) to (samples, classes)."""
    return np.tile(probability, (samples, 1))


def best_trivial(
    training_labels: np.ndarray,
    truth: np.ndarray,
    metric: str = "macro_f1",
    threshold: float | np.ndarray = 0.5,
) -> tuple[str, float]:
    """The trivial predictor with the highest value of a metric: the bar that a network clears.

    Args:
        training_labels: Labels to fit on, shape (training samples, classes).
        truth: Labels to score on, shape (samples, classes).
        metric: A key of `metrics.summary` for which higher is better.
        threshold: See `metrics.decide`.

    Returns:
        Name and value; the first in the order of `trivial_predictors` among equals.

    Raises:
        HpaError: If `metric` is unknown or higher is not better, or an array is not valid.
    """
    if metric not in metrics.HIGHER_IS_BETTER:
        raise HpaError(
            f"metric is {metric!r}.", f"Choose one of {', '.join(metrics.HIGHER_IS_BETTER)}."
        )
    values = {
        name: metrics.summary(truth, repeat(probability, len(truth)), threshold)[metric]
        for name, probability in trivial_predictors(training_labels).items()
    }
    best = max(values, key=lambda name: values[name])
    return best, values[best]


def commonest_classes_predictor(
    truth: np.ndarray, classes: int, precision: float, recall: float, seed: int = 0
) -> np.ndarray:
    """Predict the commonest classes with a given precision and recall, and no other class.

    For each of the `classes` commonest classes, ``round(recall · positives)`` positives drawn at
    random get the label, and so many negatives that the precision is met as closely as whole
    numbers and the number of negatives allow. It shows that a micro-averaged F1 and the binary
    accuracy can be high while most classes are never found.

    Args:
        truth: Labels, shape (samples, all classes), values 0 and 1.
        classes: How many classes are known; the lowest index first among equally common ones.
        precision: Above 0, at most 1.
        recall: From 0 to 1.
        seed: The same seed gives the same predictions.

    Returns:
        Labels, shape (samples, all classes), dtype uint8, values 0 and 1.

    Raises:
        HpaError: If a parameter is out of its range or `truth` is not valid.
    """
    truth, _ = metrics.checked_labels(truth, truth)
    if not (0 <= classes <= truth.shape[1] and 0 < precision <= 1 and 0 <= recall <= 1):
        raise HpaError(
            f"classes is {classes}, precision {precision} and recall {recall}.",
            f"Give 0–{truth.shape[1]} classes, a precision above 0 and up to 1, a recall of 0–1.",
        )
    generator = np.random.default_rng(seed)
    prediction = np.zeros(truth.shape, dtype=np.uint8)
    for column in np.argsort(-truth.sum(axis=0), kind="stable")[:classes]:
        positives, negatives = (np.flatnonzero(truth[:, column] == value) for value in (1, 0))
        found = round(recall * len(positives))
        wrong = min(round(found * (1 - precision) / precision), len(negatives))
        prediction[generator.choice(positives, found, replace=False), column] = 1
        prediction[generator.choice(negatives, wrong, replace=False), column] = 1
    return prediction
