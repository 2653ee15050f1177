"""Predicted probabilities as a table: written by a training run, read by the comparison."""

from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import csv_tables, files, labels
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError, shown

FILE = "predictions.csv"
"""What a training run predicts; its figures come from these probabilities."""

ONE_VIEW_FILE = "predictions_one_view.csv"
"""The same from each image as it is, of runs that average over its eight flips and turns."""

# Column that only predictions of several sources have.
_SOURCE = "source"


def table(
    dataset: Dataset, parts: dict[str, np.ndarray], probabilities: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Join probabilities with ids and labels.

    Args:
        dataset: The samples.
        parts: Row numbers by name of part.
        probabilities: Array of shape (rows of the part, 28) by name of part.

    Returns:
        Columns Id, part, Target, source where the dataset has several, and one column of
        probabilities (float32) for each class name.
    """
    several_sources = len(dataset.rows_by_source()) > 1
    blocks = []
    for part, values in probabilities.items():
        rows = parts[part]
        head = pd.DataFrame(
            {
                "Id": [dataset.ids[row] for row in rows],
                "part": part,
                "Target": [labels.format_target(dataset.label_sets[row]) for row in rows],
            }
        )
        if several_sources:
            head[_SOURCE] = [dataset.sources[row] for row in rows]
        blocks.append(head.join(pd.DataFrame(values, columns=list(labels.CLASS_NAMES))))
    return pd.concat(blocks, ignore_index=True)


def write(path: Path, predictions: pd.DataFrame) -> None:
    """Write predictions as CSV; nine significant digits keep each float32 exactly."""
    with files.replacing(path) as temporary:
        predictions.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read predictions written by `write`.

    Raises:
        HpaError: If the file is missing or lacks a column, or a row repeats Id and part, has a
            probability outside of 0 to 1, or a Target that isn't one.
    """
    dtypes = {
        "Id": str,
        "part": str,
        "Target": str,
        _SOURCE: str,
        **dict.fromkeys(labels.CLASS_NAMES, np.float32),
    }
    try:
        predictions = csv_tables.read(path, dtypes)
    except (OSError, ValueError) as error:
        raise HpaError(
            f"Predictions {path} can't be read: {error}", "Run the training notebook again."
        ) from error
    missing = [column for column in dtypes if column not in {_SOURCE, *predictions.columns}]
    if missing:
        raise HpaError(
            f"Predictions {path} lack the column {missing[0]!r}.",
            "Run the training notebook again.",
        )
    _refuse_damaged(path, predictions)
    return predictions


def _refuse_damaged(path: Path, predictions: pd.DataFrame) -> None:
    """Refuse values that no training writes."""
    values = predictions[list(labels.CLASS_NAMES)].to_numpy(np.float32)
    outside = np.argwhere(~((values >= 0) & (values <= 1)))
    if len(outside):
        row, column = outside[0]
        reason = f"the probability {values[row, column]} of {labels.CLASS_NAMES[column]}"
    elif (repeated := predictions.duplicated(["Id", "part"])).any():
        row, reason = int(repeated.argmax()), "an Id and part that occur before"
    else:
        try:
            for row, target in enumerate(predictions["Target"]):  # noqa: B007 - named below
                labels.parse_target(target)
        except HpaError as error:
            reason = error.problem
        else:
            return
    raise HpaError(
        f"Predictions {path} are damaged: row {row + 1}, Id "
        f"{shown(predictions['Id'].iloc[row])}, has {reason}.",
        "Run the training notebook again.",
    )


def arrays(predictions: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Truth (uint8) and probabilities (float32) of one part, each of shape (rows, 28)."""
    chosen = predictions[predictions["part"] == part]
    truth = labels.to_multi_hot([labels.parse_target(target) for target in chosen["Target"]])
    return truth, chosen[list(labels.CLASS_NAMES)].to_numpy(np.float32)


def rows_by_source(predictions: pd.DataFrame, part: str) -> dict[str, np.ndarray]:
    """Row numbers within `arrays` of each source, in alphabetical order; empty if none is named."""
    if _SOURCE not in predictions:
        return {}
    sources = predictions.loc[predictions["part"] == part, _SOURCE].to_numpy(str)
    return {str(name): np.flatnonzero(sources == name) for name in np.unique(sources)}
