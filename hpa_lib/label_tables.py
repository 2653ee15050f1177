"""Read a label table: a CSV file with one row a sample.

The columns ``Id`` and ``Target`` are needed. Two more are read where they are there: ``source``,
where the sample comes from, and ``maximum``, the value of its 16-bit images that means full
brightness. Further columns are ignored.
"""

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpa_lib import files, labels, paths
from hpa_lib.errors import HpaError, shown

_MAXIMUM = re.compile("[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_EXAMPLE = "A label table has the columns Id and Target, for example 'abc,16 0'."
_OPTIONAL = ("source", "maximum")
_LIST_SUFFIXES = (".txt", ".csv")
_LIST_EXAMPLE = "Write one Id a line into a .txt file, or a .csv file with the column Id."


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
    """What is wrong with one row: the line in which it begins, its Id, and the error."""

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

    A row has a problem where it has more or fewer fields than the header, its Id can't be part
    of a file name or occurs before, its Target can't be parsed, its source can't be a folder's
    name, or its maximum isn't a whole number from 1 to 65535.

    Raises:
        HpaError: If the file is missing, unreadable or empty, or lacks a column, or `leave_out`
            names an Id that isn't there, or every Id.
    """
    header, rows = _parse_csv(
        _read_text(path, f"Label table {path}", _EXAMPLE), path, ("Id", "Target"), _EXAMPLE
    )
    if not rows:
        raise HpaError(f"Label table {path} holds no sample.", "Add at least one row.")
    ids = _ids(header, rows)
    unknown = sorted(set(leave_out) - set(ids))
    if unknown:
        raise HpaError(
            f"Parameter leave_out names the Id {shown(unknown[0])}, which isn't in {path} "
            f"({len(unknown)} unknown in all).",
            "Name Ids of the label table.",
        )
    kept, left_out, problems = [], [], []
    seen: set[str] = set()
    for sample_id, (line, fields) in zip(ids, rows, strict=True):
        if sample_id in leave_out:
            left_out.append(sample_id)
            continue
        try:
            kept.append(_parse_row(header, fields, seen))
        except HpaError as error:
            located = f"Label table {path}, line {line}, Id {shown(sample_id)}: {error.problem}"
            problems.append(RowProblem(line, sample_id, HpaError(located, error.remedy)))
        seen.add(sample_id)
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
        sources=columns[2] if "source" in header else (),
        maxima=columns[3] if "maximum" in header else (),
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
    path = paths.expanded(text.strip())
    named = f"File {path} (parameter leave_out)"
    content = _read_text(path, named, _LIST_EXAMPLE)
    entries = content.splitlines()
    if path.suffix == ".csv":
        entries = _ids(*_parse_csv(content, path, ("Id",), _LIST_EXAMPLE))
    ids = tuple(entry.strip() for entry in entries if entry.strip())
    if not ids:
        raise HpaError(f"{named} names no Id.", _LIST_EXAMPLE)
    return ids


def can_be_left_out(sample_id: str) -> bool:
    """Whether ``leave_out`` can name an Id in a text of Ids separated by commas."""
    return (
        sample_id != ""
        and sample_id == sample_id.strip()
        and "," not in sample_id
        and not sample_id.endswith(_LIST_SUFFIXES)
    )


def has_label_columns(path: Path) -> bool:
    """Whether the first line of a file names the columns ``Id`` and ``Target``."""
    try:
        with files.open_bytes(path) as stream:
            header = stream.readline(10_000).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    return {"Id", "Target"} <= {name.strip().strip('"') for name in header.split(",")}


def _ids(header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> list[str]:
    """The column ``Id`` of a parsed table; empty in rows that are too short for it."""
    column = header.index("Id")
    return [fields[column] if column < len(fields) else "" for _, fields in rows]


def _parse_row(
    header: Sequence[str], fields: Sequence[str], seen: Collection[str]
) -> tuple[str, tuple[int, ...], str, int]:
    """Id, label set, source and maximum of a row; `seen` are the Ids of earlier rows."""
    if len(fields) != len(header):
        raise HpaError(
            f"The row has {len(fields)} fields, and the header {len(header)}.",
            "Write one field a column, and put a field that holds commas into quotes.",
        )
    row = dict(zip(header, fields, strict=True))
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
            f"The source {shown(source)} can't be a folder's name.",
            "Sources hold letters, digits, '_', '-' and '.', and start with a letter or digit.",
        )
    maximum = row.get("maximum", "65535")
    if not (_MAXIMUM.fullmatch(maximum) and 1 <= int(maximum) <= 65_535):
        raise HpaError(
            f"The maximum {shown(maximum)} isn't a whole number from 1 to 65535.",
            "Give the value of a 16-bit image that means full brightness, such as 4095.",
        )
    return row["Id"], labels.parse_target(row["Target"]), source, int(maximum)


def _read_text(path: Path, named: str, remedy: str) -> str:
    try:
        return files.read_text(path, "utf-8-sig")
    except OSError as error:
        raise HpaError(f"{named} can't be read ({error.strerror}).", remedy) from error
    except UnicodeDecodeError as error:
        raise HpaError(f"{named} isn't UTF-8 text ({error}).", remedy) from error


def _parse_csv(
    text: str, path: Path, needed: tuple[str, ...], remedy: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a table; each row with the number of the line in which it begins.

    Blank lines are no rows. A field in quotes may go over several lines.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    rows, line = [], 1
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                rows.append((line, fields))
            line = reader.line_num + 1
    except csv.Error as error:
        raise HpaError(f"Table {path}, line {line}, can't be parsed ({error}).", remedy) from error
    header = rows[0][1] if rows else []
    for column in needed:
        if header.count(column) != 1:
            raise HpaError(
                f"Table {path} needs one column {column}; it has {shown(header)}.", remedy
            )
    for column in _OPTIONAL:
        if header.count(column) > 1:
            raise HpaError(
                f"Table {path} has the column {column} more than once: {shown(header)}.", remedy
            )
    return header, rows[1:]
