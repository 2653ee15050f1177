import numpy as np
import pandas as pd
import pytest
from simulated_runs import predictions_of, simulated_run

from hpa_lib import decision_counts, labels

TRUTH = [(0,), (0, 25)]
FIRST = [{0: 0.3, 25: 0.6}, {0: 0.9, 25: 0.3}]
SECOND = [{0: 0.1}, {0: 0.2, 7: 0.2, 25: 0.9}]


def run_of(label, parts, **values):
    """A run with label sets, and by sample the probabilities that aren't 0, by part."""
    arrays = {}
    for part, (truth, probability) in parts.items():
        given = np.zeros((len(truth), 28))
        for row, of_classes in zip(given, probability, strict=True):
            row[list(of_classes)] = list(of_classes.values())
        arrays[part] = labels.to_multi_hot(truth), given
    return simulated_run(predictions_of(arrays), label, **values)


@pytest.fixture
def pair():
    return [
        run_of(name, {"shown": (TRUTH, given), "report": (TRUTH * 20, given * 20)})
        for name, given in (("A", FIRST), ("B", SECOND))
    ]


def counts_of(table, threshold, sample, run):
    row = table.loc[(threshold, sample)]
    return [row[f"{run}: {kind}"] for kind in decision_counts.KINDS]


def test_shown_samples_are_counted_by_hand(pair):
    table = decision_counts.shown(pair)
    assert counts_of(table, "0.2", "shown-0", "A") == [1, 1, 0, 26]
    assert counts_of(table, "0.2", "shown-1", "A") == [2, 0, 0, 26]
    assert counts_of(table, "0.2", "shown-0", "B") == [0, 0, 1, 27]
    assert counts_of(table, "0.2", "shown-1", "B") == [2, 1, 0, 25]
    assert counts_of(table, "0.2", decision_counts.TOTAL, "A") == [3, 1, 0, 52]
    own = decision_counts.OWN
    assert counts_of(table, own, "shown-0", "A") == [0, 1, 1, 26]
    assert counts_of(table, own, decision_counts.TOTAL, "B") == [1, 0, 2, 53]


def test_a_run_that_leaves_no_sample_empty_is_counted_so():
    run = run_of("B", {"shown": (TRUTH, SECOND)}, never_empty=True)
    table = decision_counts.shown([run])
    assert counts_of(table, decision_counts.OWN, "shown-0", "B") == [1, 0, 0, 27]
    assert counts_of(table, "0.2", "shown-0", "B") == [0, 0, 1, 27]


def test_differences_are_paired_means_a_sample(pair):
    found = decision_counts.differences(pair, replicates=400)
    true, false = found.loc[("0.2", "true positives")], found.loc[("0.2", "false positives")]
    assert (true["first"], true["second"], true["estimate"]) == (1.5, 1.0, 0.5)
    assert (false["first"], false["second"], false["estimate"]) == (0.5, 0.5, 0.0)
    # One more wherever the truth is {0}, none elsewhere: strata keep their sizes.
    assert true["low"] == pytest.approx(0.5)
    assert true["high"] == pytest.approx(0.5)
    assert true["misleading_draws"] == pytest.approx(0.5**10, abs=0.02)
    assert np.isnan(false["misleading_draws"])
    turned = decision_counts.differences(pair[::-1], replicates=400)
    np.testing.assert_allclose(turned["estimate"], -found["estimate"])


def test_intervals_have_the_width_of_the_mean_s_error():
    random = np.random.default_rng(0)
    truth = [(0,)] * 400
    given = [{0: 0.9 * (random.random() < 0.3)} for _ in truth]
    pair = [run_of("A", {"report": (truth, given)}), run_of("B", {"report": (truth, [{}] * 400)})]
    row = decision_counts.differences(pair).loc[("0.2", "true positives")]
    error = np.sqrt(row["estimate"] * (1 - row["estimate"]) / 399)
    assert row["low"] == pytest.approx(row["estimate"] - 1.96 * error, abs=0.006)
    assert row["high"] == pytest.approx(row["estimate"] + 1.96 * error, abs=0.006)
    # No hit among ten.
    assert row["misleading_draws"] == pytest.approx((1 - row["estimate"]) ** 10, abs=0.02)


CLEAR, CLEARLY_NOT, UNCLEAR = (0.5, 0.25, 0.75), (-0.5, -0.75, -0.25), (0.125, -0.25, 0.5)


@pytest.mark.parametrize(
    ("true", "false", "wanted"),
    [
        (CLEAR, CLEAR, ["A has more true positives, 50 % more", "25 % of random draws of 10",
                        "A has more false positives", "gives more labels"]),
        (CLEAR, CLEARLY_NOT, ["A has more true positives", "A has fewer false positives"]),
        (CLEAR, UNCLEAR, ["the data do not tell them apart: 0.125"]),
        (UNCLEAR, CLEAR, ["That A has more true positives than B is not shown",
                          "A has more false positives: the difference is 0.500"]),
        (CLEARLY_NOT, UNCLEAR, ["A has fewer true positives, not more: the difference is −0.500"]),
    ],
)  # fmt: skip
def test_sentences_weigh_true_positives_against_false_ones(pair, true, false, wanted):
    columns = ["estimate", "low", "high"]
    rows = pd.DataFrame([true, false], columns=columns).assign(
        first=1.5, second=1.0, misleading_draws=0.25
    )
    rows.index = pd.MultiIndex.from_product(
        [["0.2"], decision_counts.COMPARED], names=["threshold", "count"]
    )
    scope, text = decision_counts.sentences(pair, rows)
    assert "40 samples of the report part" in scope
    assert text.startswith("At the study's threshold of 0.2 A has 1.50 true and 1.50 false")
    for part in wanted:
        assert part in text
    assert ("gives more labels" in text) == (true == false == CLEAR)
