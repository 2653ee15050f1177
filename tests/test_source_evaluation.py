import numpy as np
import pandas as pd
import pytest
from test_evaluation import NAMES, noisy, random_truth

from hpa_lib import evaluation, source_evaluation


def stacked(*blocks):
    """Arrays one below the other, and the row numbers of each by the names a, b, …"""
    ends = np.cumsum([len(block) for block in blocks])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    return np.vstack(blocks), dict(zip(NAMES, rows, strict=False))


@pytest.fixture
def by_hand():
    """Labels and predictions of three sources, and the row numbers of each."""
    truth = [np.zeros((size, 5), dtype=int) for size in (40, 30, 29)]
    truth[0][:20, 0] = truth[0][20:, 1] = truth[0][:4, 2] = 1
    truth[1][:15, 0] = truth[1][15:, 1] = truth[1][:10, 2] = 1
    truth[2][:, 3] = 1
    given = [np.zeros_like(block) for block in truth]
    given[0][:10, 0] = given[0][20:, 1] = 1
    given[1][:, 0] = 1
    truth, rows = stacked(*truth)
    return truth, {"m": np.vstack(given), "perfect": truth}, rows


@pytest.fixture
def result(by_hand):
    return source_evaluation.bootstrap(*by_hand, 200, class_names=NAMES)


def test_figures_worked_out_by_hand(result):
    assert result.counts.to_dict("list") == {
        "samples": [40, 30, 29],
        "classes present": [3, 3, 1],
    }
    assert result.classes == ("a", "b")  # of the third class one source has four positives
    for source, macro_f1, micro_f1 in (
        # Class a: 10 of 20 found. Class b: all 20. Class c: none of 4.
        ("a", (2 * 10 / (10 + 20) + 1) / 2, 2 * 30 / (30 + 44)),
        # Class a: 15 found with 30 given. Class b: none of 15. Class c: none of 10.
        ("b", (2 * 15 / (30 + 15) + 0) / 2, 2 * 15 / (30 + 40)),
    ):
        for metric, value in (("macro_f1", macro_f1), ("micro_f1", micro_f1)):
            found = result.metrics.loc[(source, "m", metric), "estimate"]
            difference = result.differences.loc[(source, "m", "perfect", metric), "estimate"]
            assert found == pytest.approx(value)
            assert difference == pytest.approx(value - 1)
    assert set(result.metrics.index.unique("source")) == {"a", "b"}


def test_a_source_is_resampled_alone(by_hand, result):
    truth, models, rows = by_hand
    alone = evaluation.bootstrap_metrics(
        truth[rows["a"]],
        {name: given[rows["a"]] for name, given in models.items()},
        200,
        class_names=NAMES,
    )
    wanted = alone.differences.loc[("m", "perfect", "micro_f1")]
    pd.testing.assert_series_equal(
        result.differences.loc[("a", "m", "perfect", "micro_f1")], wanted, check_names=False
    )
    assert wanted["low"] < wanted["estimate"] < wanted["high"]


def test_table_has_a_row_a_source(result):
    table = source_evaluation.table(result)
    assert list(table.columns) == [
        "samples",
        "classes present",
        "macro F1 over 2 classes, m (95 % interval)",
        "macro F1 over 2 classes, perfect (95 % interval)",
        "macro F1 over 2 classes, m − perfect (95 % interval)",
        "micro F1, m (95 % interval)",
        "micro F1, perfect (95 % interval)",
        "micro F1, m − perfect (95 % interval)",
    ]
    row = result.differences.loc[("a", "m", "perfect", "macro_f1")]
    low, high = (f"{-row[name]:.3f}" for name in ("low", "high"))
    assert table.iloc[0, 4] == f"−0.167 (−{low} to −{high})"
    assert table.loc["c"].tolist() == [29, 1, *["–"] * 6]


def test_one_model_has_no_difference_and_no_name_in_the_headings(by_hand):
    truth, models, rows = by_hand
    result = source_evaluation.bootstrap(truth, {"m": models["m"]}, rows, 100, class_names=NAMES)
    assert list(source_evaluation.table(result))[2:] == [
        "macro F1 over 2 classes (95 % interval)",
        "micro F1 (95 % interval)",
    ]
    assert len(source_evaluation.sentences(result)) == 3


