"""A data folder becomes a table with labels, files and a fingerprint.

`hpa_lib.layouts` says which folders are understood, `hpa_lib.image_files` which images.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import file_marks, files, image_files, label_tables, labels, layouts
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS
from hpa_lib.label_tables import LabelTable


@dataclass(frozen=True)
class Dataset:
    """Labelled samples of one folder.

    Attributes:
        name: The folder's name, for headings and run names.
        folder: The folder that holds the label table.
        ids: Sample ids in the order of the label table.
        label_sets: Class indices of each sample, ascending.
        fingerprint: SHA-256 over ids, labels and the `image_files.Trace.mark` of each file, and
            over sources and maxima where the table gives them. Samples in another order, a
            changed label, a changed pixel of a PNG or a sample less give another value.
        patterns: Files of each sample; see `layouts.SampleFiles.pattern`.
        sources: Where each sample comes from; empty where the label table doesn't say.
        maxima: Value of 16-bit images that becomes 255, one a sample; empty for the full range.
        left_out: Ids that were left out on request.
        marks: `image_files.Trace.mark` of the four files of each sample, those of a sample one by
            one: files that have another when they are read are refused. Empty where files
            aren't known.
    """

    name: str
    folder: Path
    ids: tuple[str, ...]
    label_sets: tuple[tuple[int, ...], ...]
    fingerprint: str
    patterns: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    maxima: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    marks: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def paths(self, row: int) -> tuple[Path, ...]:
        """Files of the four channels of a sample, in the order of `images.CHANNELS`."""
        pattern = self.patterns[row]
        return tuple(layouts.channel_path(self.folder, pattern, channel) for channel in CHANNELS)

    def read_sample(self, row: int) -> np.ndarray:
        """Read the four channels of a sample.

        Returns:
            Array of shape (height, width, 4), dtype uint8, in the order of `images.CHANNELS`.

        Raises:
            HpaError: As `image_files.read_sample`.
        """
        return image_files.read_sample(self.paths(row), self._maximum(row), self._marks(row))

    def read_channels(self, row: int, workers: Executor | None = None) -> list[np.ndarray]:
        """Read a sample as `read_sample` does, as four arrays of shape (height, width).

        Args:
            row: Row number of the sample.
            workers: See `image_files.read_channels`.
        """
        paths, marks = self.paths(row), self._marks(row)
        return image_files.read_channels(paths, self._maximum(row), workers, marks)

    def _maximum(self, row: int) -> int:
        return self.maxima[row] if self.maxima else image_files.FULL_RANGE_16_BIT

    def _marks(self, row: int) -> tuple[bytes, ...]:
        start = row * len(CHANNELS)
        return self.marks[start : start + len(CHANNELS)]

    @property
    def multi_hot(self) -> np.ndarray:
        """Labels as an array of shape (samples, 28), dtype uint8, values 0 and 1."""
        return labels.to_multi_hot(self.label_sets)

    @property
    def table(self) -> pd.DataFrame:
        """One row a sample: Id, Target, class names, number of labels, and source if known."""
        columns = {
            "Id": self.ids,
            "Target": [labels.format_target(indices) for indices in self.label_sets],
            "classes": [labels.class_names(indices) for indices in self.label_sets],
            "labels": [len(indices) for indices in self.label_sets],
        }
        return pd.DataFrame(columns | ({"source": self.sources} if self.sources else {}))

    def rows_by_source(self) -> dict[str, np.ndarray]:
        """Row numbers of each source, in alphabetical order; one entry where none is named."""
        sources = np.array(self.sources or [self.name] * len(self))
        return {str(name): np.flatnonzero(sources == name) for name in np.unique(sources)}

    def description(self) -> dict[str, object]:
        """What a manifest records: name, samples, fingerprint, sources, Ids left out."""
        return {
            "name": self.name,
            "samples": len(self),
            "fingerprint": self.fingerprint,
            "sources": dict(sorted(Counter(self.sources).items())),
            "left_out": list(self.left_out),
        }


def load(folder: Path, leave_out: Collection[str] = ()) -> Dataset:
    """Open a data folder and check that it is whole.

    Every image file is opened, unless it was before and hasn't changed: its size, header and
    last bytes are read, and a missing, truncated or unsuitable file is found here, before any
    training starts. Pixels aren't decoded; ``hpa data check`` does that.

    Args:
        folder: The data folder; see `layouts`.
        leave_out: Ids of samples that aren't wanted; their files aren't looked at.

    Raises:
        HpaError: If the folder is refused by `layouts.detect`, its table by
            `label_tables.read`, or a file is missing or refused by `image_files.inspect`.
    """
    layout = layouts.detect(folder)
    return _open(layout, label_tables.read(layout.label_table, leave_out))


def load_images(folder: Path, leave_out: Collection[str] = ()) -> Dataset:
    """Open a folder for its images alone.

    Where it holds a label table, its samples are those of `load`, with their sources and maxima;
    else those that the names of the image files tell, in alphabetical order and without labels.

    Args:
        folder: A data folder, or a folder of images; see `layouts`.
        leave_out: Ids of samples that aren't wanted; their files aren't looked at.

    Raises:
        HpaError: As `load`; or if a folder without a label table is refused by
            `layouts.detect_unlabelled`, holds an Id that can't be one, or `leave_out` names an
            Id that isn't there, or every Id.
    """
    if layouts.has_label_table(folder):
        return load(folder, leave_out)
    layout = layouts.detect_unlabelled(folder)
    ids, unwanted = layout.sample_ids(), set(leave_out)
    unknown = sorted(unwanted - set(ids))
    if unknown or unwanted == set(ids):
        named = f"the Id {unknown[0]!r}, which has no image in" if unknown else "all samples of"
        raise HpaError(
            f"leave_out names {named} {layout.folder}.",
            "Name Ids of images that are there, and leave at least one in.",
        )
    kept = tuple(sample_id for sample_id in ids if sample_id not in unwanted)
    left_out = tuple(sample_id for sample_id in ids if sample_id in unwanted)
    return _open(layout, LabelTable(layout.folder, kept, ((),) * len(kept), left_out=left_out))


def _open(layout: layouts.Layout, table: LabelTable) -> Dataset:
    found = [layout.find(sample_id, table.source(row)) for row, sample_id in enumerate(table.ids)]
    missing = [
        layouts.channel_path(layout.folder, sample.pattern, channel)
        for sample in found
        for channel in sample.missing
    ]
    if missing:
        raise HpaError(
            f"{len(missing)} of {len(found) * len(CHANNELS)} image files are missing; the first "
            f"is {missing[0]}.",
            f"Every Id of {table.path.name} needs four files, <Id>_red, _green, _blue, _yellow.",
        )
    patterns = tuple(sample.pattern for sample in found)
    marks = tuple(file_marks.read(layout.folder, patterns))
    return Dataset(
        layout.folder.name,
        layout.folder,
        table.ids,
        table.label_sets,
        fingerprint(table, marks),
        patterns,
        table.sources,
        table.maxima,
        table.left_out,
        marks,
    )


def fingerprint(table: LabelTable, marks: Sequence[bytes]) -> str:
    """Fingerprint of a dataset; see `Dataset`.

    Args:
        table: Its rows.
        marks: `image_files.Trace.mark` of the four files of each row, in the order of the rows.
    """
    targets = [labels.format_target(indices) for indices in table.label_sets]
    parts = [table.ids, targets]
    more = [("source", *table.sources)] if table.sources else []
    if table.maxima:
        more.append(("maximum", *map(str, table.maxima)))
    return files.digest_bytes(
        *("\n".join(part).encode() for part in parts),
        b"".join(marks),
        *("\n".join(part).encode() for part in more),
    )
