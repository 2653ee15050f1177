"""Multi-label metrics over a whole set of samples.

Arrays have the shape (samples, classes). Truth and predictions hold 0 and 1; probabilities lie
between 0 and 1. Edge cases are decided once and hold everywhere in the project:

* Precision, recall and F1 are 0 where their denominator is 0 (scikit-learn's
  ``zero_division=0``). Macro averages run over all classes, the absent ones included;
  ``macro_f1_present`` runs over the classes with at least one positive in the truth.
* Average precision of a class without positives, and ROC AUC of a class without positives or
  without negatives, are NaN and left out of the macro average. The number of classes averaged
  stands beside it. If no class is left, the average is NaN.
* A sample without labels has coverage 0 and ranking loss 0, as in scikit-learn.
* A label is predicted where probability ≥ threshold.

`hpa_lib.study_metrics` holds the reference study's batch-averaged F1, which is another quantity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn import metrics as sklearn_metrics

from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES

READABLE_NAMES: dict[str, str] = {
    "macro_f1": "macro F1",
    "macro_f1_present": "macro F1 over the classes present",
    "micro_f1": "micro F1",
    "samples_f1": "samples F1",
    "macro_precision": "macro precision",
    "micro_precision": "micro precision",
    "samples_precision": "samples precision",
    "macro_recall": "macro recall",
    "micro_recall": "micro recall",
    "samples_recall": "samples recall",
    "binary_accuracy": "binary accuracy",
    "hamming_loss": "Hamming loss",
    "exact_match": "exact match ratio",
    "macro_average_precision": "macro average precision",
    "micro_average_precision": "micro average precision",
    "average_precision_classes": "classes in macro average precision",
    "macro_roc_auc": "macro ROC AUC",
    "micro_roc_auc": "micro ROC AUC",
    "roc_auc_classes": "classes in macro ROC AUC",
    "coverage_error": "coverage error",
    "label_ranking_loss": "label ranking loss",
    "classes_present": "classes present",
    "samples": "samples",
}
"""Keys of `summary` in their order, with the name that a reader sees."""

HIGHER_IS_BETTER: tuple[str, ...] = tuple(
    name
    for name in READABLE_NAMES
    if name not in {"hamming_loss", "coverage_error", "label_ranking_loss"}
    and name not in {"average_precision_classes", "roc_auc_classes", "classes_present", "samples"}
)
"""Metrics of `summary` for which a higher value is better; the others are losses and counts."""


def decide(
    probability: np.ndarray, threshold: float | np.ndarray, never_empty: bool = False
) -> np.ndarray:
    """Turn probabilities into labels: 1 where probability ≥ threshold.

    Args:
        probability: Shape (samples, classes), values 0–1.
        threshold: One number, or one a class. A value above 1 never gives a label.
        never_empty: Give each sample that would stay without a label the class with the highest
            ratio of probability to threshold, the lowest class index among equals. With one
            threshold for all classes this is the arg-max.

    Returns:
        Array of shape (samples, classes), dtype uint8, values 0 and 1.

    Raises:
        HpaError: If a probability lies outside 0–1, or `threshold` has the wrong shape, is
            negative or no number.
    """
    probability = _checked_probability(probability)
    threshold = np.asarray(threshold, dtype=np.float64)
    if threshold.shape not in {(), (probability.shape[1],)} or not np.all(threshold >= 0):
        raise HpaError(
            f"threshold is {threshold!r}.",
            f"Give one number from 0 to 1, or an array of {probability.shape[1]} of them.",
        )
    decisions = (probability >= threshold).astype(np.uint8)
    if never_empty:
        empty = np.flatnonzero(~decisions.any(axis=1))
        # A threshold of 0 accepts every probability, so no sample is empty and none divides by 0.
        decisions[empty, (probability[empty] / threshold).argmax(axis=1)] = 1
    return decisions


@dataclass(frozen=True)
class ConfusionCounts:
    """Counts behind precision, recall and F1, each of shape (..., classes).

    The counts may be weighted, and may have leading dimensions (such as bootstrap replicates).

    Attributes:
        true_positives: Samples that have the label and get it.
        predicted: Samples that get the label.
        positives: Samples that have the label.
        samples: Number (or total weight) of samples.
    """

    true_positives: np.ndarray
    predicted: np.ndarray
    positives: np.ndarray
    samples: float

    @property
    def false_positives(self) -> np.ndarray:
        """Samples that get the label and do not have it."""
        return self.predicted - self.true_positives

    @property
    def false_negatives(self) -> np.ndarray:
        """Samples that have the label and do not get it."""
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> np.ndarray:
        """Samples that neither have nor get the label."""
        return self.samples - self.positives - self.predicted + self.true_positives

    @property
    def precision(self) -> np.ndarray:
        """True positives over predicted; 0 where nothing is predicted."""
        return _ratio(self.true_positives, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """True positives over positives; 0 where there is no positive."""
        return _ratio(self.true_positives, self.positives)

    @property
    def f1(self) -> np.ndarray:
        """2 · true positives over (predicted + positives); 0 where both are 0."""
        return _ratio(2 * self.true_positives, self.predicted + self.positives)

    @property
    def pooled(self) -> "ConfusionCounts":
        """All classes added up, shape (..., 1): the basis of micro averages."""
        return ConfusionCounts(
            self.true_positives.sum(axis=-1, keepdims=True),
            self.predicted.sum(axis=-1, keepdims=True),
            self.positives.sum(axis=-1, keepdims=True),
            self.samples * self.positives.shape[-1],
        )

    def micro_averages(self) -> dict[str, np.ndarray]:
        """Micro F1, precision and recall, and binary accuracy, each of shape (...)."""
        pooled = self.pooled
        right = pooled.true_positives + pooled.true_negatives
        return {
            "micro_f1": pooled.f1[..., 0],
            "micro_precision": pooled.precision[..., 0],
            "micro_recall": pooled.recall[..., 0],
            "binary_accuracy": right[..., 0] / pooled.samples,
        }

    def macro_averages(self, present: np.ndarray) -> dict[str, np.ndarray]:
        """Macro F1, precision and recall, each of shape (...).

        Args:
            present: Boolean array of shape (classes,): the classes of ``macro_f1_present``,
                which is 0 where no class is present.
        """
        f1 = self.f1
        return {
            "macro_f1": f1.mean(axis=-1),
            "macro_f1_present": _ratio(f1[..., present].sum(axis=-1), np.asarray(present.sum())),
            "macro_precision": self.precision.mean(axis=-1),
            "macro_recall": self.recall.mean(axis=-1),
        }


def confusion_counts(truth: np.ndarray, prediction: np.ndarray) -> ConfusionCounts:
    """Count true positives, predictions and positives of each class.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        prediction: Predicted labels, same shape, values 0 and 1.

    Returns:
        Counts of shape (classes,), dtype int64.

    Raises:
        HpaError: If the shapes differ, there is no sample, or other values than 0 and 1 occur.
    """
    truth, prediction = checked_labels(truth, prediction)
    return ConfusionCounts(
        true_positives=(truth & prediction).sum(axis=0),
        predicted=prediction.sum(axis=0),
        positives=truth.sum(axis=0),
        samples=len(truth),
    )


def sample_scores(truth: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """Score each sample by itself; the mean over samples is the metric of that name.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        prediction: Predicted labels, same shape, values 0 and 1.

    Returns:
        Arrays of shape (samples,) named ``samples_f1``, ``samples_precision``,
        ``samples_recall`` and ``exact_match``. A sample that neither has nor gets a label
        scores 0 in the first three and 1 in the last.

    Raises:
        HpaError: If the shapes differ, there is no sample, or other values than 0 and 1 occur.
    """
    truth, prediction = checked_labels(truth, prediction)
    by_sample = confusion_counts(truth.T, prediction.T)
    return {
        "samples_f1": by_sample.f1,
        "samples_precision": by_sample.precision,
        "samples_recall": by_sample.recall,
        "exact_match": (truth == prediction).all(axis=1).astype(np.float64),
    }


def average_precision(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Average precision of each class, shape (classes,); NaN for a class without positives.

    The sum of precisions at each threshold, weighted by the gain in recall, without
    interpolation (scikit-learn's definition).

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = checked_scores(truth, probability)
    return np.array(
        [
            sklearn_metrics.average_precision_score(labels, scores) if labels.any() else np.nan
            for labels, scores in zip(truth.T, probability.T, strict=True)
        ]
    )


def roc_auc(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, shape (classes,).

    NaN for a class without positives or without negatives.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = checked_scores(truth, probability)
    return np.array(
        [
            sklearn_metrics.roc_auc_score(labels, scores)
            if labels.any() and not labels.all()
            else np.nan
            for labels, scores in zip(truth.T, probability.T, strict=True)
        ]
    )


def summary(
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: float | np.ndarray,
    never_empty: bool = False,
) -> dict[str, float]:
    """All set-level metrics of one network.

    Args:
        truth: Labels of at least two classes, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        threshold: One number, or one a class; see `decide`.
        never_empty: See `decide`.

    Returns:
        The metrics named by `READABLE_NAMES`, in that order; NaN where one is undefined.
        Ranking metrics (average precision, ROC AUC, coverage error, ranking loss) do not
        depend on the decisions.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = checked_scores(truth, probability)
    prediction = decide(probability, threshold, never_empty)
    counts = confusion_counts(truth, prediction)
    present = counts.positives > 0
    precisions, areas = average_precision(truth, probability), roc_auc(truth, probability)
    # All entries as the only class: the micro averages of ranking metrics.
    pooled = truth.reshape(-1, 1), probability.reshape(-1, 1)
    values = counts.micro_averages() | counts.macro_averages(present)
    values |= {name: scores.mean() for name, scores in sample_scores(truth, prediction).items()}
    values |= {
        "hamming_loss": 1 - values["binary_accuracy"],
        "macro_average_precision": _mean_of_defined(precisions),
        "micro_average_precision": average_precision(*pooled)[0],
        "average_precision_classes": np.isfinite(precisions).sum(),
        "macro_roc_auc": _mean_of_defined(areas),
        "micro_roc_auc": roc_auc(*pooled)[0],
        "roc_auc_classes": np.isfinite(areas).sum(),
        "coverage_error": sklearn_metrics.coverage_error(truth, probability),
        "label_ranking_loss": sklearn_metrics.label_ranking_loss(truth, probability),
        "classes_present": present.sum(),
        "samples": len(truth),
    }
    return {name: float(values[name]) for name in READABLE_NAMES}


