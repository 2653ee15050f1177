import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hpa_lib import metrics
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES


@st.composite
def scored_samples(draw, minimum_samples=1):
    """Truth and probabilities with absent classes, full classes, empty rows and equal scores."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples, classes = draw(st.integers(minimum_samples, 40)), draw(st.integers(2, 8))
    share = generator.choice([0.0, 0.1, 0.5, 1.0], size=classes)
    truth = (generator.random((samples, classes)) < share).astype(np.uint8)
    levels = draw(st.sampled_from([2, 10, 1_000_000]))
    return truth, generator.integers(0, levels + 1, (samples, classes)) / levels


TRUTH = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]])
PROBABILITY = np.array([[0.9, 0.4, 0.1], [0.8, 0.6, 0.2], [0.7, 0.3, 0.1], [0.2, 0.1, 0.3]])


def test_summary_worked_out_by_hand():
    values = metrics.summary(TRUTH, PROBABILITY, 0.5)
    # Class 0: 2 of 3 predictions right, 2 of 3 positives found; class 1: none; class 2: absent.
    assert values["macro_f1"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert values["macro_f1_present"] == pytest.approx((2 / 3 + 0) / 2)
    assert values["micro_f1"] == pytest.approx(2 * 2 / (4 + 4))
    assert values["micro_precision"] == values["micro_recall"] == pytest.approx(2 / 4)
    # Samples: 2·1/(1+2), 2·1/(2+1), nothing to find but one predicted, nothing predicted.
    assert values["samples_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)
    assert values["binary_accuracy"] == pytest.approx(8 / 12)
    assert values["hamming_loss"] == pytest.approx(4 / 12)
    assert values["exact_match"] == 0
    # Class 0 ranks its positives 1st, 2nd and 4th; class 1 ranks its positive 2nd.
    assert values["macro_average_precision"] == pytest.approx(((1 + 1 + 3 / 4) / 3 + 1 / 2) / 2)
    assert values["average_precision_classes"] == values["roc_auc_classes"] == 2
    assert values["macro_roc_auc"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert (values["classes_present"], values["samples"]) == (2, 4)


def test_keys_are_stable_and_all_have_a_readable_name():
    assert list(metrics.summary(TRUTH, PROBABILITY, 0.5)) == list(metrics.READABLE_NAMES)
    losses = {"hamming_loss", "coverage_error", "label_ranking_loss"}
    counts = {"average_precision_classes", "roc_auc_classes", "classes_present", "samples"}
    assert set(metrics.READABLE_NAMES) - set(metrics.HIGHER_IS_BETTER) == losses | counts


@pytest.mark.parametrize(("key", "name"), metrics.READABLE_NAMES.items())
def test_a_readable_name_holds_the_words_of_its_key(key, name):
    assert set(key.split("_")) <= set(name.lower().split())


def test_a_perfect_prediction_is_best_in_every_metric():
    values = metrics.summary(TRUTH, TRUTH.astype(float), 0.5)
    perfect = {"binary_accuracy", "micro_f1", "macro_f1_present", "exact_match", "macro_roc_auc"}
    assert {values[name] for name in perfect} == {1.0}
    assert values["hamming_loss"] == values["label_ranking_loss"] == 0


@settings(max_examples=60, deadline=None)
@given(scored_samples(), st.floats(0.05, 1.0))
def test_summary_equals_scikit_learn(scored, threshold):
    truth, probability = scored
    prediction = (probability >= threshold).astype(int)
    values = metrics.summary(truth, probability, threshold)
    for average in ("macro", "micro", "samples"):
        expected = sklearn_metrics.precision_recall_fscore_support(
            truth, prediction, average=average, zero_division=0
        )
        actual = [values[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(actual, expected[:3], atol=1e-12)
    expected = {
        "hamming_loss": sklearn_metrics.hamming_loss(truth, prediction),
        "binary_accuracy": sklearn_metrics.accuracy_score(truth.ravel(), prediction.ravel()),
        "exact_match": sklearn_metrics.accuracy_score(truth, prediction),
        "coverage_error": sklearn_metrics.coverage_error(truth, probability),
        "label_ranking_loss": sklearn_metrics.label_ranking_loss(truth, probability),
    }
    present, mixed = truth.any(axis=0), truth.any(axis=0) & ~truth.all(axis=0)
    if present.any():
        expected["macro_f1_present"] = (
            sklearn_metrics.f1_score(truth[:, present].T.ravel(), prediction[:, present].T.ravel())
            if present.sum() == 1
            else sklearn_metrics.f1_score(
                truth[:, present], prediction[:, present], average="macro", zero_division=0
            )
        )
        expected["micro_average_precision"] = sklearn_metrics.average_precision_score(
            truth, probability, average="micro"
        )
    if present.sum() > 1:
        expected["macro_average_precision"] = sklearn_metrics.average_precision_score(
            truth[:, present], probability[:, present], average="macro"
        )
    if mixed.sum() > 1:
        expected["macro_roc_auc"] = sklearn_metrics.roc_auc_score(
            truth[:, mixed], probability[:, mixed], average="macro"
        )
    if truth.any() and not truth.all():
        expected["micro_roc_auc"] = sklearn_metrics.roc_auc_score(
            truth, probability, average="micro"
        )
    actual = {name: values[name] for name in expected}
    assert actual == pytest.approx(expected, abs=1e-12)
    assert values["average_precision_classes"] == present.sum()
    assert values["roc_auc_classes"] == mixed.sum()


@settings(max_examples=40, deadline=None)
@given(scored_samples())
def test_confusion_counts_equal_scikit_learn(scored):
    truth, probability = scored
    prediction = metrics.decide(probability, 0.5)
    counts = metrics.confusion_counts(truth, prediction)
    expected = sklearn_metrics.multilabel_confusion_matrix(truth, prediction)
    np.testing.assert_array_equal(counts.true_negatives, expected[:, 0, 0])
    np.testing.assert_array_equal(counts.false_positives, expected[:, 0, 1])
    np.testing.assert_array_equal(counts.false_negatives, expected[:, 1, 0])
    np.testing.assert_array_equal(counts.true_positives, expected[:, 1, 1])


def test_averages_of_replicates_are_those_of_each_replicate():
    random = np.random.default_rng(0)
    present = np.array([True, False, True, True])
    truth = random.integers(0, 2, (5, 30, 4)) * present
    prediction = random.integers(0, 2, (5, 30, 4))
    each = [metrics.confusion_counts(*pair) for pair in zip(truth, prediction, strict=True)]
    together = metrics.ConfusionCounts(
        *(
            np.stack([getattr(one, name) for one in each])
            for name in ("true_positives", "predicted", "positives")
        ),
        samples=30,
    )
    for averages in (
        metrics.ConfusionCounts.micro_averages,
        lambda counts: metrics.ConfusionCounts.macro_averages(counts, present),
    ):
        for name, values in averages(together).items():
            assert values.tolist() == [averages(one)[name] for one in each]
            assert len(set(values)) > 1


@pytest.mark.filterwarnings("error")
def test_undefined_ranking_metrics_are_nan_and_left_out():
    truth = np.array([[1, 0, 1], [1, 0, 0]])  # class 0 has no negative, class 1 no positive
    probability = np.array([[0.9, 0.5, 0.8], [0.1, 0.5, 0.9]])
    np.testing.assert_array_equal(metrics.average_precision(truth, probability), [1, np.nan, 0.5])
    np.testing.assert_array_equal(metrics.roc_auc(truth, probability), [np.nan, np.nan, 0])
    values = metrics.summary(truth, probability, 0.5)
    assert (values["macro_average_precision"], values["average_precision_classes"]) == (0.75, 2)
    assert (values["macro_roc_auc"], values["roc_auc_classes"]) == (0, 1)


@pytest.mark.filterwarnings("error")
def test_without_any_positive_f1_is_zero_and_ranking_metrics_are_nan():
    values = metrics.summary(np.zeros((3, 4)), np.zeros((3, 4)), 0.5)
    assert values["macro_f1"] == values["macro_f1_present"] == values["micro_f1"] == 0
    assert values["samples_f1"] == 0
    assert values["exact_match"] == values["binary_accuracy"] == 1
    for name in ("macro_average_precision", "micro_average_precision", "macro_roc_auc"):
        assert np.isnan(values[name])


def test_per_class_table():
    truth = np.zeros((4, 28), dtype=int)
    probability = np.zeros((4, 28))
    truth[:, :3], probability[:, :3] = TRUTH, PROBABILITY
    table = metrics.per_class(truth, probability, 0.5)
    assert list(table.index) == list(CLASS_NAMES)
    assert table.index.name == "class"
    assert list(table.columns) == [
        "positives", "predicted", "true_positives", "false_positives", "false_negatives",
        "true_negatives", "precision", "recall", "f1", "average_precision", "roc_auc",
    ]  # fmt: skip
    row = table.loc["Nucleoplasm"]
    counts = ["positives", "predicted", "true_positives", "false_positives", "false_negatives"]
    assert row[[*counts, "true_negatives"]].tolist() == [3, 3, 2, 1, 1, 0]
    assert row["precision"] == row["recall"] == row["f1"] == pytest.approx(2 / 3)
    assert table["positives"].dtype == np.int64
    assert table["roc_auc"].notna().sum() == 2
    counts = table[["true_positives", "false_positives", "false_negatives", "true_negatives"]]
    assert (counts.sum(axis=1) == 4).all()


@pytest.mark.parametrize(("never_empty", "predicted"), [({}, 3), ({"never_empty": True}, 4)])
def test_never_empty_reaches_summary_and_table(never_empty, predicted):
    # The last sample stays empty at 0.5; its highest probability is that of the absent class.
    values = metrics.summary(TRUTH, PROBABILITY, 0.5, **never_empty)
    assert values["micro_precision"] == pytest.approx(2 / (predicted + 1))
    table = metrics.per_class(TRUTH, PROBABILITY, 0.5, **never_empty, class_names=("a", "b", "c"))
    assert table["predicted"].tolist() == [3, 1, predicted - 3]


def test_per_class_refuses_names_that_do_not_fit():
    with pytest.raises(HpaError, match="3 classes, and class_names has 28"):
        metrics.per_class(TRUTH, PROBABILITY, 0.5)


def test_decide_accepts_the_threshold_itself_and_thresholds_by_class():
    probability = np.array([[0.5, 0.2, 0.49]])
    assert metrics.decide(probability, 0.5).tolist() == [[1, 0, 0]]
    assert metrics.decide(probability, np.array([0.6, 0.2, 0.4])).tolist() == [[0, 1, 1]]
    assert metrics.decide(probability, 0.5).dtype == np.uint8


def test_never_empty_gives_the_class_nearest_to_its_threshold_to_empty_rows_only():
    probability = np.array([[0.4, 0.3, 0.1], [0.9, 0.0, 0.1]])
    assert metrics.decide(probability, 0.5).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert metrics.decide(probability, 0.5, never_empty=True).tolist() == [[1, 0, 0], [1, 0, 0]]
    # Ratios 0.4/0.8, 0.05/0.2 and 0.1/0.9: class 0, though class 1 is short by less.
    decided = metrics.decide(
        np.array([[0.4, 0.05, 0.1]]), np.array([0.8, 0.2, 0.9]), never_empty=True
    )
    assert decided.tolist() == [[1, 0, 0]]
    # Ratios 0.4/0.9 and 0.3/0.4: class 1, though class 0 has the higher probability.
    decided = metrics.decide(
        np.array([[0.4, 0.3, 0.1]]), np.array([0.9, 0.4, 0.9]), never_empty=True
    )
    assert decided.tolist() == [[0, 1, 0]]
    assert metrics.decide(np.zeros((1, 3)), 0.5, never_empty=True).tolist() == [[1, 0, 0]]


@settings(max_examples=40, deadline=None)
@given(scored_samples(), st.floats(0, 1.5))
def test_never_empty_adds_labels_to_empty_rows_only(scored, threshold):
    _, probability = scored
    plain = metrics.decide(probability, threshold)
    filled = metrics.decide(probability, threshold, never_empty=True)
    empty = ~plain.any(axis=1)
    np.testing.assert_array_equal(filled[~empty], plain[~empty])
    assert (filled[empty].sum(axis=1) == 1).all()
    np.testing.assert_array_equal(filled[empty].argmax(axis=1), probability[empty].argmax(axis=1))


@pytest.mark.parametrize("threshold", [np.array([0.5, 0.5]), -0.1, np.nan])
def test_wrong_thresholds_are_refused(threshold):
    with pytest.raises(HpaError, match="threshold is"):
        metrics.decide(PROBABILITY, threshold)


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        (TRUTH[:2], PROBABILITY, r"truth has shape \(2, 3\) and probability \(4, 3\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "shape"),
        (TRUTH * 2, PROBABILITY, r"truth holds 2 \(sample 0, class 0\)"),
        (TRUTH, PROBABILITY + 0.2, r"probability holds 1.1 \(sample 0, class 0\)"),
        (TRUTH, np.where(TRUTH == 1, np.nan, 0.5), "probability holds nan"),
    ],
)
def test_wrong_arrays_are_refused(truth, probability, message):
    with pytest.raises(HpaError, match=message):
        metrics.summary(truth, probability, 0.5)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (TRUTH, PROBABILITY, r"prediction holds 0\.9 \(sample 0, class 0\)"),
        (PROBABILITY, TRUTH, r"truth holds 0\.9"),
        (TRUTH, TRUTH[:, :2], r"truth has shape \(4, 3\) and prediction \(4, 2\)"),
    ],
)
def test_what_are_no_labels_is_refused(truth, prediction, message):
    with pytest.raises(HpaError, match=message):
        metrics.confusion_counts(truth, prediction)


def test_checked_arrays_have_the_documented_types():
    given = TRUTH.astype(np.float32), PROBABILITY.astype(np.float32)
    assert [array.dtype for array in metrics.checked_scores(*given)] == [np.int64, np.float64]
    assert [array.dtype for array in metrics.checked_labels(given[0], given[0])] == [np.int64] * 2
