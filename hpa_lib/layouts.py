"""Find a dataset's label table and the files of its samples: one place decides the layout.

A data folder holds a label table, ``train.csv`` or else the only CSV file with the columns
``Id`` and ``Target``, and the images of each sample, ``<Id>_<channel>.<ending>``. They lie in
``train``, ``train_full_size`` or ``images``, in a folder named after the sample's source, or
beside the table. An image of the Human Protein Atlas' version 18 may also go by the name that
its web address has, which lacks the number of the antibody: ``89_B5_1_red.jpg`` of
``11088_89_B5_1``. Every sample has its files in one place and of one ending; where two fit,
the folder is refused.

Images without labels need no table: their names tell the Ids, and they lie in the folder itself or
in ``test``, ``test_full_size`` or one of the folders above.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hpa_lib import label_tables, paths
from hpa_lib.errors import HpaError
from hpa_lib.image_files import FORMATS
from hpa_lib.images import CHANNELS

KAGGLE = "kaggle"
"""Value of the parameter ``data`` that stands for the competition's folder on this machine."""

COMPETITION = "human-protein-atlas-image-classification"
IMAGE_FOLDERS: tuple[str, ...] = ("train", "train_full_size", "images")
"""Folders, relative to the label table's, in which images are looked for."""

UNLABELLED_FOLDERS: tuple[str, ...] = ("test", "test_full_size", *IMAGE_FOLDERS)
"""Folders, relative to the one that is given, in which images without labels are looked for."""

_ATLAS_ID = re.compile(r"\d+_(\d+_[A-Z]\d+_\d+(_cr[0-9a-f]+)?)")
_BITS = {channel: 1 << position for position, channel in enumerate(CHANNELS)}


@dataclass(frozen=True)
class SampleFiles:
    """Where the four files of a sample are.

    Attributes:
        pattern: Their path relative to the data folder, with ``*`` for the channel, such as
            ``train/<Id>_*.png``.
        missing: Channels without a file.
    """

    pattern: str
    missing: tuple[str, ...]


@dataclass
class _Place:
    """What lies in one folder: stems with their endings and channels; links that lead out."""

    found: dict[str, dict[str, int]] = field(default_factory=dict)
    leading_out: set[str] = field(default_factory=set)

    def visible_stems(self) -> list[str]:
        """Stems but those of hidden files, such as macOS leaves in archives."""
        return [stem for stem in self.found if not stem.startswith(".")]


