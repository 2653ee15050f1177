"""Read a CSV file as a table of text, or of numbers in columns that are known to hold them."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hpa_lib import files


def read(path: Path, dtypes: Mapping[str, Any] | type = str) -> pd.DataFrame:
    """Read a CSV file with a header.

    Lines before the header that begin with ``#`` are comments. Fields that are empty, or say
    ``NA``, are texts like any other.

    Args:
        path: CSV file in UTF-8.
        dtypes: Type of the columns, by name where they differ.

    Raises:
        OSError: As `files.read_text`.
        ValueError: If it isn't UTF-8, can't be parsed, has more fields in a row than in the
            header, or a field doesn't have its column's type.
    """
    return parse(files.read_text(path, "utf-8-sig"), dtypes)


def parse(text: str, dtypes: Mapping[str, Any] | type = str) -> pd.DataFrame:
    """Read the text of a CSV file; see `read`."""
    lines = io.StringIO(text)
    start = 0
    for line in lines:
        if not line.startswith("#"):
            break
        start += len(line)
    table = pd.read_csv(io.StringIO(text[start:]), dtype=dtypes, keep_default_na=False)
    if not isinstance(table.index, pd.RangeIndex):  # where pandas takes the first field for a label
        raise ValueError("the rows have more fields than the header")
    return table
