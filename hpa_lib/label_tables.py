"""Read a label table: a CSV file with one row a sample.

The columns ``Id`` and ``Target`` are needed. Two more are read where they are there: ``source``,
where the sample comes from, and ``maximum``, the value of its 16-bit images that means full
brightness. Further columns are ignored.
"""

import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpa_lib import labels
from hpa_lib.errors import HpaError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_EXAMPLE = "A label table has the columns Id and Target, for example 'abc,16 0'."
_LIST_SUFFIXES = (".txt", ".csv")


@dataclass(frozen=True)
class LabelTable:
    """The rows of a label table, in the order of the file.

    Attributes:
        path: The file.
        ids: Sample ids; each can be part of a file name and occurs once.
        label_sets: Class indices of each sample, ascending.
        sources: Where each sample comes from; empty without the column.
        maxima: Value of 16-bit images that becomes 255, one a sample; empty without the column.
        left_out: Ids of rows that were left out on request, in the order of the file.
    """

    path: Path
    ids: tuple[str, ...]
    label_sets: tuple[tuple[int, ...], ...]
    sources: tuple[str, ...] = ()
    maxima: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()

    def source(self, row: int) -> str:
        """Source of a row, or an empty text."""
        return self.sources[row] if self.sources else ""


@dataclass(frozen=True)
class RowProblem:
    """What is wrong with one row: its line in the file, its Id, and the error."""

    line: int
    sample_id: str
    error: HpaError


def read(path: Path, leave_out: Collection[str] = ()) -> LabelTable:
    """Read a label table.

    Args:
        path: CSV file in UTF-8 with a header.
        leave_out: Ids whose rows are left out, whatever else these rows hold.

    Raises:
        HpaError: As `read_sound_rows`, and for the first row that has a problem.
    """
    table, problems = read_sound_rows(path, leave_out)
    if problems:
        raise problems[0].error
    return table


def read_sound_rows(
    path: Path, leave_out: Collection[str] = ()
) -> tuple[LabelTable, list[RowProblem]]:
    """Read the rows that can be used, and say what is wrong with the others.

    A row has a problem where its Id can't be part of a file name or occurs before, its Target
    can't be parsed, its source can't be a folder's name, or its maximum isn't a whole number
    from 1 to 65535.

    Raises:
        HpaError: If the file is missing, unreadable or empty, or lacks a column, or `leave_out`
            names an Id that isn't there, or every Id.
    """
    rows = _read_csv(path)
    unknown = sorted(set(leave_out) - set(rows["Id"]))
    if unknown:
        raise HpaError(
            f"Parameter leave_out names the Id {unknown[0]!r}, which isn't in {path} "
            f"({len(unknown)} unknown in all).",
            "Name Ids of the label table.",
        )
    lines = range(2, len(rows) + 2)
    kept, left_out, problems = [], [], []
    seen: set[str] = set()
    for line, row in zip(lines, rows.to_dict("records"), strict=True):
        if row["Id"] in leave_out:
            left_out.append(row["Id"])
            continue
        try:
            kept.append(_parse_row(row, seen))
        except HpaError as error:
            located = f"Label table {path}, line {line}, Id {row['Id']!r}: {error.problem}"
            problems.append(RowProblem(line, row["Id"], HpaError(located, error.remedy)))
        seen.add(row["Id"])
    if not kept and not problems:
        raise HpaError(
            f"Parameter leave_out names all {len(left_out)} samples of {path}.",
            "Leave at least one sample in.",
        )
    columns = list(zip(*kept, strict=True)) or [(), (), (), ()]
    table = LabelTable(
        path,
        ids=columns[0],
        label_sets=columns[1],
        sources=columns[2] if "source" in rows else (),
        maxima=columns[3] if "maximum" in rows else (),
        left_out=tuple(left_out),
    )
    return table, problems


def parse_leave_out(text: str) -> tuple[str, ...]:
    """Ids that the parameter ``leave_out`` names.

    Args:
        text: Ids separated by commas; or the path of a file that ends in ``.txt`` (one Id a
            line) or ``.csv`` (a column ``Id``); or nothing.

    Raises:
        HpaError: If the file can't be read, or names no Id.
    """
    if not text.strip().endswith(_LIST_SUFFIXES):
        return tuple(entry.strip() for entry in text.split(",") if entry.strip())
    path = Path(text.strip()).expanduser()
    content = _read_text(path, "leave_out")
    if path.suffix == ".csv":
        content = "\n".join(_parse_csv(content, path, ("Id",))["Id"])
    ids = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not ids:
        raise HpaError(f"File {path} (parameter leave_out) names no Id.", "Write one Id a line.")
    return ids


def has_label_columns(path: Path) -> bool:
    """Whether the first line of a file names the columns ``Id`` and ``Target``."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            header = stream.readline(10_000)
    except (OSError, UnicodeDecodeError):
        return False
    return {"Id", "Target"} <= {name.strip().strip('"') for name in header.split(",")}


def _parse_row(row: dict[str, str], seen: Collection[str]) -> tuple[str, tuple[int, ...], str, int]:
    if not _NAME.fullmatch(row["Id"]):
        raise HpaError(
            "The Id can't be part of a file name.",
            "Ids hold letters, digits, '_', '-' and '.', and start with a letter or digit.",
        )
    if row["Id"] in seen:
        raise HpaError("The Id is repeated.", "Keep one row an Id.")
    source = row.get("source", "unnamed")
    if not _NAME.fullmatch(source):
        raise HpaError(
            f"The source {source!r} can't be a folder's name.",
            "Sources hold letters, digits, '_', '-' and '.', and start with a letter or digit.",
        )
    maximum = row.get("maximum", "65535")
    if not (maximum.isascii() and maximum.isdigit() and 1 <= int(maximum) <= 65_535):
        raise HpaError(
            f"The maximum {maximum!r} isn't a whole number from 1 to 65535.",
            "Give the value of a 16-bit image that means full brightness, such as 4095.",
        )
    return row["Id"], labels.parse_target(row["Target"]), source, int(maximum)


def _read_csv(path: Path) -> pd.DataFrame:
    rows = _parse_csv(_read_text(path, "data"), path, ("Id", "Target"))
    if rows.empty:
        raise HpaError(f"Label table {path} holds no sample.", "Add at least one row.")
    return rows


def _read_text(path: Path, parameter: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HpaError(
            f"File {path} (parameter {parameter}) can't be read ({error.strerror}).", _EXAMPLE
        ) from error
    except UnicodeDecodeError as error:
        raise HpaError(
            f"File {path} (parameter {parameter}) isn't UTF-8 text ({error}).", _EXAMPLE
        ) from error


def _parse_csv(text: str, path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise HpaError(f"Table {path} can't be parsed ({error}).", _EXAMPLE) from error
    if not isinstance(rows.index, pd.RangeIndex):  # pandas makes surplus fields the row names
        raise HpaError(f"Table {path} has rows with more fields than its header.", _EXAMPLE)
    missing = [column for column in needed if column not in rows.columns]
    if missing:
        raise HpaError(
            f"Table {path} lacks the column {missing[0]}; it has {list(rows.columns)}.", _EXAMPLE
        )
    return rows
