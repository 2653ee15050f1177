import copy
import dataclasses

import numpy as np
import pytest

from hpa_lib import baselines, labels, metrics, predictions, results, splits, thresholds


def results_of(opened, division, table, never_empty=False):
    rule = "0.5" if division.protocol == "study" else "global"
    return results.training_results(
        "VGG16",
        opened,
        division,
        table,
        threshold_rule=rule,
        never_empty=never_empty,
        epoch=3,
        samples_seen=480,
    )


@pytest.fixture(scope="module")
def opened(labelled):
    random = np.random.default_rng(0)
    share = np.r_[0.6, 0.5, np.full(26, 0.05)]
    rows = random.random((120, 28)) < share
    return labelled([tuple(np.flatnonzero(row).tolist()) for row in rows])


@pytest.fixture(scope="module", params=["stratified", "study"])
def outcome(request, opened):
    """Results and predictions of a network that is right, but for some noise."""
    division = splits.split(opened, request.param)
    random = np.random.default_rng(1)
    parts = division.evaluation_parts
    probability = {
        name: (0.7 * opened.multi_hot[rows] + 0.3 * random.random((len(rows), 28))).astype("f4")
        for name, rows in parts.items()
    }
    table = predictions.table(opened, parts, probability)
    return results_of(opened, division, table), table, division


@pytest.fixture
def trained(outcome):
    """The same, for a test to spoil."""
    return copy.deepcopy(outcome)


def test_report_scores_are_those_of_the_report_part(trained):
    found, table, division = trained
    truth, probability = predictions.arrays(table, "report")
    assert found["report"]["0.5"] == metrics.summary(truth, probability, 0.5)
    assert found["report"]["0.2"] == metrics.summary(truth, probability, 0.2)
    assert (found["backbone"], found["epoch"], found["samples_seen"]) == ("VGG16", 3, 480)
    assert (found["protocol"], found["split"]) == (division.protocol, division.fingerprint)


def test_thresholds_are_tuned_where_there_is_a_part_for_it(trained):
    found, _, division = trained
    if division.protocol == "study":
        assert found["threshold_rule"] == "0.5"
        assert found["thresholds"] == [0.5] * 28
        assert set(found["report"]) == {"0.5", "0.2"}
    else:
        assert found["threshold_rule"] == "global"
        assert tuple(found["report"]) == thresholds.RULES
        assert len(set(found["thresholds"])) == 1
        # Probabilities of present classes exceed 0.7, the others stay below 0.3.
        assert 0.25 < found["thresholds"][0] < 0.75
        assert found["report"]["global"]["exact_match"] > 0.95


def test_matched_thresholds_take_their_frequencies_from_the_training_part(opened):
    division = splits.stratified_split(opened)
    random = np.random.default_rng(2)
    probability = {
        name: random.random((len(rows), 28)).astype("f4")
        for name, rows in division.evaluation_parts.items()
    }
    table = predictions.table(opened, division.evaluation_parts, probability)
    found = results.training_results(
        "VGG16",
        opened,
        division,
        table,
        threshold_rule="matched",
        never_empty=False,
        epoch=1,
        samples_seen=1,
    )
    frequency = opened.multi_hot[division.parts["training"]].mean(axis=0)
    given = probability["threshold"] >= np.array(found["thresholds"])
    wanted = np.rint(frequency * len(given))
    assert (np.abs(given.sum(axis=0) - wanted) <= 1)[frequency > 0].all()
    assert found["threshold_rule"] == "matched"
    assert found["training_frequency"] == frequency.tolist()


def test_no_sample_stays_empty_where_that_is_asked_for(trained, opened):
    found, table, division = trained
    truth, probability = predictions.arrays(table, "report")
    again = results_of(opened, division, table, never_empty=True)
    for rule, scores in again["report"].items():
        if rule in ("0.5", "0.2"):
            assert scores == metrics.summary(truth, probability, float(rule), never_empty=True)
    assert "no sample stays without a label" in results.verdict(again)
    assert "without a label" not in results.verdict(found)


def test_tuning_looks_at_the_threshold_part_alone(opened):
    division = splits.stratified_split(opened)
    parts = division.evaluation_parts
    probability = {
        name: np.where(opened.multi_hot[rows], 0.9, 0.1).astype("f4")
        for name, rows in parts.items()
    }
    tuned = results_of(opened, division, predictions.table(opened, parts, probability))
    for name in ("report", "validation", "shown"):
        probability[name] = 1 - probability[name]
    again = results_of(opened, division, predictions.table(opened, parts, probability))
    assert again["thresholds"] == tuned["thresholds"]
    assert again["report"]["global"]["macro_f1"] < tuned["report"]["global"]["macro_f1"]


