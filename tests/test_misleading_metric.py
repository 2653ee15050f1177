import time

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from hpa_lib import baselines, labels, misleading_metric, study_metrics
from hpa_lib.misleading_metric import ALL_EQUALLY, COMMONEST_ONLY, NO_IMAGE, STUDY

STUDY_COLUMNS = ["batch_averaged_f1", "binary_accuracy"]
HEADLINE = "InceptionResNetV2 (training rows)"
BEST = "InceptionResNetV2 (validation rows)"


@pytest.fixture(scope="module")
def truth():
    return misleading_metric.label_table()


@pytest.fixture(scope="module")
def result(truth):
    return misleading_metric.compare(truth)


def test_label_table_has_the_published_counts_in_random_order(truth):
    assert truth.sum(axis=0).tolist() == list(labels.TRAINING_SET_COUNTS)
    halves = [half.mean(axis=0) for half in np.split(truth, 2)]
    assert np.abs(halves[0] - halves[1]).max() < 0.02  # in the order of the counts: up to 0.5


def test_few_classes_reach_the_study_s_figures_with_a_low_macro_f1(result):
    scores = result.scores
    reported = scores.xs(STUDY, level="predictor")[STUDY_COLUMNS]
    assert reported.loc[HEADLINE].tolist() == [0.6379, 0.9652]
    assert reported.loc[BEST].tolist() == [0.6862, 0.9675]
    assert len(reported) == 4
    for predictor in (COMMONEST_ONLY, ALL_EQUALLY):
        reached = scores.xs(predictor, level="predictor")[STUDY_COLUMNS]
        assert (reached - reported).abs().max(axis=None) < 5e-4
    few = scores.xs(COMMONEST_ONLY, level="predictor")
    assert (few["classes_found"] == 8).all()
    # The pooled precision and recall in 8 classes alone: macro F1 is 8/28 of their F1.
    assert few.loc[BEST, "macro_f1"] == pytest.approx(0.228, abs=1e-3)
    known = result.knowledge.loc[BEST]
    harmonic = 2 * known["precision"] * known["recall"] / (known["precision"] + known["recall"])
    assert few.loc[BEST, "macro_f1"] == pytest.approx(8 / 28 * harmonic, abs=1e-3)


def test_equal_knowledge_of_all_classes_reaches_them_with_a_high_one(result):
    every = result.scores.xs(ALL_EQUALLY, level="predictor")
    assert (every["classes_found"] == 28).all()
    np.testing.assert_allclose(every["macro_f1"], every["micro_f1"], atol=3e-3)


def test_scores_are_those_of_scikit_learn(result, truth):
    given = baselines.repeat(baselines.trivial_predictors(truth)["commonest class"], len(truth))
    row = result.scores.loc[(NO_IMAGE, "always gives Nucleoplasm")]
    assert row["macro_f1"] == pytest.approx(
        f1_score(truth, given, average="macro", zero_division=0)
    )
    assert row["micro_f1"] == pytest.approx(f1_score(truth, given, average="micro"))
    assert row["binary_accuracy"] == pytest.approx(accuracy_score(truth.ravel(), given.ravel()))
    assert row["classes_found"] == 1
    assert result.constant_accuracy == pytest.approx(12885 / 31072)


def test_table_shows_every_score_and_a_dash_where_the_study_says_nothing(result):
    table = misleading_metric.table(result)
    assert list(table.columns) == list(misleading_metric.COLUMNS.values())
    assert table.loc[(HEADLINE, STUDY)].tolist() == ["0.6379", "0.9652", "–", "–", "–"]
    assert table.loc[(NO_IMAGE, "always gives nothing")].tolist() == [
        "0.0000", "0.9416", "0.0000", "0.0000", "0",
    ]  # fmt: skip
    assert not table.map(lambda text: "nan" in text.lower()).any(axis=None)


def test_sentences_say_that_the_order_is_open_and_it_is(result):
    sentences = misleading_metric.sentences(result)
    scores = result.scores["macro_f1"]
    low = scores[(HEADLINE, COMMONEST_ONLY)]
    high = scores[("VGG16 (training rows)", ALL_EQUALLY)]
    assert low < high
    (open_order,) = [sentence for sentence in sentences if "can't tell" in sentence]
    assert f"InceptionResNetV2 (training rows) fit one of {low:.3f}" in open_order
    assert f"VGG16 (training rows) one of {high:.3f}" in open_order
    (headline,) = [sentence for sentence in sentences if f"of {HEADLINE}, an" in sentence]
    assert "an F1 of 0.6379 and an accuracy of 0.9652" in headline
    assert "71 % of the labels" in headline
    assert f"its macro F1 is {low:.3f}" in headline


def test_the_first_stage_s_accuracy_is_about_that_of_a_constant(result):
    reported = study_metrics.reported_table()
    logged = reported.loc[reported["quantity"] == "categorical_accuracy", "value"]
    assert logged.min() < result.constant_accuracy < logged.max()
    assert misleading_metric.sentences(result)[-1].endswith(
        "always giving Nucleoplasm reaches 0.415."
    )


def test_it_takes_seconds():
    start = time.process_time()
    misleading_metric.compare(misleading_metric.label_table())
    assert time.process_time() - start < 5


@pytest.mark.real_images
def test_the_real_label_table_agrees_with_the_rebuilt_one(real_images, result, truth):
    table = pd.read_csv(real_images / "labels" / "train_full.csv", dtype=str)
    real = labels.to_multi_hot([labels.parse_target(text) for text in table["Target"]])
    for rows, counts in zip(
        np.unique(real, axis=0, return_counts=True),
        np.unique(truth, axis=0, return_counts=True),
        strict=True,
    ):
        np.testing.assert_array_equal(rows, counts)
    in_its_own_order = misleading_metric.compare(real)
    np.testing.assert_allclose(in_its_own_order.scores, result.scores, atol=3e-3)
