"""Label sets of the synthetic dataset."""

from collections import Counter

import numpy as np
import pytest

from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_COUNT, TRAINING_SET_COUNTS, to_multi_hot
from hpa_lib.synthetic_labels import draw_label_sets, label_set_counts

TOTAL = 31072
PUBLISHED_SIZES = {1: 15126, 2: 12485, 3: 3160, 4: 299, 5: 2}
"""Samples of the Kaggle training set that carry 1, 2, … 5 labels."""


def sizes_of(sets):
    return np.bincount([len(labels) for labels in sets], minlength=6)


def deviations(found, expected, samples):
    """Deviations from expected counts in binomial standard deviations."""
    expected = np.asarray(expected, float)
    return (found - expected) / np.sqrt(np.maximum(expected * (1 - expected / samples), 1e-9))


def test_counts_are_those_of_the_published_label_table():
    counts = label_set_counts()
    assert len(counts) == 577
    assert list(counts)[:3] == [(0,), (0, 25), (23,)]
    assert list(counts.values())[:3] == [2414, 1998, 1653]
    assert sum(counts.values()) == TOTAL
    weights = np.array(list(counts.values()))
    classes = weights @ to_multi_hot(list(counts)).astype(int)
    assert tuple(classes.tolist()) == TRAINING_SET_COUNTS
    sizes = np.bincount([len(labels) for labels in counts], weights)
    assert dict(enumerate(sizes[1:].astype(int), start=1)) == PUBLISHED_SIZES
    assert all(tuple(sorted(set(labels))) == labels for labels in counts)


@pytest.mark.parametrize("seed", [0, 1])
def test_label_sets_occur_as_often_as_published(seed):
    samples = 20_000
    drawn = Counter(draw_label_sets(samples, seed))
    counts = label_set_counts()
    assert set(drawn) <= set(counts)
    common = [labels for labels, count in counts.items() if count >= 50]
    expected = np.array([counts[labels] for labels in common]) * samples / TOTAL
    found = np.array([drawn[labels] for labels in common])
    assert np.abs(deviations(found, expected, samples)).max() < 4.5
    rare = samples - found.sum()
    assert abs(deviations(rare, samples - expected.sum(), samples)) < 4


def test_balanced_label_sets_are_flat_and_keep_their_sizes():
    samples = 20_000
    drawn = draw_label_sets(samples, 3, balance=True)
    assert set(drawn) <= set(label_set_counts())
    expected = samples * sum(TRAINING_SET_COUNTS) / TOTAL / CLASS_COUNT
    assert np.abs(deviations(to_multi_hot(drawn).sum(0, dtype=int), expected, samples)).max() < 4
    published = np.array([0, *PUBLISHED_SIZES.values()]) * samples / TOTAL
    assert np.abs(deviations(sizes_of(drawn), published, samples)).max() < 4


@pytest.mark.parametrize("balance", [False, True])
def test_label_sets_depend_on_the_seed_and_begin_alike(balance):
    assert draw_label_sets(50, 5, balance) == draw_label_sets(500, 5, balance)[:50]
    assert draw_label_sets(50, 5, balance) != draw_label_sets(50, 6, balance)


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (-3, 0), (5, -1)])
def test_label_sets_refuse_impossible_requests(samples, seed):
    with pytest.raises(HpaError):
        draw_label_sets(samples, seed)
