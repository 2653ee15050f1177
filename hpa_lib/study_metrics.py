"""The metrics of the reference study as it computed them, and the numbers that it reported.

Nothing here describes a whole set of samples: the study's F1 is a mean over batches of ten, and
the word "acc" in its log stands for two metrics. Use `hpa_lib.metrics` for every other purpose.

Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cells 8, 10, 16 and its logs.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from hpa_lib.errors import HpaError

KERAS_EPSILON = 1e-7
"""Value of ``keras.backend.epsilon()``, added to every denominator of the study's F1."""

STUDY_BATCH_SIZE = 10


def batch_averaged_f1(
    truth: np.ndarray, probability: np.ndarray, batch_size: int = STUDY_BATCH_SIZE
) -> float:
    """The study's F1: micro-averaged inside each batch, then averaged over the batches.

    For each batch, with sums over all samples and classes of the batch::

        true positives = sum(round(clip(truth * probability, 0, 1)))
        recall         = true positives / (sum(round(clip(truth, 0, 1))) + 1e-7)
        precision      = true positives / (sum(round(clip(probability, 0, 1))) + 1e-7)
        F1             = 2 * precision * recall / (precision + recall + 1e-7)

    Rounding is half to even on float32, as in Keras, so a probability of exactly 0.5 is no
    label. The sums are exact in float32; the ratios are taken in float64 and differ from Keras
    by less than 1e-6. A last, shorter batch counts as much as the others, as in Keras. The
    value depends on the order of the samples and on the batch size.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        batch_size: Samples a batch; 10 in the study.

    Returns:
        The mean of the batches' F1, from 0 to just below 1.

    Raises:
        HpaError: If the shapes differ, there is no sample, or `batch_size` is below 1.
    """
    truth, probability = _as_float32_pair(truth, probability)
    if batch_size < 1:
        raise HpaError(f"batch_size is {batch_size}.", "Give a whole number of at least 1.")
    starts = np.arange(0, len(truth), batch_size)

    def batch_sums(values: np.ndarray) -> np.ndarray:
        rounded = np.round(np.clip(values, 0, 1)).sum(axis=1, dtype=np.float64)
        return np.add.reduceat(rounded, starts)

    true_positives = batch_sums(truth * probability)
    recall = true_positives / (batch_sums(truth) + KERAS_EPSILON)
    precision = true_positives / (batch_sums(probability) + KERAS_EPSILON)
    return float(np.mean(2 * (precision * recall) / (precision + recall + KERAS_EPSILON)))


def binary_accuracy(truth: np.ndarray, probability: np.ndarray, threshold: float = 0.5) -> float:
    """The study's "acc" of stage 2: the share of single labels, of all classes, that are right.

    A label is predicted where the probability lies strictly above `threshold`, as in Keras.
    Since 94 % of all entries of the real label table are zeros, predicting nothing scores 0.94.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.
        threshold: Between 0 and 1.

    Returns:
        A share from 0 to 1.

    Raises:
        HpaError: If the shapes differ or there is no sample.
    """
    truth, probability = _as_float32_pair(truth, probability)
    return float(np.mean((truth > 0) == (probability > np.float32(threshold))))


def categorical_accuracy(truth: np.ndarray, probability: np.ndarray) -> float:
    """The study's "acc" of stage 1: the share of samples whose two arg-max classes agree.

    The metric is meant for samples with one label each: of several labels, only the first one
    (the lowest class index) can be right.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Predicted probabilities, same shape, values 0–1.

    Returns:
        A share from 0 to 1.

    Raises:
        HpaError: If the shapes differ or there is no sample.
    """
    truth, probability = _as_float32_pair(truth, probability)
    return float(np.mean(truth.argmax(axis=1) == probability.argmax(axis=1)))


