"""Kaggle submissions: predicted labels in the exact order of ``sample_submission.csv``.

A submission has the columns ``Id`` and ``Predicted``; the latter holds class indices separated
by spaces, and nothing where no class is predicted.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hpa_lib import csv_tables, files, paths
from hpa_lib.errors import HpaError, shown

SAMPLE_SUBMISSION = "sample_submission.csv"

_COLUMNS = ["Id", "Predicted"]


def find_sample(images: Path) -> Path:
    """The ``sample_submission.csv`` of a folder of images: in it, or in its parent.

    Raises:
        HpaError: If it is in neither.
    """
    images = paths.expanded(images).absolute()
    places = [folder / SAMPLE_SUBMISSION for folder in (images, images.parent)]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise HpaError(
            f"A submission needs the order of {SAMPLE_SUBMISSION}, and neither "
            f"{' nor '.join(map(str, places))} is there.",
            "Name the file in --sample-submission.",
        )
    return found


def read_order(sample: Path, ids: Sequence[str]) -> list[str]:
    """Ids of a sample submission, in its order.

    Args:
        sample: CSV file with the columns Id and Predicted.
        ids: Ids that are predicted; they may be more.

    Raises:
        HpaError: If the file can't be read, lacks a column, names no Id or one twice, or names
            one that isn't predicted.
    """
    example = "A sample submission has the columns Id and Predicted, as Kaggle's has."
    try:
        table = csv_tables.read(sample)
    except (OSError, ValueError) as error:
        raise HpaError(f"Sample submission {sample} can't be read ({error}).", example) from error
    if not set(_COLUMNS) <= set(table.columns) or table.empty:
        raise HpaError(
            f"Sample submission {sample} has {len(table)} rows and the columns "
            f"{', '.join(map(str, table.columns)):.200}.",
            example,
        )
    repeated = table["Id"][table["Id"].duplicated()]
    if len(repeated):
        raise HpaError(
            f"Sample submission {sample} names the Id {shown(repeated.iloc[0])} twice.",
            "Download the file again.",
        )
    missing = table["Id"][~table["Id"].isin(ids)]
    if len(missing):
        raise HpaError(
            f"{len(missing)} of {len(table)} Ids of {sample} have no images among those to "
            f"predict; the first is {shown(missing.iloc[0])}.",
            "Give the folder with all images of the test part, or the table of these images in "
            "--sample-submission.",
        )
    return table["Id"].tolist()


def write(path: Path, predicted: pd.DataFrame, order: Sequence[str]) -> None:
    """Write a submission, all or nothing.

    Args:
        path: The CSV file.
        predicted: Columns Id and Predicted; see `folder_prediction.table`.
        order: Ids of the rows; see `read_order`.
    """
    chosen = predicted.set_index("Id").loc[list(order)].reset_index()[_COLUMNS]
    with files.replacing(path) as temporary:
        chosen.to_csv(temporary, index=False, lineterminator="\n")
