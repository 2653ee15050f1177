import numpy as np
import pytest

from hpa_lib import embedding_map


def blobs(samples, seed=0):
    """Two groups of directions in 40 dimensions, lengths at random."""
    random = np.random.default_rng(seed)
    group = np.arange(samples) % 2
    features = random.normal(scale=0.3, size=(samples, 40)) + 3 * np.eye(40)[group]
    return features * random.uniform(0.5, 2, (samples, 1)), group


def test_samples_that_are_alike_lie_together():
    features, group = blobs(60)
    placed = embedding_map.place(features)
    distance = np.linalg.norm(placed.positions[:, None] - placed.positions, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).all()
    assert placed.trustworthiness > 0.8
    assert placed.by_chance == pytest.approx(0.5, abs=0.1)
    assert "t-SNE with perplexity 19.7 from 40 principal" in embedding_map.sentences(placed)[0]


def test_it_repeats_and_the_length_of_an_embedding_does_not_matter():
    features, _ = blobs(20)
    placed = embedding_map.place(features, seed=3)
    again = embedding_map.place(features, seed=3)
    np.testing.assert_array_equal(again.positions, placed.positions)
    longer = embedding_map.place(features * 4.0, seed=3)
    np.testing.assert_array_equal(longer.positions, placed.positions)


@pytest.mark.parametrize(("samples", "perplexity"), [(15, None), (16, 5.0), (40, 13.0), (95, 30.0)])
def test_the_perplexity_leaves_each_sample_three_times_as_many_others(samples, perplexity):
    features, _ = blobs(samples)
    assert embedding_map.place(features).perplexity == perplexity


@pytest.mark.parametrize("samples", [2, 3, 4, 15])
def test_few_samples_show_principal_components(samples):
    features, _ = blobs(samples)
    placed = embedding_map.place(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    left, size, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(placed.positions), np.abs(left * size)[:, :2], atol=1e-9)
    assert placed.explained == pytest.approx((size[:2] ** 2).sum() / (size**2).sum())
    assert "t-SNE needs more" in embedding_map.sentences(placed)[0]
    assert (placed.trustworthiness is None) == (samples < 4)


@pytest.mark.parametrize("features", [np.zeros((30, 8)), np.ones((30, 8)), np.ones((1, 8))])
def test_a_network_that_tells_nothing_apart_gives_one_point(features):
    placed = embedding_map.place(features)
    assert (placed.positions == 0).all()
    assert len(placed.rows) == len(features)
    assert "one point" in embedding_map.sentences(placed)[0]


def test_copies_do_not_count_as_samples_of_their_own():
    features, _ = blobs(10)
    placed = embedding_map.place(np.repeat(features, 4, axis=0))
    assert placed.perplexity is None
    assert np.isfinite(placed.positions).all()


def test_many_samples_are_drawn_from(monkeypatch):
    monkeypatch.setattr(embedding_map, "MOST_POINTS", 20)
    features, _ = blobs(50)
    placed = embedding_map.place(features, seed=1)
    assert len(np.unique(placed.rows)) == 20
    assert (np.diff(placed.rows) > 0).all()
    np.testing.assert_array_equal(
        embedding_map.place(features[placed.rows], seed=1).positions, placed.positions
    )
    assert "20 samples, drawn at random from 50" in embedding_map.sentences(placed)[0]
