"""Get datasets from where they are published.

* The competition's files come through Kaggle's own client, with the user's credentials.
* HPAv18 images, one tinted JPEG a stain, come by id from the Human Protein Atlas' version 18.
  Id ``11088_89_B5_1`` is field ``89_B5_1`` of antibody 11088; its nucleus lies at
  ``<base>/11088/89_B5_1_blue.jpg``.
"""

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hpa_lib import archives, downloads, files, image_files, label_tables, labels, paths
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS
from hpa_lib.layouts import COMPETITION

ATLAS_IMAGES = "https://v18.proteinatlas.org/images"
"""Public address of the HPAv18 images."""

_FINISHED = "fetched.json"
"""File that `fetch_kaggle` writes last, and that says that the folder is complete."""

_RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
_CREDENTIALS = (
    "Make a token at https://www.kaggle.com/settings/api and put it into the environment variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token (older accounts: ~/.kaggle/kaggle.json), "
    f"and accept the competition's rules at {_RULES}."
)
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_ATLAS_ID = re.compile(r"(\d+)_([A-Za-z0-9_]+)")


@dataclass(frozen=True)
class AtlasReport:
    """What `fetch_atlas` did.

    Attributes:
        samples: Samples in the label table that was written: those with all four files.
        written: Files written.
        present: Files that were there already.
        missing: One row for each file that could not be had: Id, channel and reason.
    """

    samples: int
    written: int
    present: int
    missing: pd.DataFrame


def fetch_kaggle(folder: Path, *, keep_archive: bool = False) -> Path:
    """Download and unpack the competition's files, so that they are in the Kaggle layout.

    An interrupted download or unpacking is taken up by the same call. ``fetched.json`` is
    written when all files are there; where it lies beside ``train.csv``, nothing is done.

    Args:
        folder: Where the files go; it is created.
        keep_archive: Keep the downloaded archive beside its content.

    Returns:
        `folder`.

    Raises:
        HpaError: If Kaggle's client isn't installed, has no credentials, or is refused; if the
            download fails; or as `archives.unpack`.
    """
    folder = paths.expanded(folder).absolute()
    archive = folder / f"{COMPETITION}.zip"
    if (folder / "train.csv").is_file() and (folder / _FINISHED).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    client = _kaggle_client()
    with _kaggle_errors(), contextlib.redirect_stdout(sys.stderr):
        client.competition_download_files(
            COMPETITION, path=str(folder), quiet=not sys.stderr.isatty()
        )
    if not archive.is_file():
        raise HpaError(
            f"Kaggle's client left no {archive}.", "Download the competition's files by hand."
        )
    unpacked = archives.unpack([archive], folder)
    if unpacked.nested:
        archives.unpack(unpacked.nested, folder)
    files.write_json(folder / _FINISHED, {"competition": COMPETITION})
    if not keep_archive:
        for path in (*unpacked.nested, archive):
            path.unlink()
    return folder


def fetch_atlas(
    folder: Path,
    ids: Path,
    *,
    base: str = ATLAS_IMAGES,
    politeness: downloads.Politeness | None = None,
) -> AtlasReport:
    """Download HPAv18 images by id, as a data folder that `dataset.load` opens.

    Written are ``train/<Id>_<channel>.jpg``, as served, and last ``train.csv`` with the samples
    whose four files are there. The same call goes on after an interruption, and asks again for
    what is missing.

    Args:
        folder: Where the files go; it is created.
        ids: Label table with the columns ``Id`` and ``Target``.
        base: Address below which the images lie.
        politeness: How the server is treated.

    Raises:
        HpaError: If the label table is refused, an Id isn't one of HPAv18, `base` is no web
            address, the folder holds other samples, or the server can't be reached.
    """
    folder = paths.expanded(folder).absolute()
    if not re.match(r"https?://[^/]", base):
        raise HpaError(f"base is {base!r}.", f"Give a web address such as {ATLAS_IMAGES}.")
    table = label_tables.read(paths.expanded(ids))
    addresses = [_addresses(sample_id, base, ids) for sample_id in table.ids]
    _refuse_other_samples(folder / "train.csv", table.ids)

    def wanted() -> Iterator[tuple[str, Path]]:
        for sample_id, four in zip(table.ids, addresses, strict=True):
            for channel, address in four.items():
                yield address, _file(folder, sample_id, channel)

    report = downloads.download(
        wanted(), _check_image, total=len(table.ids) * len(CHANNELS), politeness=politeness
    )
    missing = [
        (sample_id, channel, report.failed[path])
        for sample_id in table.ids
        for channel in CHANNELS
        if (path := _file(folder, sample_id, channel)) in report.failed
    ]
    incomplete = {sample_id for sample_id, _, _ in missing}
    rows = [
        f"{sample_id},{labels.format_target(label_set)}"
        for sample_id, label_set in zip(table.ids, table.label_sets, strict=True)
        if sample_id not in incomplete
    ]
    if rows:
        files.write_text(folder / "train.csv", "\n".join(["Id,Target", *rows]) + "\n")
    columns = ["Id", "channel", "reason"]
    return AtlasReport(
        len(rows), report.written, report.present, pd.DataFrame(missing, columns=columns)
    )


def _kaggle_client() -> Any:
    """Kaggle's client, with credentials."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):  # its import prints a help text of its own
            module = importlib.import_module("kaggle.api.kaggle_api_extended")
    except ImportError as error:
        raise HpaError(
            f"Kaggle's client isn't installed ({error}).",
            f"Install it: pip install kaggle. {_CREDENTIALS}",
        ) from error
    client = module.KaggleApi()
    with _kaggle_errors(), contextlib.redirect_stdout(shown):
        client.authenticate()
    return client


@contextlib.contextmanager
def _kaggle_errors() -> Iterator[None]:
    """Turn what Kaggle's client raises into errors for users."""
    try:
        yield
    except SystemExit as error:  # how the client says that there are no credentials
        raise HpaError("Kaggle's client finds no valid credentials.", _CREDENTIALS) from error
    except (OSError, ValueError) as error:  # among them all errors of its HTTP library
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == _UNAUTHORIZED:
            raise HpaError("Kaggle refuses the credentials (401).", _CREDENTIALS) from error
        if status == _FORBIDDEN:
            raise HpaError(
                f"Kaggle refuses the files of {COMPETITION} (403).",
                f"Accept the competition's rules at {_RULES} with the account of the credentials.",
            ) from error
        raise HpaError(
            f"The download from Kaggle failed: {error}",
            "Check the network; the same command goes on where it stopped.",
        ) from error


def _addresses(sample_id: str, base: str, table: Path) -> dict[str, str]:
    match = _ATLAS_ID.fullmatch(sample_id)
    if match is None:
        raise HpaError(
            f"Label table {table}: Id {sample_id!r} isn't one of HPAv18.",
            "These begin with the antibody's number, as 11088_89_B5_1.",
        )
    antibody, field = match.groups()
    return {channel: f"{base.rstrip('/')}/{antibody}/{field}_{channel}.jpg" for channel in CHANNELS}


def _file(folder: Path, sample_id: str, channel: str) -> Path:
    return folder / "train" / f"{sample_id}_{channel}.jpg"


def _check_image(path: Path) -> None:
    image_files.inspect(path)


def _refuse_other_samples(table: Path, wanted: tuple[str, ...]) -> None:
    if not table.exists():
        return
    others = sorted(set(label_tables.read(table).ids) - set(wanted))
    if others:
        raise HpaError(
            f"{table} holds samples that aren't asked for, such as {others[0]} "
            f"({len(others):,} in all).",
            "Name another folder.",
        )
