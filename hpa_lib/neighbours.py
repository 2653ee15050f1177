"""Nearest neighbours of samples in an embedding, and how often they share a label.

Neighbours are sought by the cosine: the direction of an embedding says which features an image
has, its length mostly how strong they are. Neighbours of one part are found within that part. Where
the part holds several images of one field of view, such neighbours agree for that reason too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from hpa_lib import calibration, evaluation, wording

COUNT = 5
"""Neighbours of a sample, unless told otherwise."""

# Equal shares that were computed in two ways differ by less.
_ROUNDING_ERROR = 1e-12


@dataclass(frozen=True)
class Neighbours:
    """The nearest other samples of each sample, nearest first.

    Attributes:
        rows: Which samples, shape (samples, count), dtype int64.
        similarity: Their cosine similarity, same shape, from -1 to 1.
    """

    rows: np.ndarray
    similarity: np.ndarray

    @property
    def count(self) -> int:
        """Neighbours of each sample."""
        return self.rows.shape[1]


@dataclass(frozen=True)
class Agreement:
    """How often neighbours share a label.

    Attributes:
        shares: Index network; columns estimate, low, high: share of neighbours that have at least
            one label of the sample, a mean over samples; expected: the same for other samples
            taken at random.
        gains: Index network; columns estimate, low, high: share minus what is expected.
        differences: Index (first, second) for each pair of networks; columns estimate (first
            minus second), low, high.
        neighbours: Neighbours of each sample.
        samples: Number of samples.
        level: Confidence level of the intervals, between 0 and 1.
    """

    shares: pd.DataFrame
    gains: pd.DataFrame
    differences: pd.DataFrame
    neighbours: int
    samples: int
    level: float

    def values(self) -> dict[str, Any]:
        """Shares, gains and differences, for ``metrics.json``."""
        return {
            "neighbours": self.neighbours,
            "shares": self.shares.to_dict(orient="index"),
            "gains": self.gains.to_dict(orient="index"),
            "differences": evaluation.nested(self.differences),
        }


def find(features: np.ndarray, count: int = COUNT) -> Neighbours:
    """Find the nearest neighbours of each sample by cosine similarity.

    Args:
        features: Embeddings, shape (samples, features).
        count: Neighbours of each sample; fewer where there are no more other samples.

    Returns:
        Neighbours; a sample is never its own, but a copy of it may be one.
    """
    count = min(count, len(features) - 1)
    if count < 1:
        nobody = np.empty((len(features), 0))
        return Neighbours(nobody.astype(np.int64), nobody)
    search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(features)
    distance, rows = search.kneighbors()
    return Neighbours(rows.astype(np.int64), 1.0 - distance)


def agreement(
    found: Mapping[str, Neighbours],
    truth: np.ndarray,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Count how often neighbours share at least one label, beside what chance gives.

    Intervals come from the paired bootstrap of `evaluation`. A sample that is drawn less often
    counts less as the one whose neighbours are looked at, and less as a neighbour of others, both
    to first order; neighbours aren't sought anew. Chance within single pairs enters both ways:
    intervals of differences, and of gains near 0, are rather too wide.

    Args:
        found: Neighbours by name of the network, as many for each; at least one each.
        truth: Labels of the same samples, shape (samples, classes), values 0 and 1.
        replicates: Number of resamples.
        seed: The same seed gives the same result.
        level: Confidence level, between 0 and 1.
    """
    expected = _sharing(truth) / (len(truth) - 1)
    expected += expected - expected.mean()  # each pair of others counts for both samples
    share = {name: _shares(truth, near) for name, near in found.items()}
    pairs = list(combinations(share, 2))
    by_sample = np.column_stack(
        [
            *share.values(),
            *(own - expected for own in share.values()),
            *(share[first] - share[second] for first, second in pairs),
        ]
    )
    weights = evaluation.resampling_weights(evaluation.strata(truth), replicates, seed)
    resampled = np.concatenate([some @ by_sample for some in weights]) / len(truth)
    tail = (1 - level) / 2
    values = np.vstack([by_sample.mean(axis=0), np.quantile(resampled, [tail, 1 - tail], axis=0)])
    values[np.abs(values) < _ROUNDING_ERROR] = 0
    rows = pd.DataFrame(values.T, columns=["estimate", "low", "high"])
    networks = pd.Index(share, name="network")
    size = len(networks)
    return Agreement(
        rows[:size].set_index(networks).assign(expected=expected.mean()),
        rows[size : 2 * size].set_index(networks),
        rows[2 * size :].set_index(pd.MultiIndex.from_tuples(pairs, names=["first", "second"])),
        next(iter(found.values())).count,
        len(truth),
        level,
    )


def queries(
    truth: np.ndarray, probability: np.ndarray, suspects: Sequence[int], count: int = 3
) -> dict[str, int]:
    """Choose samples whose neighbours are worth a look.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        probability: Probabilities, same shape.
        suspects: Rows of samples with possibly wrong labels, the most suspicious first; one may
            occur several times.
        count: Different suspects to choose at most.

    Returns:
        Rows by the reason for which they are chosen: the sample with the lowest cross-entropy,
        which the network predicts best, and the first suspects.
    """
    best = int(calibration.cross_entropy(truth, probability).mean(axis=1).argmin())
    chosen = [row for row in dict.fromkeys(map(int, suspects)) if row != best][:count]
    return {"predicted best": best} | {
        f"suspicious label, number {rank}": row for rank, row in enumerate(chosen, start=1)
    }


def sentences(result: Agreement) -> list[str]:
    """Say how often neighbours share a label, and in which network's embedding more often."""
    said = []
    for name, share in result.shares.iterrows():
        interval = wording.with_interval(
            share["estimate"], share["low"], share["high"], result.level
        )
        said.append(
            f"Of the {result.neighbours} nearest neighbours of a sample in the embedding of "
            f"{name}, a share of {interval} has a label in common with it; of other samples taken "
            f"at random it is {wording.number(share['expected'])}."
        )
        gain = result.gains.loc[name]
        if gain["low"] <= 0 <= gain["high"]:
            interval = wording.with_interval(*gain[["estimate", "low", "high"]], result.level)
            said.append(f"The data do not tell these apart: their difference is {interval}.")
    for (first, second), row in result.differences.iterrows():
        name = "label agreement of neighbours"
        said.append(wording.difference(row, first, second, name, result.level))
    return said


def _sharing(truth: np.ndarray) -> np.ndarray:
    """How many other samples have a label of each sample, shape (samples,).

    Samples with the same labels count together: a table of all pairs would need a gigabyte for
    some 30,000 samples.
    """
    sets, members, sizes = np.unique(truth, axis=0, return_inverse=True, return_counts=True)
    wide = sets.astype(np.float32)
    sharing = (wide @ wide.T > 0) @ sizes - sets.any(axis=1)
    return sharing[members.ravel()]


def _shares(truth: np.ndarray, near: Neighbours) -> np.ndarray:
    """What each sample adds to the mean share of neighbours with a common label.

    Args:
        truth: Labels, shape (samples, classes), values 0 and 1.
        near: Neighbours of the samples.

    Returns:
        The share among a sample's own neighbours, plus the excess over the mean with which the
        sample is a neighbour of others, which is 0 on average; shape (samples,).
    """
    present = truth.astype(bool)
    each = [(present & present[rows]).any(axis=1) for rows in near.rows.T]
    own = np.column_stack(each).astype(np.float64)
    excess = (own - own.mean()).ravel() / near.count
    return own.mean(axis=1) + np.bincount(near.rows.ravel(), excess, minlength=len(own))
