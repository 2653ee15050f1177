"""Look at a few samples of a dataset: random draws, small pictures, brightness."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import images, labels
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError


def draw(dataset: Dataset, count: int, seed: int) -> np.ndarray:
    """Row numbers of `count` different samples, or of all where there are fewer, ascending."""
    random = np.random.default_rng(seed)
    return np.sort(random.choice(len(dataset), min(count, len(dataset)), replace=False))


def check_row(dataset: Dataset, row: int) -> int:
    """Refuse a value of the parameter ``sample`` that is no row of the dataset.

    Raises:
        HpaError: If the dataset has fewer samples.
    """
    if row >= len(dataset):
        raise HpaError(
            f"Parameter sample is {row}, and {dataset.name} has {len(dataset)} samples.",
            f"Choose a row from 0 to {len(dataset) - 1}.",
        )
    return row


def pictures(dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The four channels of each row, shape (size, size, 4), dtype uint8; one read at a time."""
    for row in rows:
        yield images.compose(dataset.read_sample(row), size, "rgby")


def channel_table(dataset: Dataset, count: int, seed: int) -> pd.DataFrame:
    """Mean and standard deviation of each channel over up to `count` random samples.

    Returns:
        Index channel; columns mean and standard deviation, on a scale from 0 to 1.
    """
    rows = draw(dataset, count, seed)
    statistics = images.channel_statistics(dataset.read_sample(row) for row in rows)
    return pd.DataFrame(statistics, index=pd.Index(images.CHANNELS, name="channel"))


def source_table(dataset: Dataset, count: int, seed: int) -> pd.DataFrame:
    """Compare the sources of a dataset, over up to `count` random samples of each.

    Returns:
        One row a source: index source; columns samples, labels per sample, and where there are
        several sources the mean of each channel, on a scale from 0 to 1.
    """
    rows = {}
    by_source = dataset.rows_by_source()
    random = np.random.default_rng(seed)
    for source, members in by_source.items():
        sizes = [len(dataset.label_sets[row]) for row in members]
        rows[source] = {"samples": len(members), "labels per sample": float(np.mean(sizes))}
        if len(by_source) > 1:
            drawn = random.choice(members, min(count, len(members)), replace=False)
            statistics = images.channel_statistics(dataset.read_sample(row) for row in drawn)
            rows[source] |= {
                f"mean {channel}": float(mean)
                for channel, mean in zip(images.CHANNELS, statistics["mean"], strict=True)
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")


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
