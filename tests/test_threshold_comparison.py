import json
import time

import numpy as np
import pandas as pd
import pytest
from simulated_runs import predictions_of, simulated_run
from sklearn.metrics import accuracy_score, f1_score

from hpa_lib import metrics, plots, threshold_comparison, thresholds, wording

EVERY_WAY = [name for rule in thresholds.RULES for name in (rule, f"{rule}, never empty")]


def run_of(label, parts, rule, frequency=None, **values):
    """A run with truth and probabilities by part."""
    frequency = parts["report"][0].mean(axis=0) if frequency is None else frequency
    found = {"threshold_rule": rule, "training_frequency": frequency.tolist()} | values
    return simulated_run(predictions_of(parts), label, **found)


def part_of(samples, seed, scale=1.0):
    """Truth, and probabilities that follow it through noise; all of them times `scale`."""
    random = np.random.default_rng(seed)
    truth = (random.random((samples, 28)) < np.r_[0.5, np.full(27, 0.06)]).astype(int)
    probability = np.clip(0.35 + 0.4 * truth + random.normal(0, 0.2, truth.shape), 0, 1) * scale
    return truth, probability.astype(np.float32)


@pytest.fixture(scope="module")
def shy():
    """A network whose probabilities are all too low, so that 0.5 gives few labels."""
    parts = {"threshold": part_of(150, 1, 0.6), "report": part_of(200, 2, 0.6)}
    return run_of("VGG16", parts, "matched")


@pytest.fixture(scope="module")
def result(shy):
    return threshold_comparison.compare([shy], replicates=200)


def test_scores_are_those_of_the_report_part_by_thresholds_of_the_threshold_part(result, shy):
    truth, probability = shy.arrays("report")
    assert result.scores.loc["VGG16"].index.tolist() == EVERY_WAY
    for rule in thresholds.RULES:
        tuned = thresholds.tune(rule, *shy.arrays("threshold"), truth.mean(axis=0))
        for name, never_empty in ((rule, False), (f"{rule}, never empty", True)):
            row = result.scores.loc[("VGG16", name)]
            given = metrics.decide(probability, tuned, never_empty)
            for average in ("macro", "micro", "samples"):
                f1 = f1_score(truth, given, average=average, zero_division=0)
                assert row[f"{average}_f1"] == pytest.approx(f1)
            assert row["exact_match"] == pytest.approx(accuracy_score(truth, given))
            assert row["labels_a_sample"] == pytest.approx(given.sum(axis=1).mean())
            assert row["empty_share"] == pytest.approx((given.sum(axis=1) == 0).mean())
            assert row["empty_share"] == 0 or not never_empty


def test_gains_are_differences_of_scores_with_their_intervals(result):
    scores, gains = result.scores.loc["VGG16"], result.gains.loc["VGG16"]
    assert gains.index.unique("labels").tolist() == EVERY_WAY[1:]
    for (name, metric), gain in gains.iterrows():
        wanted = scores.loc[name, metric] - scores.loc["0.5", metric]
        assert gain["estimate"] == pytest.approx(wanted)
        assert gain["low"] <= gain["high"]
    for (rule, metric), gain in result.never_empty_gains.loc["VGG16"].iterrows():
        wanted = scores.loc[f"{rule}, never empty", metric] - scores.loc[rule, metric]
        assert gain["estimate"] == pytest.approx(wanted)
    assert gains.loc[("per_class", "macro_f1"), "low"] > 0


def test_the_report_part_sets_no_threshold(shy, result):
    truth, probability = shy.arrays("report")
    parts = {"threshold": shy.arrays("threshold"), "report": (1 - truth, probability)}
    other = run_of("VGG16", parts, "matched", truth.mean(axis=0))
    turned = threshold_comparison.compare([other], replicates=40)
    for column in ("labels_a_sample", "empty_share"):
        pd.testing.assert_series_equal(turned.scores[column], result.scores[column])
    assert turned.scores.loc[("VGG16", "per_class"), "micro_f1"] < 0.2


def test_matched_thresholds_take_the_frequencies_of_training():
    parts = {"threshold": part_of(100, 1), "report": part_of(100, 2)}
    rare, common = (
        threshold_comparison.compare([run_of("VGG16", parts, "0.5", np.full(28, share))], 40)
        for share in (0.01, 0.3)
    )
    for result, labels_a_sample in ((rare, 28 * 0.01), (common, 28 * 0.3)):
        given = result.scores.loc[("VGG16", "matched"), "labels_a_sample"]
        assert given == pytest.approx(labels_a_sample, rel=0.15)


