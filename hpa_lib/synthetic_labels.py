"""Random label sets that follow the published counts of the Kaggle training set.

The sizes of label sets, the frequencies of classes, and the counts of the five commonest sets
are published, and the model reproduces all of them. The five sets keep their counts. For all
others the model is conditional Poisson sampling (Chen, Dempster & Liu 1994,
https://doi.org/10.1093/biomet/81.3.457): among the sets of one size, the probability of a set
is proportional to the product of its classes' weights, which are fitted to the frequencies.
"""

import functools
import itertools

import numpy as np

from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_COUNT, TRAINING_SET_COUNTS

LABEL_SET_SIZES: dict[int, int] = {1: 15126, 2: 12485, 3: 3160, 4: 299, 5: 2}
"""Samples of the Kaggle training set that carry 1, 2, … 5 labels."""

COMMON_LABEL_SETS: dict[tuple[int, ...], int] = {
    (0,): 2414,
    (0, 25): 1998,
    (23,): 1653,
    (25,): 1470,
    (7,): 1163,
}
"""The five commonest label sets of the Kaggle training set and their counts."""

_ENUMERATED_SIZES = (1, 2)
"""Sizes whose label sets are listed one by one; larger ones are drawn class by class."""

_FITTING_ROUNDS = 500
_FITTING_TOLERANCE = 1e-4


def draw_label_sets(samples: int, seed: int, balance: bool = False) -> list[tuple[int, ...]]:
    """Draw the label set of each sample, independently of the other samples.

    The first label sets are the same for any number of samples.

    Args:
        samples: Number of label sets, at least 1.
        seed: Seed, at least 0.
        balance: Give all 28 classes the same frequency; sizes keep their distribution.

    Returns:
        Class indices of each sample, in ascending order.

    Raises:
        HpaError: If `samples` or `seed` is too small.
    """
    if samples < 1:
        raise HpaError(f"samples is {samples}.", "Ask for one sample at least.")
    if seed < 0:
        raise HpaError(f"seed is {seed}.", "Choose a whole number from 0 up.")
    weights, listed = _fitted(balance)
    sets = list(listed)
    sizes = [size for size in LABEL_SET_SIZES if size not in _ENUMERATED_SIZES]
    counts = np.array([*listed.values(), *(LABEL_SET_SIZES[size] for size in sizes)])
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    uniform = random.random((samples, 1 + CLASS_COUNT))
    choices = np.searchsorted(np.cumsum(counts) / counts.sum(), uniform[:, 0], side="right")
    choices = np.minimum(choices, len(counts) - 1)
    larger = np.array([0] * len(sets) + sizes)[choices]
    present = _draw_conditional_poisson(weights, larger, uniform[:, 1:])
    return [
        sets[choice] if choice < len(sets) else tuple(np.flatnonzero(row).tolist())
        for choice, row in zip(choices, present, strict=True)
    ]


@functools.lru_cache(maxsize=2)
def _fitted(balance: bool) -> tuple[np.ndarray, dict[tuple[int, ...], float]]:
    """Fit the model by iterative proportional fitting.

    Returns:
        Weights of the classes, and expected counts of all label sets of the enumerated sizes.
    """
    targets = np.array(TRAINING_SET_COUNTS, float)
    published = COMMON_LABEL_SETS
    if balance:
        targets, published = np.full(CLASS_COUNT, targets.mean()), {}
    fixed = np.zeros(CLASS_COUNT)
    for labels, count in published.items():
        fixed[list(labels)] += count
    groups = []
    for size in _ENUMERATED_SIZES:
        free = [
            labels
            for labels in itertools.combinations(range(CLASS_COUNT), size)
            if labels not in published
        ]
        taken = sum(count for labels, count in published.items() if len(labels) == size)
        groups.append((np.array(free), LABEL_SET_SIZES[size] - taken))

    weights = targets / targets.sum()
    expected: list[np.ndarray] = []
    for _ in range(_FITTING_ROUNDS):
        inclusion = np.zeros(CLASS_COUNT)
        expected = []
        for free, count in groups:
            products = weights[free].prod(axis=1)
            expected.append(products * (count / products.sum()))
            for column in free.T:
                inclusion += np.bincount(column, expected[-1], CLASS_COUNT)
        for size, count in LABEL_SET_SIZES.items():
            if size not in _ENUMERATED_SIZES:
                inclusion += count * _inclusion(weights, size)
        ratio = (targets - fixed) / inclusion
        if np.abs(ratio - 1).max() < _FITTING_TOLERANCE:
            break
        weights = weights * ratio
        weights /= weights.sum()
    listed = {labels: float(count) for labels, count in published.items()}
    for (free, _), counts in zip(groups, expected, strict=True):
        listed |= zip(map(tuple, free.tolist()), counts.tolist(), strict=True)
    return weights, listed


def _symmetric(weights: np.ndarray, highest: int) -> np.ndarray:
    """Elementary symmetric polynomials of degree 0 to `highest`.

    Args:
        weights: Values, shape (values, ...); polynomials are taken over the first axis.
        highest: Highest degree.

    Returns:
        Array of shape (highest + 1, ...).
    """
    polynomials = np.zeros((highest + 1, *weights.shape[1:]))
    polynomials[0] = 1.0
    for weight in weights:
        polynomials[1:] += weight * polynomials[:-1].copy()
    return polynomials


def _inclusion(weights: np.ndarray, size: int) -> np.ndarray:
    """Probability that a set of `size` classes holds each class."""
    without_one = np.repeat(weights[:, None], len(weights), axis=1)
    np.fill_diagonal(without_one, 0.0)
    others = _symmetric(without_one, size - 1)[size - 1]
    return weights * others / _symmetric(weights, size)[size]


def _draw_conditional_poisson(
    weights: np.ndarray, sizes: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """Draw one set a sample, class by class.

    Args:
        weights: Weight of each class, shape (classes,).
        sizes: Size of each sample's set; 0 draws none.
        uniform: Random numbers from 0 to 1, shape (samples, classes).

    Returns:
        Array of shape (samples, classes), bool.
    """
    highest = int(sizes.max())
    rest = np.stack([_symmetric(weights[index:], highest) for index in range(len(weights) + 1)])
    present = np.zeros(uniform.shape, bool)
    missing = sizes.copy()
    for index, weight in enumerate(weights):
        chance = weight * rest[index + 1, np.maximum(missing - 1, 0)] / rest[index, missing]
        present[:, index] = (missing > 0) & (uniform[:, index] < chance)
        missing -= present[:, index]
    return present
