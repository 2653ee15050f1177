import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, log_loss

from hpa_lib import better_predictions, metrics, plots, thresholds
from hpa_lib.errors import HpaError

NAMES = ("a", "b", "c")
SIZES = {"threshold": 90, "report": 120}


def guesses(truth, sure, seed):
    """Probabilities by part of a network that knows something, and is too sure if `sure` is 3."""
    random = np.random.default_rng(seed)
    return {
        part: 1 / (1 + np.exp(-sure * (2 * labels - 1 + random.normal(0, 1.5, labels.shape))))
        for part, labels in truth.items()
    }


def drawn():
    """Labels by part, and probabilities of two networks by label and part."""
    random = np.random.default_rng(3)
    truth = {
        part: (random.random((size, 3)) < (0.5, 0.3, 0.1)).astype(int)
        for part, size in SIZES.items()
    }
    return truth, {"net": guesses(truth, 3, seed=5), "other": guesses(truth, 1, seed=6)}


def noisy(networks):
    random = np.random.default_rng(4)
    return {
        label: {
            part: np.clip(values + random.normal(0, 0.2, values.shape), 0, 1)
            for part, values in parts.items()
        }
        for label, parts in networks.items()
    }


def improve(truth, networks, rule="global", **options):
    return better_predictions.improve(
        truth, networks, rule, replicates=200, class_names=NAMES, **options
    )


@pytest.fixture(scope="module")
def data():
    return drawn()


@pytest.fixture(scope="module")
def result(data):
    truth, networks = data
    return improve(truth, networks, one_view=noisy(networks))


def test_every_variant_and_step_is_there(result):
    plain = [
        "net, one view", "net, eight views", "other, one view", "other, eight views", "average",
        "weighted average",
    ]  # fmt: skip
    assert list(result.scores.index) == plain + [f"{name}, scaled" for name in plain]
    steps = result.gains.groupby(level="step", sort=False)[["before", "after"]].first()
    best = result.best_network
    assert steps.to_numpy().tolist() == [
        ["net, one view", "net, eight views"],
        ["other, one view", "other, eight views"],
        [f"{best}, eight views", "average"],
        [f"{best}, eight views", "weighted average"],
        ["average", "weighted average"],
        *([name, f"{name}, scaled"] for name in plain),
    ]