def test_without_a_threshold_part_the_fixed_rules_alone_are_compared():
    run = run_of("VGG16", {"report": part_of(100, 2)}, "0.5")
    result = threshold_comparison.compare([run], replicates=40)
    assert result.scores.index.get_level_values("labels").tolist() == EVERY_WAY[:4]
    (text, _) = threshold_comparison.sentences(result)
    assert "no threshold part" in text
    assert "global" not in text


def gains_of(own, rules, **interval_by_rule):
    """A comparison whose gains in every metric are given."""
    names = list(threshold_comparison.COMPARED)
    ways = [name for rule in rules for name in (rule, f"{rule}, never empty")]
    scores = pd.DataFrame({"labels_a_sample": 1.25, "empty_share": 0.125}, index=ways)
    unclear = (0.01, -0.02, 0.04)
    columns = ["estimate", "low", "high"]

    def table(keys):
        given = {
            (key, metric): interval_by_rule.get(key, unclear) for key in keys for metric in names
        }
        index = pd.MultiIndex.from_tuples(given, names=["rule", "metric"])
        return pd.concat({"VGG16": pd.DataFrame(given.values(), index, columns)}, names=["network"])

    return threshold_comparison.ThresholdComparison(
        scores=pd.concat({"VGG16": scores}),
        gains=table(ways[1:]),
        never_empty_gains=table(rules),
        own={"VGG16": own},
        true_labels_a_sample={"VGG16": 1.5},
        level=0.95,
    )


def test_sentences_tell_gain_loss_and_neither():
    tuned = {
        "global": (0.1, 0.05, 0.2),
        "per_class": (-0.1, -0.2, -0.05),
        "matched": (0.3, 0.2, 0.4),
    }
    result = gains_of("matched", thresholds.RULES, **tuned)
    text, caution = threshold_comparison.sentences(result)
    assert text.startswith(
        "VGG16 gives labels by “matched”: 1.25 a sample, where the truth has 1.50. “matched” is "
        "better than “0.5” in macro F1 by 0.300 (95 % interval 0.200 to 0.400). Other rules "
        "against “0.5” in macro F1, better: “global”; worse: “per_class”; not told apart: “0.2”, "
        "“expected_f1”. By “matched” 12.5 % of the samples get no label. “matched, never empty” "
        "is better than “matched” in samples F1 by 0.300"
    )
    assert "not corrected" in caution


def test_sentences_of_a_run_that_leaves_no_sample_empty_name_its_way():
    result = gains_of("0.2, never empty", ("0.5", "0.2"))
    text, _ = threshold_comparison.sentences(result)
    assert "gives labels by “0.2, never empty”" in text
    assert "“0.2, never empty” minus “0.5” is 0.010" in text
    assert "not told apart: “0.2”." in text
    assert "By “0.2” 12.5 % of the samples get no label" in text


def test_a_run_says_whether_it_leaves_samples_empty():
    parts = {"threshold": part_of(60, 1), "report": part_of(60, 2)}
    run = run_of("VGG16", parts, "global", never_empty=True)
    assert threshold_comparison.compare([run], 40).own == {"VGG16": "global, never empty"}


def test_what_is_shown_and_stored(result):
    table = threshold_comparison.table(result)
    assert table.index.tolist() == [("VGG16", name) for name in EVERY_WAY]
    assert table.iloc[0, -1] == "–"
    gain = result.gains.loc[("VGG16", "0.2", "macro_f1")]
    assert table.loc[("VGG16", "0.2")].iloc[-1].startswith(f"{wording.number(gain['estimate'])} (")
    for rows, names in (
        (threshold_comparison.gain_intervals(result), list(thresholds.RULES[1:])),
        (threshold_comparison.never_empty_intervals(result), list(thresholds.RULES)),
    ):
        picture = plots.intervals(rows, "gain")
        assert picture.table["name"].tolist() == names
        assert set(picture.table["series"]) == {"VGG16"}
    values = json.loads(json.dumps(result.values(), allow_nan=False))
    assert values["gains"]["VGG16 / 0.2 / macro_f1"]["estimate"] == gain["estimate"]


def test_two_networks_take_seconds():
    parts = {"threshold": part_of(300, 1), "report": part_of(300, 2)}
    runs = [run_of(name, parts, "global") for name in ("InceptionResNetV2", "VGG16")]
    start = time.process_time()
    threshold_comparison.compare(runs, replicates=2000)
    assert time.process_time() - start < 5
