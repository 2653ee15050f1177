"""Random label sets that follow the label table of the Kaggle training set.

``label_set_counts.csv`` lists the 577 label sets of that table and how many of the 31,072
samples carry each. Drawing whole sets reproduces everything about the table: the frequencies of
classes, the sizes of sets, and which classes occur together.

Source of the counts: the training set of the Kaggle competition "Human Protein Atlas Image
Classification" (2018), https://doi.org/10.1038/s41592-019-0658-6; labels by the Human Protein
Atlas, https://www.proteinatlas.org.
"""

import csv
import functools
from importlib import resources

import numpy as np

from hpa_lib.errors import HpaError
from hpa_lib.labels import parse_target, to_multi_hot

_FITTING_ROUNDS = 3000
_FITTING_TOLERANCE = 1e-3
"""Largest deviation of a class's frequency from the mean, relative to the mean."""


@functools.cache
def label_set_counts() -> dict[tuple[int, ...], int]:
    """Label sets of the Kaggle training set, the commonest first.

    Returns:
        Samples that carry each label set; class indices are in ascending order.
    """
    table = resources.files("hpa_lib").joinpath("label_set_counts.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {parse_target(row["Target"]): int(row["Count"]) for row in rows}


def draw_label_sets(samples: int, seed: int, balance: bool = False) -> list[tuple[int, ...]]:
    """Draw the label set of each sample, independently of the other samples.

    The first label sets are the same for any number of samples.

    Args:
        samples: Number of label sets, at least 1.
        seed: Seed, at least 0.
        balance: Give all 28 classes the same frequency. The label sets stay those of the
            table, and their sizes keep their distribution; how often each set of a size occurs
            changes, which leaves about 50 sets that matter.

    Returns:
        Class indices of each sample, in ascending order.

    Raises:
        HpaError: If `samples` or `seed` is too small.
    """
    if samples < 1:
        raise HpaError(f"samples is {samples}.", "Ask for one sample at least.")
    if seed < 0:
        raise HpaError(f"seed is {seed}.", "Choose a whole number from 0 up.")
    sets = list(label_set_counts())
    shares = _balanced_shares() if balance else np.array(list(label_set_counts().values()), float)
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    cumulative = np.cumsum(shares)
    choices = np.searchsorted(cumulative, random.random(samples) * cumulative[-1], side="right")
    return [sets[choice] for choice in choices]


@functools.cache
def _balanced_shares() -> np.ndarray:
    """Share of each label set when all classes are equally frequent.

    Iterative proportional fitting (Deming & Stephan 1940, https://doi.org/10.1214/aoms/1177731829)
    finds the shares nearest to the table's, in relative entropy, among those with equal class
    frequencies and the table's sizes.

    Returns:
        Array of shape (label sets,), in the order of `label_set_counts`, with sum 1.
    """
    sets, counts = zip(*label_set_counts().items(), strict=True)
    holds = to_multi_hot(sets).astype(bool)
    sizes = holds.sum(axis=1)
    shares = np.array(counts) / sum(counts)
    size_shares = np.bincount(sizes, shares)
    frequency = sizes @ shares / holds.shape[1]
    for _ in range(_FITTING_ROUNDS):
        for held in holds.T:
            present = shares[held].sum()
            shares = shares * np.where(held, frequency / present, (1 - frequency) / (1 - present))
        shares *= (size_shares / np.maximum(np.bincount(sizes, shares), 1e-12))[sizes]
        if np.abs(shares @ holds / frequency - 1).max() < _FITTING_TOLERANCE:
            break
    return shares
