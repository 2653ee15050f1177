import numpy as np
import pytest
from simulated_runs import simulated_run

from hpa_lib import confident_errors, labels, predictions
from hpa_lib.confident_errors import GIVEN, MISSED
from hpa_lib.errors import HpaError

THRESHOLDS = np.full(28, 0.5)
THRESHOLDS[7] = 0.1
THRESHOLDS[10] = 1.0
THRESHOLDS[11] = 0.0


def run_of(dataset, probability, label, rows=None):
    rows = np.arange(len(dataset)) if rows is None else rows
    table = predictions.table(dataset, {"report": rows}, {"report": np.float32(probability)})
    manifest = {"dataset": {"fingerprint": dataset.fingerprint}}
    return simulated_run(table, label, manifest=manifest, thresholds=THRESHOLDS.tolist())


def right(dataset, rows):
    """Probabilities that give every label and no other."""
    truth = dataset.multi_hot[rows]
    return np.where(truth == 1, 0.99, 0.01)


@pytest.fixture
def rows():
    return np.arange(23, 3, -1)  # another order than the dataset's


def test_distance_is_measured_from_the_threshold_of_the_class():
    probability = np.full((1, 28), 0.2)
    probability[0, 3] = 1.0
    distance = confident_errors.log_odds_distance(probability, THRESHOLDS)[0]
    assert distance[0] == pytest.approx(np.log(0.2 / 0.8))
    assert distance[7] == pytest.approx(np.log(0.2 / 0.8) - np.log(0.1 / 0.9))
    assert distance[3] == pytest.approx(np.log(1e7), abs=1e-3)
    assert np.isnan(distance[[10, 11]]).all()


def test_the_most_confident_errors_of_each_kind_and_network(tiny, rows):
    first, second = right(tiny, rows), right(tiny, rows)
    truth = tiny.multi_hot[rows]
    absent = [int(np.flatnonzero(row == 0)[0]) for row in truth]
    present = [int(np.flatnonzero(row)[0]) for row in truth]
    first[0, absent[0]] = 0.9  # falsely given, and the other network agrees
    second[0, absent[0]] = 0.8
    first[1, absent[1]] = 0.7
    first[2, present[2]] = 0.002  # missed
    second[3, present[3]] = 0.3
    first[:, 10], first[:, 11] = 0.999, 0.999  # never and always given: no decision to be sure of
    result = confident_errors.find(
        [run_of(tiny, first, "a", rows), run_of(tiny, second, "b", rows)], tiny, count=1
    )
    found = result.table[["Id", "class", "error", "network", "both wrong"]].to_numpy().tolist()
    names = labels.CLASS_NAMES
    assert found == [
        [tiny.ids[rows[0]], names[absent[0]], GIVEN, "a", True],
        [tiny.ids[rows[2]], names[present[2]], MISSED, "a", False],
        [tiny.ids[rows[3]], names[present[3]], MISSED, "b", False],
    ]
    assert result.table["distance"].iloc[0] == pytest.approx(np.log(9), rel=1e-4)
    assert result.table["truth"].tolist() == [
        labels.class_names(tiny.label_sets[row]) for row in rows[[0, 2, 3]]
    ]
    assert names[absent[0]] in result.table["b"].iloc[0]
    np.testing.assert_array_equal(result.samples[1], tiny.read_sample(rows[2]))


def test_a_sample_is_shown_once_with_its_largest_distance(tiny, rows):
    probability = right(tiny, rows)
    spare = np.flatnonzero(tiny.multi_hot[rows[0]] == 0)
    probability[0, spare[:3]] = 0.7, 0.9, 0.8
    result = confident_errors.find([run_of(tiny, probability, "a", rows)], tiny, count=5)
    assert result.table["class"].tolist() == [labels.CLASS_NAMES[spare[1]]]


def test_sentences_count_the_errors_of_all_networks(tiny, rows):
    wrong = 1 - right(tiny, rows)
    runs = [run_of(tiny, wrong, "a", rows), run_of(tiny, right(tiny, rows), "b", rows)]
    texts = confident_errors.sentences(confident_errors.find(runs, tiny, count=2))
    assert "error is a's" in texts[0]
    assert texts[1].startswith("In 0 of the 4 errors shown every network")
    faultless = confident_errors.find(runs[1:], tiny)
    assert confident_errors.sentences(faultless)[0].startswith("No network makes an error")


def test_another_dataset_is_refused(tiny, rows, labelled):
    run = run_of(tiny, right(tiny, rows), "a", rows)
    with pytest.raises(HpaError, match="fingerprint"):
        confident_errors.find([run], labelled([(0,)] * 24))