def _as_float32_pair(truth: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays in Keras's number type, checked for equal shape and at least one sample."""
    truth = np.asarray(truth, dtype=np.float32)
    probability = np.asarray(probability, dtype=np.float32)
    if truth.ndim != 2 or truth.shape != probability.shape or truth.size == 0:
        raise HpaError(
            f"truth has shape {truth.shape} and probability {probability.shape}.",
            "Give two arrays of one shape (samples, classes) with at least one sample.",
        )
    return truth, probability


@dataclass(frozen=True)
class ReportedNumber:
    """One number that the study printed, and what it really is.

    Attributes:
        network: ``"InceptionResNetV2"`` or ``"VGG16"``.
        quantity: ``"f1"`` (`batch_averaged_f1`), ``"accuracy"`` (`binary_accuracy`),
            ``"categorical_accuracy"`` (`categorical_accuracy`) or ``"loss"`` (binary
            cross-entropy).
        value: The number as printed.
        rows: ``"training"`` (running mean over an epoch of 1,000 augmented draws, dropout on)
            or ``"validation"`` (one fixed batch of 256 rows, which are training rows too).
        stage: 1 (learning rate 1e-3) or 2 (1e-4).
        epoch: Epoch within the stage, from 1; None where the study does not say.
        meaning: What the number is, in words.
    """

    network: str
    quantity: str
    value: float
    rows: str
    stage: int
    epoch: int | None
    meaning: str


_TRAINING_F1 = (
    "Headline. Mean over 100 training batches of 10, dropout and augmentation on; "
    "micro-averaged inside a batch. No held-out score."
)
_TRAINING_ACCURACY = "Mean over 100 training batches, dropout and augmentation on."
_VALIDATION = 'One batch of 256 rows, called "validation", drawn from the training rows.'
_STAGE_1_LOSS = _VALIDATION + " Batch-normalization statistics lag behind the weights."
_STAGE_1_ACCURACY = _VALIDATION + " Share of samples whose arg-max class is their first label."

REPORTED: tuple[ReportedNumber, ...] = (
    ReportedNumber("InceptionResNetV2", "f1", 0.6379, "training", 2, 150, _TRAINING_F1),
    ReportedNumber("VGG16", "f1", 0.5043, "training", 2, 150, _TRAINING_F1),
    ReportedNumber("InceptionResNetV2", "accuracy", 0.9652, "training", 2, 150, _TRAINING_ACCURACY),
    ReportedNumber(
        "VGG16",
        "accuracy",
        0.955,
        "training",
        2,
        150,
        _TRAINING_ACCURACY + " Rounded, in the text.",
    ),
    ReportedNumber("InceptionResNetV2", "f1", 0.6862, "validation", 2, 150, _VALIDATION),
    ReportedNumber("VGG16", "f1", 0.5218, "validation", 2, 147, _VALIDATION),
    ReportedNumber("InceptionResNetV2", "loss", 0.0935, "validation", 2, 150, _VALIDATION),
    ReportedNumber(
        "VGG16", "loss", 0.12511, "validation", 2, None, _VALIDATION + " Best of 150 epochs."
    ),
    ReportedNumber("InceptionResNetV2", "accuracy", 0.9675, "validation", 2, 150, _VALIDATION),
    ReportedNumber("VGG16", "accuracy", 0.9562, "validation", 2, 147, _VALIDATION),
    *(
        ReportedNumber("InceptionResNetV2", "loss", value, "validation", 1, epoch, _STAGE_1_LOSS)
        for epoch, value in (
            (1, 192.0276),
            (2, 24.0305),
            (3, 0.1781),
            (18, 1604.7177),
            (19, 29.8094),
            (20, 0.8145),
        )
    ),
    *(
        ReportedNumber(
            "InceptionResNetV2",
            "categorical_accuracy",
            value,
            "validation",
            1,
            epoch,
            _STAGE_1_ACCURACY,
        )
        for epoch, value in (
            (1, 0.4531),
            (2, 0.4531),
            (3, 0.4297),
            (18, 0.4297),
            (19, 0.4375),
            (20, 0.3750),
        )
    ),
)
"""The numbers that the study reports. None was measured on rows kept out of training."""


def reported_table() -> pd.DataFrame:
    """The study's numbers as a table, one row each, columns as in `ReportedNumber`."""
    table = pd.DataFrame([asdict(number) for number in REPORTED])
    return table.astype({"epoch": "Int64"})
