import numpy as np
import pytest

from hpa_lib import neighbours

ANGLES = np.radians([0, 10, 30, 90, 100])
FEATURES = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]) * [[1], [5], [2], [9], [0.1]]
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]], np.uint8)


def random_truth(samples, seed=0):
    truth = (np.random.default_rng(seed).random((samples, 6)) < 0.25).astype(np.uint8)
    truth[np.arange(samples), np.arange(samples) % 6] = 1
    return truth


def test_neighbours_are_those_at_the_smallest_angle():
    near = neighbours.find(FEATURES, 2)
    assert near.rows.tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    np.testing.assert_allclose(near.similarity[2], np.cos(np.radians([20, 30])))


def test_a_copy_is_a_neighbour_and_the_sample_itself_is_not():
    near = neighbours.find(np.repeat(FEATURES, 3, axis=0), 2)
    assert all(set(rows) | {row} == set(range(row // 3 * 3, row // 3 * 3 + 3))
               for row, rows in enumerate(near.rows))  # fmt: skip


@pytest.mark.parametrize(("samples", "count"), [(1, 0), (2, 1), (4, 3)])
def test_few_samples_have_fewer_neighbours(samples, count):
    near = neighbours.find(FEATURES[:samples])
    assert near.rows.shape == near.similarity.shape == (samples, count)


def test_agreement_counts_shared_labels_and_what_chance_gives():
    found = neighbours.agreement({"network": neighbours.find(FEATURES, 2)}, TRUTH, 100)
    # Shared with both neighbours: 1 of 2, 1 of 2, 0 of 2, 1 of 2, 2 of 2.
    row = found.shares.loc["network"]
    assert row["estimate"] == pytest.approx((0.5 + 0.5 + 0 + 0.5 + 1) / 5)
    # Of the four other samples 1, 3, 1, 2 and 3 share a label.
    assert row["expected"] == pytest.approx((1 + 3 + 1 + 2 + 3) / 20)
    assert found.gains.loc["network", "estimate"] == pytest.approx(0.0)


def test_an_embedding_of_the_labels_beats_noise_and_noise_does_not_beat_chance():
    truth = random_truth(150)
    noise = np.random.default_rng(1).normal(size=(150, 8))
    found = {"labels": neighbours.find(truth + 0.0), "noise": neighbours.find(noise)}
    result = neighbours.agreement(found, truth, 500)
    assert result.shares.loc["labels", "estimate"] == 1.0
    assert (result.gains["low"] > 0).tolist() == [True, False]
    assert result.gains.loc["noise", "high"] > 0
    first, second, apart, better = neighbours.sentences(result)
    assert "embedding of labels, a share of 1.000 (95 % interval 1.000 to 1.000)" in first
    assert "embedding of noise" in second
    assert "do not tell these apart" in apart
    assert "abels is better than noise" in better


def test_intervals_cover_the_chance_by_which_some_samples_are_neighbours_of_many():
    covered = []
    for seed in range(60):
        noise = np.random.default_rng(1000 + seed).normal(size=(150, 8))
        near, truth = neighbours.find(noise), random_truth(150, seed)
        gain = neighbours.agreement({"noise": near}, truth, 200).gains.loc["noise"]
        covered.append(gain["low"] <= 0 <= gain["high"])
    assert np.mean(covered) >= 0.95


def test_the_interval_of_a_difference_is_paired():
    truth, noise = random_truth(80), np.random.default_rng(2).normal(size=(80, 4))
    near = neighbours.find(noise)
    result = neighbours.agreement({"a": near, "b": near}, truth, 200)
    assert (result.differences.to_numpy() == 0).all()
    assert result.shares.loc["a", "low"] < result.shares.loc["a", "high"]


def test_queries_are_the_best_predicted_and_different_suspects():
    probability = np.where(TRUTH, 0.6, 0.4)
    probability[3] = np.where(TRUTH[3], 0.99, 0.01)
    found = neighbours.queries(TRUTH, probability, [2, 2, 3, 0, 4, 1], count=2)
    assert list(found.values()) == [3, 2, 0]


def test_samples_that_share_a_label_are_counted_as_in_a_table_of_all_pairs():
    truth = (np.random.default_rng(0).random((200, 28)) < 0.04).astype(np.uint8)
    assert (truth.sum(axis=1) == 0).any()
    wide = truth.astype(int)
    pairs = wide @ wide.T > 0
    np.fill_diagonal(pairs, val=False)
    found = {"net": neighbours.find(np.random.default_rng(1).random((200, 8)))}
    result = neighbours.agreement(found, truth, replicates=50)
    own = np.take_along_axis(pairs, found["net"].rows, axis=1)
    assert result.shares.loc["net", "expected"] == pytest.approx(pairs.sum() / 200 / 199)
    assert result.shares.loc["net", "estimate"] == pytest.approx(own.mean())
