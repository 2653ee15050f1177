import numpy as np
import pandas as pd
import pytest

from hpa_lib import label_errors, labels, neighbours
from hpa_lib.errors import HpaError

EMPTY = np.zeros((0, 28), np.uint8)


def drawn(samples, signal=3.0, seed=0):
    """True labels, and the probabilities of two networks that know them by noisy logits."""
    random = np.random.default_rng(seed)
    frequency = np.array(labels.TRAINING_SET_COUNTS) / 31072
    truth = (random.random((samples, 28)) < frequency).astype(np.uint8)
    truth[~truth.any(axis=1), 0] = 1
    prior = np.log(frequency / (1 - frequency))
    return truth, [
        1 / (1 + np.exp(-(prior + signal * truth + random.normal(size=truth.shape))))
        for _ in range(2)
    ]


def find(given, probabilities, threshold=None, near=None):
    """Judge `given`; the threshold part is (truth, probabilities) or empty."""
    truth, fitted = threshold or (EMPTY, [EMPTY, EMPTY])
    if near is None:
        near = neighbours.find(probabilities[0])
    return label_errors.find(
        {"threshold": truth, "report": given},
        {
            name: {"threshold": one, "report": other}
            for name, one, other in zip(["a", "b"], fitted, probabilities, strict=True)
        },
        near,
    )


def test_thresholds_are_mean_probabilities_of_each_given_state():
    truth = np.array([[1, 0], [0, 0], [1, 0]])
    probability = np.array([[0.8, 0.1], [0.3, 0.2], [0.4, 0.6]])
    found = label_errors.state_thresholds(truth, probability)
    np.testing.assert_allclose(found, [[0.7, 0.7], [0.6, np.nan]])


def test_scores_measure_both_states_against_their_thresholds():
    # "absent" is likely from 0.9 on, "present" from 0.3 on: the class is rare or underrated.
    thresholds = np.array([[0.9], [0.3]])
    truth, probability = np.array([[0], [0], [1], [1]]), np.array([[0.5], [0.2], [0.02], [0.15]])
    found = label_errors.scores(truth, probability, thresholds)
    wanted = [(0.5 - 0.3) + (0.9 - 0.5), -np.inf, (0.98 - 0.9) + (0.3 - 0.02), -np.inf]
    np.testing.assert_allclose(found[:, 0], wanted)


def test_a_class_that_the_networks_rank_upside_down_is_not_judged():
    truth, networks = drawn(300, signal=1.0)
    upside_down = [np.where(np.arange(28) == 25, 1 - one, one) for one in networks]
    judged, kept = find(truth, upside_down), find(truth, networks)
    assert 25 not in set(judged.entries["class"])
    assert 25 in set(kept.entries["class"])
    assert judged.judged == kept.judged - 1


def test_wrong_labels_come_first():
    truth, networks = drawn(600)
    random = np.random.default_rng(1)
    underrated = random.uniform(0.1, 1, 28)  # class by class, as networks do with rare ones
    networks = [one * underrated for one in networks]
    wrong = np.zeros(truth.shape, bool)
    for row in random.choice(600, 30, replace=False):
        wrong[row, random.choice(np.flatnonzero(truth[row]))] = True
        wrong[row, random.choice(np.flatnonzero(truth[row] == 0))] = True
    given = np.where(wrong, 1 - truth, truth)
    result = find(given, networks)
    first = result.entries.head(int(wrong.sum()))
    hits = wrong[first["sample"], first["class"]]
    assert hits.mean() > 50 * wrong.mean()
    by_confidence = np.argsort(-np.abs(given - np.mean(networks, axis=0)), axis=None)[: len(first)]
    assert hits.mean() > wrong.ravel()[by_confidence].mean()
    assert result.entries["score"].is_monotonic_decreasing
    assert (first["given"] == given[first["sample"], first["class"]]).all()
    # The test on planted labels foretells what was found.
    assert result.planted.by_chance < result.planted.low
    assert result.planted.found == pytest.approx(hits.sum(), rel=0.3)
    assert "So it finds wrong labels" in " ".join(label_errors.sentences(result, False))


def test_networks_that_know_nothing_find_nothing():
    truth, networks = drawn(200, signal=0.0)
    result = find(truth, networks)
    assert result.planted.low <= result.planted.by_chance
    assert "does not reliably find" in " ".join(label_errors.sentences(result, False))


def test_thresholds_come_from_the_threshold_part_where_there_is_one():
    truth, networks = drawn(200)
    report, probabilities = truth[:100], [one[:100] for one in networks]
    fitted = find(report, probabilities, (truth[100:], [one[100:] for one in networks]))
    thresholds = label_errors.state_thresholds(truth[100:], np.mean(networks, axis=0)[100:])
    score = label_errors.scores(report, np.mean(probabilities, axis=0), thresholds)
    np.testing.assert_allclose(fitted.entries["score"], np.sort(score[score > -np.inf])[::-1])
    assert (fitted.fitted_on, find(report, probabilities).fitted_on) == ("threshold", "report")


def test_neighbours_that_agree_are_counted_beside_what_chance_gives():
    truth, networks = drawn(120, signal=1.0)
    near = neighbours.find(networks[1], 4)
    for entry in find(truth, networks, near=near).entries.head(40).itertuples():
        opposite = truth[:, entry._2] != entry.given
        assert entry.agreeing == opposite[near.rows[entry.sample]].sum()
        assert entry.expected == pytest.approx(4 * np.delete(opposite, entry.sample).mean())


def test_the_table_shows_each_entry_with_its_own_numbers():
    truth, networks = drawn(60, signal=1.0)
    result = find(truth, networks)
    ids = [f"id-{row}" for row in range(60)]
    shown = label_errors.table(result, ids, truth, count=5)
    assert shown.index.tolist() == [1, 2, 3, 4, 5]
    for row, entry in zip(
        shown.to_dict("records"), result.entries.to_dict("records"), strict=False
    ):
        sample, label = entry["sample"], entry["class"]
        assert row["Id"] == f"id-{sample}"
        assert row["class"] == labels.CLASS_NAMES[label]
        assert (row["class"] in row["given labels"]) == (row["given"] == "present")
        assert {row["given"], row["suggested"]} == {"absent", "present"}
        assert row["probability, a"] == networks[0][sample, label]
        assert row["score"] == entry["score"]
        assert row["neighbours that agree"] == f"{entry['agreeing']} of 5"


def test_the_reader_is_told_whether_labels_can_be_wrong():
    result = find(*drawn(60))
    assert "right by construction" in label_errors.sentences(result, True)[-1]
    assert "may be a wrong label" in label_errors.sentences(result, False)[-1]


@pytest.mark.parametrize("truth", [np.tile(np.eye(28, dtype=np.uint8)[0], (4, 1)), EMPTY[:0]])
def test_nothing_to_exchange_or_to_judge(truth):
    networks = [np.full(truth.shape, 0.5)] * 2
    if not len(truth):
        with pytest.raises(HpaError):
            find(truth, networks)
        return
    result = find(truth, networks)
    assert (len(result.entries), result.judged, result.planted) == (0, 0, None)
    assert label_errors.table(result, ["id"] * 4, truth).empty
    assert "contradict 0 of 0" in label_errors.sentences(result, True)[0]
    assert isinstance(result.entries, pd.DataFrame)