def per_class(
    truth: np.ndarray,
    probability: np.ndarray,
    threshold: float | np.ndarray,
    never_empty: bool = False,
    class_names: Sequence[str] = CLASS_NAMES,
) -> pd.DataFrame:
    """Counts and metrics of each class.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        threshold: One number, or one a class; see `decide`.
        never_empty: See `decide`.
        class_names: One name a class.

    Returns:
        A table indexed by class name with the columns positives, predicted, true_positives,
        false_positives, false_negatives, true_negatives, precision, recall, f1,
        average_precision and roc_auc.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = checked_scores(truth, probability)
    check_class_names(class_names, truth.shape[1])
    counts = confusion_counts(truth, decide(probability, threshold, never_empty))
    return pd.DataFrame(
        {
            "positives": counts.positives,
            "predicted": counts.predicted,
            "true_positives": counts.true_positives,
            "false_positives": counts.false_positives,
            "false_negatives": counts.false_negatives,
            "true_negatives": counts.true_negatives,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
            "average_precision": average_precision(truth, probability),
            "roc_auc": roc_auc(truth, probability),
        },
        index=pd.Index(class_names, name="class"),
    )


def check_class_names(class_names: Sequence[str], classes: int) -> None:
    """Raise `HpaError` unless there is one name for each of `classes` columns."""
    if len(class_names) != classes:
        raise HpaError(
            f"The arrays have {classes} classes, and class_names has {len(class_names)} names.",
            "Give one name a class.",
        )


def checked_labels(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as int64, checked for shape and for holding 0 and 1 only.

    Raises:
        HpaError: If the shapes differ, there is no sample, or other values than 0 and 1 occur.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    _check_shapes(truth, prediction, "prediction")
    _check_binary(truth, "truth")
    _check_binary(prediction, "prediction")
    return truth.astype(np.int64), prediction.astype(np.int64)


def checked_scores(truth: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth as int64 and probability as float64, checked for shape and range.

    Raises:
        HpaError: If the shapes differ, there is no sample, or values are out of range.
    """
    truth, probability = np.asarray(truth), np.asarray(probability)
    _check_shapes(truth, probability, "probability")
    _check_binary(truth, "truth")
    return truth.astype(np.int64), _checked_probability(probability)


