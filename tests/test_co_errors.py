import numpy as np
import pytest
from simulated_runs import simulated_run
from sklearn.metrics import confusion_matrix

from hpa_lib import co_errors, labels, predictions
from hpa_lib.co_errors import NOTHING


def cells(truth, given):
    counts = co_errors.matrix(labels.to_multi_hot(truth), labels.to_multi_hot(given)).stack()
    return counts[counts > 0].to_dict()


@pytest.mark.parametrize(
    ("truth", "given", "expected"),
    [
        ((0, 25), (0, 25), {(NOTHING, NOTHING): 1}),
        ((0, 25), (0, 7), {("Cytosol", "Golgi apparatus"): 1}),
        ((0, 25), (0,), {("Cytosol", NOTHING): 1}),
        ((0,), (0, 7), {(NOTHING, "Golgi apparatus"): 1}),
        (
            (0, 25),
            (7,),
            {
                ("Nucleoplasm", "Golgi apparatus"): 0.5,
                ("Cytosol", "Golgi apparatus"): 0.5,
                ("Nucleoplasm", NOTHING): 0.5,
                ("Cytosol", NOTHING): 0.5,
            },
        ),
        (
            (0,),
            (7, 25),
            {
                ("Nucleoplasm", "Golgi apparatus"): 0.5,
                ("Nucleoplasm", "Cytosol"): 0.5,
                (NOTHING, "Golgi apparatus"): 0.5,
                (NOTHING, "Cytosol"): 0.5,
            },
        ),
    ],
)
def test_errors_of_a_sample_are_shared_out(truth, given, expected):
    assert cells([truth], [given]) == expected


def test_rows_are_false_negatives_and_columns_false_positives():
    random = np.random.default_rng(0)
    truth, given = (random.random((2, 200, 28)) < 0.1).astype(int)
    counts = co_errors.matrix(truth, given)
    names = list(labels.CLASS_NAMES)
    false_negatives = (truth & ~given.astype(bool)).sum(axis=0)
    np.testing.assert_allclose(counts.loc[names].sum(axis=1), false_negatives, atol=1e-6)
    false_positives = (given & ~truth.astype(bool)).sum(axis=0)
    np.testing.assert_allclose(counts[names].sum(axis=0), false_positives, atol=1e-6)
    assert (counts.to_numpy() >= 0).all()


def test_samples_with_one_label_give_the_usual_confusion_matrix():
    random = np.random.default_rng(1)
    truth, given = random.integers(0, 28, (2, 500))
    counts = co_errors.matrix(np.eye(28, dtype=int)[truth], np.eye(28, dtype=int)[given])
    usual = confusion_matrix(truth, given, labels=range(28))
    np.testing.assert_array_equal(counts.iloc[:28, :28], usual - np.diag(np.diag(usual)))


def run_of(labelled, truth, given, label="network"):
    probability = labels.to_multi_hot(given).astype(np.float32)
    table = predictions.table(
        labelled(truth), {"report": range(len(truth))}, {"report": probability}
    )
    return simulated_run(table, label)


@pytest.fixture
def confused(labelled):
    """Bodies are taken for nucleoli in 8 of 10 samples; nucleoli are given to 2 of 20 others."""
    truth = [(5,)] * 10 + [(0,)] * 20 + [(2,)] * 10
    given = [(2,)] * 8 + [()] * 2 + [(0, 2)] * 2 + [(0,)] * 18 + [(2,)] * 10
    return co_errors.compare([run_of(labelled, truth, given)], count=3)


def test_a_frequent_pair_is_compared_with_the_samples_elsewhere(confused):
    (pair,) = confused.pairs.index
    assert pair == ("network", "Nuclear bodies", "Nucleoli")
    row = confused.pairs.loc[pair]
    assert row[["count", "misses", "rate_beside", "rate_elsewhere", "estimate"]].tolist() == (
        pytest.approx([8, 10, 0.8, 0.1, 0.7])
    )
    assert 0.3 < row["low"] < 0.7 < row["high"] <= 1
    (text,) = confused.table.iloc[0][-1:]
    assert text.startswith("0.700 (0.")


def test_sentences_name_the_confusion_with_its_counts_and_interval(confused):
    misses, pair = co_errors.sentences(confused)
    assert misses == "network misses 10 labels, and gives a false one in the place of 8 of them."
    assert "Nucleoli in the place of Nuclear bodies, 8 of 10 misses" in pair
    assert "80 % where Nuclear bodies is missed and to 10 % of the others" in pair
    assert "so that the miss goes with the false label" in pair


def test_few_misses_get_no_interval(labelled):
    run = run_of(labelled, [(5,), (5,), (0,), (0,)], [(2,), (2,), (0,), (0,)])
    result = co_errors.compare([run], replicates=100)
    assert result.pairs[["low", "high"]].isna().all(axis=None)
    assert co_errors.sentences(result)[1].endswith(
        "too few to tell whether it is more than chance."
    )
    assert "nan" not in result.table.iloc[0].astype(str).str.cat().lower()


def test_a_network_without_misses_or_without_false_labels(labelled):
    truth = [(0,), (7,), (7,), (0,)]
    perfect = run_of(labelled, truth, truth, "perfect")
    shy = run_of(labelled, truth, [(), (7,), (7,), ()], "shy")
    result = co_errors.compare([perfect, shy], replicates=100)
    assert result.pairs.empty
    assert result.table.empty
    assert co_errors.sentences(result) == [
        "perfect misses no label.",
        "shy misses 2 labels, and gives a false one in the place of 0 of them.",
    ]
