"""A folder in the Kaggle layout becomes a table with labels, files and a fingerprint.

Layout: ``train.csv`` with the columns ``Id`` and ``Target``, and the folder ``train`` with four
8-bit greyscale PNGs a sample, ``<Id>_red.png``, ``_green``, ``_blue`` and ``_yellow``.
"""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import files, labels
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS, channel_file

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# The end of a PNG: Adler-32 of the whole pixel stream, CRC-32 of the last data chunk, IEND chunk.
_PNG_TAIL_BYTES = 4 + 4 + len(_PNG_END)

_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Dataset:
    """Labelled samples of one folder.

    Attributes:
        name: The folder's name, for headings and run names.
        folder: The folder that holds ``train.csv``.
        ids: Sample ids in the order of ``train.csv``.
        label_sets: Class indices of each sample, ascending.
        fingerprint: SHA-256 over ids, labels, file sizes and the checksums that end each PNG.
            Samples in another order, a changed label or a changed pixel give another value.
    """

    name: str
    folder: Path
    ids: tuple[str, ...]
    label_sets: tuple[tuple[int, ...], ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_folder(self) -> Path:
        """Folder of the channel images."""
        return self.folder / "train"

    @property
    def multi_hot(self) -> np.ndarray:
        """Labels as an array of shape (samples, 28), dtype uint8, values 0 and 1."""
        return labels.to_multi_hot(self.label_sets)

    @property
    def table(self) -> pd.DataFrame:
        """One row a sample: Id, Target, the class names, and the number of labels."""
        return pd.DataFrame(
            {
                "Id": self.ids,
                "Target": [labels.format_target(indices) for indices in self.label_sets],
                "classes": [labels.class_names(indices) for indices in self.label_sets],
                "labels": [len(indices) for indices in self.label_sets],
            }
        )

    def description(self) -> dict[str, object]:
        """What a manifest records: name, number of samples, fingerprint."""
        return {"name": self.name, "samples": len(self), "fingerprint": self.fingerprint}


def read_label_table(path: Path) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Read a label table.

    Args:
        path: CSV file in UTF-8 with a header that names ``Id`` and ``Target``.

    Returns:
        Ids and label sets, in the order of the file.

    Raises:
        HpaError: If the file is missing, unreadable or empty, lacks a column, repeats an Id,
            holds an Id that can't be a file name, or a Target that can't be parsed.
    """
    example = "A label table has the columns Id and Target, for example 'abc,16 0'."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HpaError(f"Label table {path} can't be read ({error.strerror}).", example) from error
    except UnicodeDecodeError as error:
        raise HpaError(f"Label table {path} isn't UTF-8 text ({error}).", example) from error
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise HpaError(f"Label table {path} can't be parsed ({error}).", example) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas makes surplus fields the row names
        raise HpaError(f"Label table {path} has rows with more fields than its header.", example)
    missing = [column for column in ("Id", "Target") if column not in table.columns]
    if missing:
        raise HpaError(
            f"Label table {path} lacks the column {missing[0]}; it has {list(table.columns)}.",
            example,
        )
    if table.empty:
        raise HpaError(f"Label table {path} holds no sample.", "Add at least one row.")
    _check_ids(table["Id"], path)
    label_sets = []
    for row, (sample_id, target) in enumerate(zip(table["Id"], table["Target"], strict=True)):
        try:
            label_sets.append(labels.parse_target(target))
        except HpaError as error:
            raise HpaError(
                f"Label table {path}, line {row + 2}, Id {sample_id}: {error.problem}",
                error.remedy,
            ) from error
    return tuple(table["Id"]), tuple(label_sets)


def load(folder: Path) -> Dataset:
    """Open a folder in the Kaggle layout and check that it is whole.

    Every image file is opened: its size, first and last bytes enter the fingerprint, and a
    missing or truncated file is found here, before any training starts. Pixels aren't decoded.

    Args:
        folder: The folder that holds ``train.csv`` and ``train/``.

    Raises:
        HpaError: If the folder or a file is missing, truncated or no PNG, or the label table
            is refused by `read_label_table`.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise HpaError(
            f"Data folder {folder} (parameter data) doesn't exist or isn't a folder.",
            "Give a folder with train.csv and train/, or leave data empty for synthetic images.",
        )
    ids, label_sets = read_label_table(folder / "train.csv")
    paths = [
        channel_file(folder / "train", sample, channel) for sample in ids for channel in CHANNELS
    ]
    with ThreadPoolExecutor(max_workers=8) as pool:
        tails = list(pool.map(_png_tail, paths, chunksize=256))
    missing = [path for path, tail in zip(paths, tails, strict=True) if tail is None]
    if missing:
        raise HpaError(
            f"{len(missing)} of {len(paths)} image files are missing; the first is {missing[0]}.",
            "Every Id of train.csv needs four files, <Id>_red.png, _green, _blue and _yellow.",
        )
    targets = [labels.format_target(indices) for indices in label_sets]
    fingerprint = files.digest_bytes(
        "\n".join(ids).encode(), "\n".join(targets).encode(), b"".join(tails)
    )
    return Dataset(folder.name, folder, ids, label_sets, fingerprint)


def _check_ids(ids: pd.Series, path: Path) -> None:
    for row, sample_id in enumerate(ids):
        if not _ID_PATTERN.fullmatch(sample_id):
            raise HpaError(
                f"Label table {path}, line {row + 2}: Id {sample_id!r} can't be a file name.",
                "Ids hold letters, digits, '_', '-' and '.', and start with a letter or digit.",
            )
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise HpaError(
            f"Label table {path} repeats the Id {repeated.iloc[0]!r} "
            f"({repeated.nunique()} repeated in all).",
            "Keep one row an Id.",
        )


def _png_tail(path: Path) -> bytes | None:
    """Size and last bytes of a PNG; None if there is no such file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_PNG_SIGNATURE))
            size = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, size - _PNG_TAIL_BYTES))
            tail = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HpaError(
            f"Image {path} can't be read ({error.strerror}).", "Check the file and its rights."
        ) from error
    if head != _PNG_SIGNATURE:
        raise HpaError(f"Image {path} isn't a PNG file.", "Channel images are 8-bit PNGs.")
    if not tail.endswith(_PNG_END):
        raise HpaError(
            f"Image {path} is truncated at {size} bytes.", "Download or copy the file again."
        )
    return size.to_bytes(8, "little") + tail
