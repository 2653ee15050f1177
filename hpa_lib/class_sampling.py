"""How often each training sample is drawn.

* ``uniform``: each as often as any other.
* ``class_balanced``: as if a class were drawn first, all equally often, and then one of its
  samples. A sample of a class with few samples is drawn again and again.
* ``repeat_factor``: a class that fewer than 5 % of the samples have is drawn √(5 % / share) times
  as often, and a sample as often as its rarest class asks for.

Probabilities of a network that saw rare classes more often are too high for these.
"""

import numpy as np
import pandas as pd

from hpa_lib import labels
from hpa_lib.errors import HpaError

SAMPLINGS: tuple[str, ...] = ("uniform", "class_balanced", "repeat_factor")
"""Names of all ways."""

REPEATED_BELOW = 0.05
"""Share of samples below which ``repeat_factor`` repeats a class."""


def row_weights(multi_hot: np.ndarray, sampling: str) -> np.ndarray:
    """How often each sample is drawn, relative to a uniform draw.

    Args:
        multi_hot: Labels of the samples to draw from, shape (samples, classes), values 0 and 1.
        sampling: One of `SAMPLINGS`.

    Returns:
        Shape (samples,), dtype float64, with mean 1. Under ``class_balanced`` a sample without
        any label has weight 0.

    Raises:
        HpaError: If the sampling is unknown, or ``class_balanced`` meets no label at all.

    Source: for ``repeat_factor``, Gupta, Dollár and Girshick, "LVIS: a dataset for large
    vocabulary instance segmentation" (2019), section 5.2.
    """
    if sampling not in SAMPLINGS:
        raise HpaError(f"The sampling is {sampling!r}.", f"Choose one of {', '.join(SAMPLINGS)}.")
    present = np.asarray(multi_hot, np.float64)
    counts = present.sum(axis=0)
    if sampling == "uniform":
        weights = np.ones(len(present))
    elif sampling == "class_balanced":
        if not counts.any():
            raise HpaError(
                "Parameter sampling is 'class_balanced', but no training sample has a label.",
                "Set it to 'uniform'.",
            )
        weights = present @ np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)
    else:
        share = counts / len(present)
        wanted = np.divide(REPEATED_BELOW, share, out=np.ones_like(share), where=share > 0)
        weights = (present * np.sqrt(np.maximum(wanted, 1))).max(axis=1, initial=1)
    return weights / weights.mean()


def draw(weights: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw positions so that each comes up nearly as often as its weight says.

    The positions are put into a random order on a line, each as long as its weight, and taken at
    `count` equally spaced points: how often each comes up is rounded up or down, not left to
    chance.

    Args:
        weights: Shape (positions,), not negative, mean 1.
        count: Number of draws.
        random: Source of the order.

    Returns:
        Shape (count,), dtype int64, in random order.
    """
    order = random.permutation(len(weights))
    ends = np.cumsum(weights[order])
    points = (np.arange(count) + random.random()) / count * ends[-1]
    drawn = order[np.minimum(np.searchsorted(ends, points, side="right"), len(weights) - 1)]
    return random.permutation(drawn)


def table(multi_hot: np.ndarray, weights: np.ndarray) -> pd.DataFrame:
    """Share of each class in the samples, and in what is drawn from them.

    Args:
        multi_hot: Labels of the samples, shape (samples, 28).
        weights: From `row_weights`.

    Returns:
        Index class; columns ``samples``, ``share`` and ``share drawn``.
    """
    present = np.asarray(multi_hot, np.float64)
    return pd.DataFrame(
        {
            "samples": present.sum(axis=0).astype(int),
            "share": present.mean(axis=0),
            "share drawn": weights @ present / len(present),
        },
        index=pd.Index(labels.CLASS_NAMES, name="class"),
    )