def test_sentences_say_whether_sources_differ(result):
    few, over, first, perfect, in_a, in_b = source_evaluation.sentences(result)
    assert few == "Too few samples for figures (under 30): “c” (29)."
    assert over == (
        "Macro F1 is over the 2 classes with at least 5 positives in every source with figures."
    )
    assert first.startswith("m is lowest in “b” with 0.333 (95 % interval ")
    assert " and highest in “a” with 0.833 (95 % interval " in first
    assert first.endswith(
        "the intervals do not overlap, so more than the draw of samples sets them apart: "
        "the images, or how often each class occurs."
    )
    assert perfect == "perfect has the same macro F1 of 1.000 in every source with figures."
    assert in_a.startswith("In “a”: perfect is better than m in macro F1 by 0.167 (95 % ")
    assert in_b.startswith("In “b”: perfect is better than m in macro F1 by 0.667 (95 % ")


def test_overlapping_intervals_do_not_show_a_difference():
    truth, rows = stacked(random_truth(60, 0), random_truth(60, 1))
    models = {"m": noisy(truth, 0.2, 2)}
    result = source_evaluation.bootstrap(truth, models, rows, 200, class_names=NAMES)
    found = result.metrics.xs("macro_f1", level="metric").droplevel("model")
    low, high = found.sort_values("estimate").index
    assert found.loc[low, "high"] >= found.loc[high, "low"]
    sentence = source_evaluation.sentences(result)[1]
    assert sentence.startswith(f"m is lowest in “{low}” with {found['estimate'].min():.3f} (")
    assert f" and highest in “{high}” with {found['estimate'].max():.3f} (" in sentence
    assert sentence.endswith(
        "the intervals overlap, so these samples do not show that the sources differ."
    )


def test_without_a_shared_class_there_is_no_macro_f1():
    truth, rows = stacked(np.eye(5, dtype=int)[[0] * 30], np.eye(5, dtype=int)[[1] * 30])
    result = source_evaluation.bootstrap(truth, {"m": truth}, rows, 100, class_names=NAMES)
    assert source_evaluation.sentences(result) == [
        "No class has at least 5 positives in every source with figures, "
        "so macro F1 can't be compared between them."
    ]
    assert list(source_evaluation.table(result))[2:] == ["micro F1 (95 % interval)"]


def test_small_sources_have_counts_alone():
    truth, rows = stacked(random_truth(29, 0), random_truth(12, 1))
    result = source_evaluation.bootstrap(truth, {"m": truth}, rows, 100, class_names=NAMES)
    assert source_evaluation.table(result)["samples"].tolist() == [29, 12]
    assert source_evaluation.sentences(result) == [
        "Too few samples for figures (under 30): “a” (29), “b” (12)."
    ]


@pytest.mark.parametrize("rows", [{}, {"a": np.arange(60)}])
def test_one_source_shows_nothing(rows):
    truth = random_truth(60, 0)
    result = source_evaluation.bootstrap(truth, {"m": truth}, rows, 100, class_names=NAMES)
    assert source_evaluation.table(result) is None
    assert source_evaluation.sentences(result) == ["All samples are of one source."]
    assert not any(result.values().values())


def test_sources_of_one_population_are_rarely_called_different():
    shares = np.geomspace(0.5, 0.01, 12)
    called = 0
    for seed in range(60):
        # The small source has fewer classes than the large one.
        truth = random_truth(630, seed, shares)
        models = {"m": noisy(truth, 0.1, seed + 1000)}
        rows = {"small": np.arange(30), "large": np.arange(30, 630)}
        result = source_evaluation.bootstrap(
            truth, models, rows, 100, seed, class_names=[str(name) for name in range(12)]
        )
        called += "do not overlap" in " ".join(source_evaluation.sentences(result))
    assert called <= 7  # averages over unequal classes would be called different 18 times