def _checked_probability(probability: np.ndarray) -> np.ndarray:
    probability = np.asarray(probability, dtype=np.float64)
    if probability.ndim != 2:
        raise HpaError(
            f"probability has shape {probability.shape}.", "Give an array (samples, classes)."
        )
    wrong = ~((probability >= 0) & (probability <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise HpaError(
            f"probability holds {probability[row, column]} (sample {row}, class {column}).",
            "Probabilities lie between 0 and 1; give the output of a sigmoid.",
        )
    return probability


def _check_shapes(truth: np.ndarray, other: np.ndarray, name: str) -> None:
    if truth.ndim != 2 or truth.shape != other.shape or truth.size == 0:
        raise HpaError(
            f"truth has shape {truth.shape} and {name} {other.shape}.",
            "Give two arrays of one shape (samples, classes) with at least one sample.",
        )


def _check_binary(array: np.ndarray, name: str) -> None:
    wrong = ~np.isin(array, (0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise HpaError(
            f"{name} holds {array[row, column]} (sample {row}, class {column}).",
            "Labels are 0 or 1; turn probabilities into labels with metrics.decide.",
        )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient in float64, 0 where the denominator is 0."""
    quotient = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=quotient, where=denominator != 0)


def _mean_of_defined(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN where all are."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")