def test_scores_equal_scikit_learns_on_the_report_part(data, result):
    truth, networks = data
    joined = {
        part: (networks["net"][part] + networks["other"][part]) / 2
        for part in ("threshold", "report")
    }
    tuned = thresholds.tune("global", truth["threshold"], joined["threshold"])
    given, report = metrics.decide(joined["report"], tuned), truth["report"]
    flat = report.ravel(), joined["report"].ravel()
    found = result.scores.loc["average"]
    assert found["macro_f1"] == pytest.approx(f1_score(report, given, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(report, given, average="micro"))
    assert found["cross_entropy"] == pytest.approx(log_loss(*flat))
    assert found["brier_score"] == pytest.approx(brier_score_loss(*flat))
    precision = average_precision_score(report, joined["report"])
    assert found["macro_average_precision"] == pytest.approx(precision)
    assert result.scores.loc["average, scaled", "macro_average_precision"] == found.iloc[3]


def test_gains_are_differences_of_scores_and_lowered_losses(result):
    for (_, metric), row in result.gains.iterrows():
        gain = result.scores.loc[row["after"], metric] - result.scores.loc[row["before"], metric]
        sign = -1 if metric in better_predictions.LOSSES else 1
        assert row["estimate"] == pytest.approx(sign * gain, abs=1e-12)
        assert row["low"] <= row["estimate"] <= row["high"]


def test_nothing_is_fitted_on_the_report_part(data, result):
    truth, networks = data
    spoiled = improve(truth | {"report": 1 - truth["report"]}, networks, one_view=noisy(networks))
    assert spoiled.weights == result.weights
    assert spoiled.best_network == result.best_network
    assert spoiled.scores["temperature"].equals(result.scores["temperature"])
    swapped = improve(truth | {"threshold": 1 - truth["threshold"]}, networks)
    assert (
        swapped.scores.loc["net, scaled", "temperature"]
        > 2 * (result.scores.loc["net, eight views, scaled", "temperature"])
    )


def test_thresholds_are_tuned_anew_for_scaled_probabilities(data):
    """A fixed threshold of 0.2 decides otherwise after scaling; one tuned by labels doesn't."""
    truth, networks = data
    for rule, same in (("0.2", False), ("per_class", True)):
        scores = improve(truth, networks, rule).scores["macro_f1"]
        assert (scores["net"] == pytest.approx(scores["net, scaled"], abs=0.02)) == same


def test_gains_by_hand():
    """One view knows nothing, eight views know everything: each entry gains the same."""
    truth, _ = drawn()
    nothing = {part: np.full(labels.shape, 0.5) for part, labels in truth.items()}
    networks = {"net": {part: labels.astype(float) for part, labels in truth.items()}}
    networks["other"] = nothing
    result = improve(truth, networks, one_view={"net": nothing})
    gains = result.gains.loc["eight views: net", ["estimate", "low", "high"]]
    np.testing.assert_allclose(gains.loc["cross_entropy"].to_numpy(float), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gains.loc["brier_score"].to_numpy(float), 0.25)
    assert (result.best_network, result.weights) == ("net", {"net": 1, "other": 0})
    assert not result.gains.loc["weighted average − net", "estimate"].any()
    sentences = better_predictions.sentences(result)
    assert sentences[0] == (
        "On the threshold part net has the lowest cross-entropy of the networks; the weights with "
        "the lowest are 1.000 for net and 0.000 for other."
    )
    assert "Brier score by 0.250 (95 % interval 0.250 to 0.250)" in sentences[1]
    assert sentences[1].startswith("“net, eight views” against “net, one view”: better in macro F1")
    assert sentences[2].startswith("“average” against “net, eight views”: worse in cross-entropy")
    assert sentences[3] == (
        "“weighted average” against “net, eight views”: the same in macro F1, micro F1, macro "
        "average precision, cross-entropy and Brier score."
    )


def test_sentences_leave_open_what_the_data_do_not_tell(data):
    truth, networks = data
    result = improve(truth, networks, one_view={"net": guesses(truth, 3, seed=7)})
    rows = result.gains.loc["eight views: net"]
    assert ((rows["low"] < 0) & (rows["high"] > 0)).all()
    assert better_predictions.sentences(result)[1] == (
        "“net, eight views” against “net, one view”: not told apart in macro F1, micro F1, macro "
        "average precision, cross-entropy and Brier score."
    )


def test_class_brier_scores_add_up(data, result):
    truth, _ = data
    found = result.class_brier_scores.loc["average"]
    assert found["positives"].tolist() == truth["report"].sum(axis=0).tolist()
    for column, variant in (("before", "average"), ("after", "average, scaled")):
        assert found[column].mean() == pytest.approx(result.scores.loc[variant, "brier_score"])
    assert found["estimate"].to_numpy() == pytest.approx(found["before"] - found["after"])
    shown = better_predictions.class_table(result)
    assert len(shown.columns) == 1 + 2 * 2
    cell = shown.loc["b", "gain by scaling, net, eight views (95 % interval)"]
    estimate = result.class_brier_scores.loc[("net, eight views", "b"), "estimate"]
    assert float(cell.partition(" ")[0].replace("−", "-")) == pytest.approx(estimate, abs=5e-5)


def test_reliability_and_calibration_are_shown_for_what_is_used(data, result):
    truth, _ = data
    names = ["net, eight views", "other, eight views", "average", "weighted average"]
    assert list(result.reliability) == names
    for table in result.reliability.values():
        counts = table["entries"].groupby(level="scaling", sort=False).sum()
        assert counts.to_dict() == dict.fromkeys(
            ["before scaling", "after scaling"], truth["report"].size
        )
    said = better_predictions.calibration_sentences(result)
    assert len(said) == len(names)
    temperature = result.scores.loc["net, eight views, scaled", "temperature"]
    assert temperature > 1
    assert (
        f"By the temperature of {temperature:.3f} the probabilities of “net, eight views” are "
        in (said[0])
    )
    assert "overconfident" in said[0]
    assert "better in cross-entropy by " in said[0]


def test_results_fit_into_figures_and_json(result):
    table = better_predictions.intervals(result, better_predictions.LOSSES)
    assert list(table.columns) == ["name", "series", "estimate", "low", "high"]
    assert set(table["series"]) == {"cross-entropy", "Brier score"}
    assert len(plots.intervals(table, "gain").table) == 2 * 11
    assert len(plots.reliability(result.reliability).figure.axes) == 2 * 4
    values = json.loads(json.dumps(result.values(), allow_nan=False))
    assert values["weights"].keys() == {"net", "other"}
    assert "scaling: average / brier_score" in values["gains"]
    assert "macro F1" in better_predictions.table(result)


def test_without_a_threshold_part_nothing_is_fitted(data):
    truth, networks = data
    truth = truth | {"threshold": np.zeros((0, 3), int)}
    networks = {label: parts | {"threshold": np.zeros((0, 3))} for label, parts in networks.items()}
    result = improve(truth, networks, "0.2")
    assert list(result.scores.index) == ["net", "other", "average"]
    assert list(result.gains.index.unique("step")) == ["average − net", "average − other"]
    assert result.best_network is None
    assert better_predictions.class_table(result) is None
    assert len(plots.reliability(result.reliability).table)
    assert better_predictions.sentences(result)[0].startswith("The split has no threshold part")
    json.dumps(result.values(), allow_nan=False)
    with pytest.raises(HpaError, match="threshold part without samples"):
        improve(truth, networks, "global")


def test_a_metric_without_positives_is_left_out(data):
    truth, networks = data
    result = improve(truth | {"report": np.zeros((SIZES["report"], 3), int)}, networks)
    assert "macro_average_precision" not in result.gains.index.unique("metric")
    assert result.values()["scores"]["net"]["macro_average_precision"] is None


def test_one_network_is_no_ensemble(data):
    truth, networks = data
    with pytest.raises(HpaError, match="at least two networks"):
        improve(truth, {"net": networks["net"]})