def test_headline_is_the_report_part_by_the_rule_in_use(trained):
    found, _, _ = trained
    scores = found["report"][found["threshold_rule"]]
    assert found["headline"] == {
        "Macro F1": scores["macro_f1"],
        "Micro F1": scores["micro_f1"],
        "Macro average precision": scores["macro_average_precision"],
        "Binary accuracy": scores["binary_accuracy"],
    }


def test_trivial_predictor_knows_training_labels_only(trained, opened):
    found, table, division = trained
    truth, _ = predictions.arrays(table, "report")
    training = opened.multi_hot[division.parts["training"]]
    fitted = baselines.trivial_predictors(training)
    for metric, trivial in found["trivial"].items():
        constant = np.array(trivial["probability"])
        np.testing.assert_array_equal(constant, fitted[trivial["name"]])
        scored = metrics.summary(truth, np.tile(constant, (len(truth), 1)), 0.5)
        assert trivial["report"] == scored
        assert (trivial["name"], scored[metric]) == baselines.best_trivial(training, truth, metric)


def test_score_table_has_a_column_a_rule_and_readable_names(trained):
    found, _, _ = trained
    table = results.score_table(found)
    trivial = dict.fromkeys(f"trivial: {best['name']}" for best in found["trivial"].values())
    rules = [f"threshold {rule}" for rule in found["report"]]
    assert list(table.columns) == [*rules, *trivial]
    name = metrics.READABLE_NAMES["macro_f1"]
    assert table.loc[name, "threshold 0.5"] == found["report"]["0.5"]["macro_f1"]
    assert "samples" not in table.index


@pytest.mark.parametrize(
    ("network", "relation"), [(0.31, ", above the 0.300"), (0.3, ", not above the 0.300")]
)
def test_verdict_is_computed(trained, network, relation):
    found, table, _ = trained
    found["report"][found["threshold_rule"]]["micro_f1"] = network
    found["trivial"]["micro_f1"]["report"]["micro_f1"] = 0.3
    sentence = results.verdict(found)
    assert f"{(table['part'] == 'report').sum()} samples of the report part" in sentence
    assert f"a micro F1 of {network:.3f}{relation}" in sentence
    assert f"VGG16 reaches a macro F1 of {found['headline']['Macro F1']:.3f}" in sentence


def test_sources_are_scored_alone_by_the_thresholds_of_all(opened):
    # Enough for `MINIMUM_SAMPLES` of each source in the report part.
    many = dataclasses.replace(
        opened,
        ids=tuple(f"sample-{row}" for row in range(480)),
        label_sets=opened.label_sets * 4,
        sources=("kaggle", "v18") * 240,
    )
    division = splits.stratified_split(many)
    random = np.random.default_rng(3)
    probability = {
        name: (0.5 * many.multi_hot[rows] + 0.5 * random.random((len(rows), 28))).astype("f4")
        for name, rows in division.evaluation_parts.items()
    }
    table = predictions.table(many, division.evaluation_parts, probability)
    found = results_of(many, division, table)
    by_source = results.by_source(found, table)
    for source, odd in (("kaggle", 0), ("v18", 1)):
        rows = division.parts["report"] % 2 == odd
        scores = metrics.summary(
            many.multi_hot[division.parts["report"][rows]],
            probability["report"][rows],
            np.array(found["thresholds"]),
        )
        assert by_source.counts.loc[source, "samples"] == rows.sum() == scores["samples"]
        estimate = by_source.metrics.loc[(source, "VGG16", "micro_f1"), "estimate"]
        assert estimate == pytest.approx(scores["micro_f1"])


def test_one_source_has_no_results_of_its_own(trained):
    found, table, _ = trained
    assert results.by_source(found, table).counts.empty


def test_check_passes_what_is_sound(trained):
    found, table, division = trained
    results.check(found, table, division)


@pytest.mark.parametrize("spoilt", [np.nan, -0.1, 1.5])
def test_check_refuses_what_is_no_probability(trained, spoilt):
    found, table, division = trained
    table.loc[0, labels.CLASS_NAMES[5]] = spoilt
    with pytest.raises(AssertionError):
        results.check(found, table, division)


def test_check_refuses_a_missing_row(trained):
    found, table, division = trained
    with pytest.raises(AssertionError):
        results.check(found, table.iloc[1:], division)
