"""The errors that networks are most confident of, with the images behind them.

Confidence is the distance between the log-odds of a probability and those of the threshold that
decides, so that a class given from a probability of 0.1 on and one given from 0.6 on are measured
alike. Where all networks decide against a label, the label itself may be wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa_lib import labels
from hpa_lib.dataset import Dataset
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.trained_runs import TrainedRun

GIVEN, MISSED = "falsely given", "missed"
"""Kinds of errors."""

# Probabilities are stored as float32; nearer to 0 or 1 their log-odds are no longer exact.
_SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class ConfidentErrors:
    """Errors, most confident first within each network and kind.

    Attributes:
        table: Index number from 1; columns Id, class, error (`GIVEN` or `MISSED`), network,
            probability, threshold, distance (in log-odds, above 0), both wrong (whether every
            network decides so), truth, and for each network the names of the labels it gives.
        samples: Images of each row, shape (height, width, 4), uint8; see `Dataset.read_sample`.
        networks: Names of the networks.
    """

    table: pd.DataFrame
    samples: tuple[np.ndarray, ...]
    networks: tuple[str, ...]


def log_odds_distance(probability: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities minus those of the thresholds of their classes.

    Args:
        probability: Shape (samples, classes), values 0–1.
        threshold: Shape (classes,).

    Returns:
        Shape (samples, classes); above 0 where the label is given. NaN in classes that are
        always given (threshold 0) or never (1 or above).
    """
    decides = (threshold > 0) & (threshold < 1)
    distance = _log_odds(probability) - _log_odds(np.where(decides, threshold, 0.5))
    return np.where(decides, distance, np.nan)


def find(
    trained: Sequence[TrainedRun], dataset: Dataset, count: int = 2, part: str = "report"
) -> ConfidentErrors:
    """Find the most confident errors of each kind of each network, each sample once.

    A sample stands where the distance is largest.

    Args:
        trained: Runs of the same split.
        dataset: The dataset that they were trained on.
        count: Errors of each kind and network.
        part: Name of the part.

    Raises:
        HpaError: If it is another dataset, or an image can't be read.
    """
    rows = trained[0].rows(dataset, part)
    names = tuple(run.label for run in trained)
    truth, _ = trained[0].arrays(part)
    given = np.stack([run.decisions(part) for run in trained])
    probability = np.stack([run.arrays(part)[1] for run in trained])
    thresholds = np.stack([run.thresholds() for run in trained])
    distance = np.stack(
        [log_odds_distance(*pair) for pair in zip(probability, thresholds, strict=True)]
    )
    confident = np.where(given == truth, np.nan, np.where(truth == 1, -distance, distance))
    chosen = _choose(confident, truth, count)
    network, sample, column = chosen.T
    wrong = given != truth
    shown = [labels.from_multi_hot(array[sample]) for array in (truth, *given)]
    table = pd.DataFrame(
        {
            "Id": [dataset.ids[row] for row in rows[sample]],
            "class": np.array(CLASS_NAMES)[column],
            "error": np.where(truth[sample, column] == 1, MISSED, GIVEN),
            "network": np.array(names)[network],
            "probability": probability[network, sample, column],
            "threshold": thresholds[network, column],
            "distance": confident[network, sample, column],
            "both wrong": wrong[:, sample, column].all(axis=0),
            **{
                name: [labels.class_names(indices) for indices in label_sets]
                for name, label_sets in zip(("truth", *names), shown, strict=True)
            },
        },
        index=pd.RangeIndex(1, len(chosen) + 1, name="number"),
    )
    images = tuple(dataset.read_sample(row) for row in rows[sample])
    return ConfidentErrors(table, images, names)


def sentences(result: ConfidentErrors) -> list[str]:
    """Say how many of the errors both networks make, and which is the most confident."""
    table = result.table
    if table.empty:
        return ["No network makes an error in a class whose threshold lies between 0 and 1."]
    first = table.loc[table["distance"].idxmax()]
    shared = int(table["both wrong"].sum())
    said = [
        f"The most confident error is {first['network']}'s: {first['class']} {first['error']} in "
        f"{first['Id']}, with a probability of {first['probability']:.3g} where the threshold is "
        f"{first['threshold']:.3g}."
    ]
    if len(result.networks) > 1:
        said.append(
            f"In {shared} of the {len(table)} errors shown every network decides against the "
            "label: they find these samples hard in the same way, or the label is wrong."
        )
    return said


def _choose(confident: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Positions of the errors shown, ordered by network, kind and confidence.

    Args:
        confident: Distance of each error, shape (networks, samples, classes); NaN elsewhere.
        truth: Labels, shape (samples, classes).
        count: Errors of each kind and network.

    Returns:
        Shape (errors, 3): network, sample, class.
    """
    errors = np.argwhere(np.nan_to_num(confident) > 0)
    errors = errors[np.argsort(-confident[tuple(errors.T)], kind="stable")]
    groups: dict[tuple[int, int], list[np.ndarray]] = {}
    seen = set()
    for error in errors:
        network, sample, column = error
        group = groups.setdefault((network, truth[sample, column]), [])
        if sample not in seen and len(group) < count:
            seen.add(sample)
            group.append(error)
    ordered = [error for key in sorted(groups) for error in groups[key]]
    return np.array(ordered, dtype=np.int64).reshape(-1, 3)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    limited = np.clip(np.float64(probability), _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.log(limited / (1 - limited))