class Layout:
    """Maps the samples of one folder to their files. See `detect` and `detect_unlabelled`.

    Attributes:
        folder: The data folder.
        label_table: Path of its label table; None where images have no labels.
    """

    def __init__(
        self,
        folder: Path,
        label_table: Path | None = None,
        image_folders: tuple[str, ...] = IMAGE_FOLDERS,
    ) -> None:
        self.folder = folder
        self.label_table = label_table
        self._image_folders = image_folders
        self._places: dict[str, _Place] = {}
        self._owners: dict[str, str] = {}

    def find(self, sample_id: str, source: str = "") -> SampleFiles:
        """Find the files of a sample.

        Raises:
            HpaError: If files of several endings or places fit, if another Id has the same
                files, or if a file is a link that leads out of the data folder.
        """
        match = _ATLAS_ID.fullmatch(sample_id)
        stems = (sample_id, match[1]) if match else (sample_id,)
        places = dict.fromkeys((*([source] if source else []), *self._image_folders, ""))
        candidates = [
            (name, stem, ending, channels)
            for name in places
            for stem in stems
            for ending, channels in self.place(name).found.get(stem, {}).items()
        ]
        if not candidates:
            first = next((name for name in places if (self.folder / name).is_dir()), "")
            return SampleFiles(_pattern(first, sample_id, ".png"), CHANNELS)
        if len(candidates) > 1:
            first, second = (_pattern(*candidate[:3]) for candidate in candidates[:2])
            raise HpaError(
                f"Sample {sample_id} of {self.folder} has files of two kinds: {first} and "
                f"{second}.",
                "Keep one kind, or give a folder that holds the label table and one kind.",
            )
        name, stem, ending, channels = candidates[0]
        pattern = _pattern(name, stem, ending)
        if self._owners.setdefault(pattern, sample_id) != sample_id:
            raise HpaError(
                f"Samples {self._owners[pattern]} and {sample_id} of {self.folder} have the same "
                f"files, {pattern}.",
                "Name the files after the whole Id.",
            )
        for channel in CHANNELS:
            if f"{stem}_{channel}{ending}" in self.place(name).leading_out:
                raise _leads_out(channel_path(self.folder, pattern, channel), self.folder)
        missing = tuple(channel for channel in CHANNELS if not channels & _BITS[channel])
        return SampleFiles(pattern, missing)

    def sample_ids(self) -> tuple[str, ...]:
        """Ids that the names of the image files tell, in alphabetical order.

        Raises:
            HpaError: If a name holds what an Id can't: nothing before the channel, ``*``, or a
                character that can't be printed.
        """
        names = (*self._image_folders, "")
        stems = sorted({stem for name in names for stem in self.place(name).visible_stems()})
        for stem in stems:
            if not stem or not stem.isprintable() or "*" in stem:
                raise HpaError(
                    f"{self.folder} holds image files whose name before the channel is {stem!r}, "
                    "which can't be an Id.",
                    "Rename them; Ids hold characters that can be printed, and no '*'.",
                )
        return tuple(stems)

    def unused_files(self, patterns: list[str]) -> int:
        """Number of channel images, in the places looked at, that belong to no given pattern."""
        present = sum(
            channels.bit_count()
            for place in self._places.values()
            for endings in place.found.values()
            for channels in endings.values()
        )
        return present - sum(self._count(pattern) for pattern in patterns)

    def _count(self, pattern: str) -> int:
        name, _, file = pattern.rpartition("/")
        stem, ending = file.split("_*")
        return self.place(name).found.get(stem, {}).get(ending, 0).bit_count()

    def place(self, name: str) -> _Place:
        """What lies in a folder below the data folder; listed once."""
        if name not in self._places:
            self._places[name] = self._list(name)
        return self._places[name]

    def _list(self, name: str) -> _Place:
        place, folder = _Place(), self.folder / name
        if not folder.is_dir():
            return place
        _refuse_link(folder, self.folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                body, dot, ending = entry.name.rpartition(".")
                stem, _, channel = body.rpartition("_")
                ending = dot + ending
                if ending not in FORMATS or channel not in _BITS:
                    continue
                endings = place.found.setdefault(stem, {})
                endings[ending] = endings.get(ending, 0) | _BITS[channel]
                if entry.is_symlink() and not _is_inside(Path(entry.path), self.folder):
                    place.leading_out.add(entry.name)
        return place


def detect(folder: Path) -> Layout:
    """Open a data folder: find its label table.

    Raises:
        HpaError: If there is no such folder, or no or several label tables in it, or the table
            or a folder of images is a link that leads out of it.
    """
    folder = paths.expanded(folder).absolute()
    if not os.path.isdir(folder):  # noqa: PTH112 - takes a text too long for a name
        raise HpaError(
            f"Data folder {folder} (parameter data) doesn't exist or isn't a folder.",
            "Give a folder with train.csv and train/, or leave data empty for synthetic images.",
        )
    table = folder / "train.csv"
    if not table.exists():
        table = _only_table(folder)
    _refuse_link(table, folder)
    layout = Layout(folder, table)
    for name in (*IMAGE_FOLDERS, ""):
        layout.place(name)
    return layout


def detect_unlabelled(folder: Path) -> Layout:
    """Open a folder of images without labels: find where they lie.

    Raises:
        HpaError: If there is no such folder, or no image in it, or images lie in several places,
            or a folder of images is a link that leads out of it.
    """
    folder = paths.expanded(folder).absolute()
    if not os.path.isdir(folder):  # noqa: PTH112 - takes a text too long for a name
        raise HpaError(
            f"Folder of images {folder} doesn't exist or isn't a folder.",
            "Give a folder with image files, four a sample; unpack archives with hpa data unpack.",
        )
    everywhere = Layout(folder, image_folders=UNLABELLED_FOLDERS)
    places = [name for name in (*UNLABELLED_FOLDERS, "") if everywhere.place(name).visible_stems()]
    if len(places) > 1:
        raise HpaError(
            f"Folder of images {folder} holds images in several places: "
            f"{', '.join(str(folder / name) for name in places)}.",
            "Give the one that is meant.",
        )
    if not places:
        _refuse_archives(folder, "image")
        raise HpaError(
            f"Folder of images {folder} holds no image: no file <Id>_red, _green, _blue or _yellow "
            f"that ends in {', '.join(FORMATS)}, there or in {', '.join(UNLABELLED_FOLDERS)}.",
            "Give the folder that holds the image files.",
        )
    return Layout(folder, image_folders=(places[0],))


def has_label_table(folder: Path) -> bool:
    """Whether `detect` would look for samples in a label table of this folder."""
    folder = paths.expanded(folder)
    if not os.path.isdir(folder):  # noqa: PTH112 - as in `detect`
        return False
    tables = folder.glob("*.csv")
    return os.path.lexists(folder / "train.csv") or any(map(label_tables.has_label_columns, tables))


def channel_path(folder: Path, pattern: str, channel: str) -> Path:
    """Path of one channel of a sample; see `SampleFiles.pattern`."""
    return folder / pattern.replace("*", channel)


def data_path(data: str, root: Path = Path("/")) -> Path:
    """The data folder that the parameter ``data`` names.

    Args:
        data: A path; or ``kaggle``, which stands for the competition's read-only input folder
            of a Kaggle notebook or the copy that Kaggle's client ``kagglehub`` keeps.
        root: Where the file system begins.

    Raises:
        HpaError: If `data` is ``kaggle``, and the competition's folder lies in several places,
            or in none and not exactly one other input fits. A folder fits if its ``train.csv``
            has the columns ``Id`` and ``Target``.
    """
    if data != KAGGLE:
        return Path(data)
    hub = root / Path.home().relative_to("/") / ".cache/kagglehub/competitions"
    mounted = root / "kaggle/input"
    places = [
        mounted / COMPETITION,
        mounted / "competitions" / COMPETITION,
        hub / COMPETITION,
    ]
    found = _with_label_table(places) or _with_label_table(sorted(mounted.glob("*")))
    if not found:
        raise HpaError(
            f"Parameter data is '{KAGGLE}', and neither {', '.join(map(str, places))} nor another "
            f"folder in {mounted} holds a train.csv with the columns Id and Target.",
            f"Attach the competition {COMPETITION} to the notebook, or give the path of the data "
            "folder in data.",
        )
    if len(found) > 1:
        raise HpaError(
            f"Parameter data is '{KAGGLE}', and several folders fit: {', '.join(map(str, found))}.",
            "Give the path of one of them in data.",
        )
    return found[0]


def _with_label_table(folders: Iterable[Path]) -> list[Path]:
    """Those with a ``train.csv`` of samples; of several names of one folder the first."""
    distinct: dict[Path, Path] = {}
    for folder in folders:
        if label_tables.has_label_columns(folder / "train.csv"):
            distinct.setdefault(folder.resolve(), folder)
    return list(distinct.values())


def _only_table(folder: Path) -> Path:
    tables = sorted(path for path in folder.glob("*.csv") if label_tables.has_label_columns(path))
    if len(tables) > 1:
        raise HpaError(
            f"Data folder {folder} holds several label tables: "
            f"{', '.join(path.name for path in tables)}.",
            "Name one of them train.csv, or keep one.",
        )
    if tables:
        return tables[0]
    _refuse_archives(folder, str(folder / "train.csv"))
    raise HpaError(
        f"Data folder {folder} holds no label table: there is no {folder / 'train.csv'}, and no "
        "other CSV file with the columns Id and Target.",
        "Give the folder that holds train.csv, or another table beside the images.",
    )


def _refuse_archives(folder: Path, missing: str) -> None:
    archives = sorted(path.name for path in folder.glob("*.zip"))
    if archives:
        raise HpaError(
            f"Data folder {folder} holds no {missing}, but archives: {', '.join(archives)}.",
            f"Unpack them: hpa data unpack {' '.join(archives)} FOLDER.",
        )


def _pattern(place: str, stem: str, ending: str) -> str:
    return f"{place}/{stem}_*{ending}" if place else f"{stem}_*{ending}"


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _refuse_link(path: Path, folder: Path) -> None:
    if path.is_symlink() and not _is_inside(path, folder):
        raise _leads_out(path, folder)


def _leads_out(path: Path, folder: Path) -> HpaError:
    return HpaError(
        f"{path} is a link that leads out of the data folder {folder}.",
        "Put the files themselves there, or give the folder that the link leads to.",
    )
