import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_lib import study_metrics
from hpa_lib.errors import HpaError


def test_f1_of_one_batch_worked_out_by_hand():
    truth = np.array([[1, 0, 1], [0, 1, 0]])
    probability = np.array([[0.9, 0.6, 0.2], [0.1, 0.8, 0.7]])
    # Predicted 4, right 2, positives 3: precision 1/2, recall 2/3, F1 4/7.
    assert study_metrics.batch_averaged_f1(truth, probability) == pytest.approx(4 / 7, abs=1e-6)


def test_f1_is_averaged_over_batches_not_pooled():
    truth = np.array([[1, 0]] * 10 + [[1, 1]] * 10)
    probability = truth * np.array([[0.9]] * 10 + [[0.1]] * 10)
    # First batch perfect, second finds nothing; pooled, F1 would be 2·10 / (10 + 30) = 1/2 too,
    # so a third, shorter batch of one perfect sample tells the two apart.
    truth, probability = np.vstack([truth, [[1, 1]]]), np.vstack([probability, [[0.9, 0.9]]])
    assert study_metrics.batch_averaged_f1(truth, probability) == pytest.approx(2 / 3, abs=1e-6)
    assert study_metrics.batch_averaged_f1(truth, probability, batch_size=21) == pytest.approx(
        2 * 12 / (12 + 32), abs=1e-6
    )


def test_f1_depends_on_the_order_of_samples():
    truth = np.tile([1, 0], (20, 1))
    found = np.tile([[0.9, 0.0], [0.0, 0.0]], (10, 1))  # every other label is found
    interleaved = study_metrics.batch_averaged_f1(truth, found)
    found_first = study_metrics.batch_averaged_f1(truth, found[np.argsort(-found[:, 0])])
    assert interleaved == pytest.approx(2 / 3, abs=1e-6)
    assert found_first == pytest.approx(1 / 2, abs=1e-6)


def test_one_half_rounds_to_no_label_everywhere():
    truth, probability = np.array([[1, 0]]), np.array([[0.5, 0.5]])
    assert study_metrics.batch_averaged_f1(truth, probability) == 0
    assert study_metrics.binary_accuracy(truth, probability) == 0.5


def test_rounding_happens_in_float32_as_in_keras():
    assert study_metrics.batch_averaged_f1(np.array([[1]]), np.array([[0.5 + 1e-12]])) == 0


def test_a_batch_without_labels_and_predictions_scores_zero():
    assert study_metrics.batch_averaged_f1(np.zeros((10, 28)), np.zeros((10, 28))) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 35), st.integers(1, 12))
def test_f1_equals_the_printed_code_run_batch_by_batch(seed, samples, batch_size):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, (samples, 5)).astype(np.float32)
    probability = generator.random((samples, 5), dtype=np.float32)

    def study_f1(y_true, y_pred):
        true_positives = np.sum(np.round(np.clip(y_true * y_pred, 0, 1)))
        recall = true_positives / (np.sum(np.round(np.clip(y_true, 0, 1))) + 1e-7)
        precision = true_positives / (np.sum(np.round(np.clip(y_pred, 0, 1))) + 1e-7)
        return 2 * ((precision * recall) / (precision + recall + 1e-7))

    starts = range(0, samples, batch_size)
    batches = [slice(start, start + batch_size) for start in starts]
    expected = np.mean([study_f1(truth[batch], probability[batch]) for batch in batches])
    actual = study_metrics.batch_averaged_f1(truth, probability, batch_size)
    assert actual == pytest.approx(expected, abs=1e-6)


def test_accuracies_are_two_metrics():
    truth = np.array([[1, 0, 1, 0], [0, 1, 0, 0]])
    probability = np.array([[0.6, 0.1, 0.7, 0.0], [0.4, 0.45, 0.0, 0.0]])
    assert study_metrics.binary_accuracy(truth, probability) == 7 / 8
    assert study_metrics.binary_accuracy(truth, probability, threshold=0.42) == 1.0
    # The first sample's arg-max is class 2, right but not its first label.
    assert study_metrics.categorical_accuracy(truth, probability) == 0.5


def test_predicting_nothing_is_accurate():
    truth = np.zeros((10, 28))
    truth[:, 0] = 1
    assert study_metrics.binary_accuracy(truth, np.zeros((10, 28))) == pytest.approx(27 / 28)


@pytest.mark.parametrize(
    ("truth", "probability"),
    [(np.zeros((2, 3)), np.zeros((3, 3))), (np.zeros((0, 3)), np.zeros((0, 3)))],
)
def test_wrong_shapes_are_refused(truth, probability):
    for metric in (
        study_metrics.batch_averaged_f1,
        study_metrics.binary_accuracy,
        study_metrics.categorical_accuracy,
    ):
        with pytest.raises(HpaError, match="shape"):
            metric(truth, probability)


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(HpaError, match="batch_size is 0"):
        study_metrics.batch_averaged_f1(np.zeros((2, 3)), np.zeros((2, 3)), 0)


def test_reported_numbers_cannot_be_changed_and_say_what_they_are():
    with pytest.raises(dataclasses.FrozenInstanceError):
        study_metrics.REPORTED[0].value = 1.0
    table = study_metrics.reported_table()
    headline = table[(table["quantity"] == "f1") & (table["rows"] == "training")]
    assert dict(zip(headline["network"], headline["value"], strict=True)) == {
        "InceptionResNetV2": 0.6379,
        "VGG16": 0.5043,
    }
    assert set(table["rows"]) == {"training", "validation"}
    worst = table.loc[table["value"].idxmax()]
    assert (worst["quantity"], worst["stage"], worst["epoch"]) == ("loss", 1, 18)
