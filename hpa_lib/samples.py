"""Look at a few samples of a dataset: random draws, small pictures, brightness."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import images, labels
from hpa_lib.dataset import Dataset


def draw(dataset: Dataset, count: int, seed: int) -> np.ndarray:
    """Row numbers of `count` different samples, or of all where there are fewer, ascending."""
    random = np.random.default_rng(seed)
    return np.sort(random.choice(len(dataset), min(count, len(dataset)), replace=False))


def pictures(dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The four channels of each row, shape (size, size, 4), dtype uint8; one read at a time."""
    for row in rows:
        sample = images.read_sample(dataset.image_folder, dataset.ids[row])
        yield images.resize_area(sample, size)


def channel_table(dataset: Dataset, count: int, seed: int) -> pd.DataFrame:
    """Mean and standard deviation of each channel over up to `count` random samples.

    Returns:
        Index channel; columns mean and standard deviation, on a scale from 0 to 1.
    """
    rows = draw(dataset, count, seed)
    statistics = images.channel_statistics(
        images.read_sample(dataset.image_folder, dataset.ids[row]) for row in rows
    )
    return pd.DataFrame(statistics, index=pd.Index(images.CHANNELS, name="channel"))


def overview(dataset: Dataset, statistics: pd.DataFrame) -> dict[str, Any]:
    """What an exploration writes to ``metrics.json``: counts, label sets, brightness."""
    multi_hot = dataset.multi_hot
    counts = multi_hot.sum(axis=0, dtype=int)
    return {
        "samples": len(dataset),
        "class_counts": dict(zip(labels.CLASS_NAMES, counts.tolist(), strict=True)),
        "label_sets": len(set(dataset.label_sets)),
        "channels": statistics.to_dict(orient="index"),
        "headline": {
            "Samples": len(dataset),
            "Classes present": int((counts > 0).sum()),
            "Labels per sample": float(multi_hot.sum(axis=1).mean()),
        },
    }
