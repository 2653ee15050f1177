"""Where things live on disk."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpa_lib.errors import HpaError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout that holds ``notebooks/`` and ``params/``."""

NOTEBOOKS = PROJECT_ROOT / "notebooks"
PRESETS = PROJECT_ROOT / "params"
SWEEPS = PRESETS / "sweeps"

PIPELINE_NOTEBOOKS = ("1_explore", "2_train_resnet", "3_train_vgg", "4_compare")
"""The notebooks that ``make run`` executes, in their order."""

NOTEBOOK_NAMES = (*PIPELINE_NOTEBOOKS, "5_sweep")
"""All notebooks; the last is executed by ``make sweep``."""

KAGGLE_WORKING = Path("/kaggle/working")
"""Where a Kaggle notebook can write; its inputs are read-only."""


def writable_root() -> Path:
    """Where ``data``, ``runs`` and ``reports`` are made.

    The checkout, or where that is read-only, the folder that Kaggle keeps of a session, or the
    current folder.
    """
    candidates = (PROJECT_ROOT, KAGGLE_WORKING)
    return next((folder for folder in candidates if os.access(folder, os.W_OK)), Path.cwd())


def data_folder() -> Path:
    """Where synthetic datasets and decoded caches are written.

    The folder ``data`` of `writable_root`, or the one named by the environment variable
    ``HPA_DATA``.
    """
    return _folder("data")


@contextmanager
def writing_data() -> Iterator[None]:
    """Surround whatever writes below `data_folder`: its failures become an error for users.

    Raises:
        HpaError: For an `OSError` in the block: the folder can't be made or written, or the
            disk is full.
    """
    try:
        yield
    except OSError as error:
        raise HpaError(
            f"The data folder {data_folder()} can't be written ({error}).",
            "Mend that, or name another folder in the environment variable HPA_DATA.",
        ) from error


def require_writable(folder: Path, variable: str) -> None:
    """Refuse a folder that can't be written, before anything is computed for it.

    Args:
        folder: The folder; it is made if need be.
        variable: Environment variable by which another one can be named.

    Raises:
        HpaError: If no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HpaError(
            f"The folder {folder} can't be written ({error.strerror}).",
            f"Mend that, or name another folder in the environment variable {variable}.",
        ) from error


def runs_folder() -> Path:
    """Where run folders are written: ``runs`` of `writable_root`, or ``$HPA_RUNS``."""
    return _folder("runs")


def reports_folder() -> Path:
    """Where report pages are written: ``reports`` of `writable_root`, or ``$HPA_REPORTS``."""
    return _folder("reports")


def expanded(path: Path | str) -> Path:
    """A path with ``~`` and ``~name`` replaced by the home folder that they stand for.

    Raises:
        HpaError: If this computer doesn't know that home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HpaError(
            f"Path {path} begins with a home folder that isn't known here ({error}).",
            "Give the whole path, from the root on.",
        ) from error


def portable(text: str) -> str:
    """A text with ``~`` for the user's home folder in each path, as it can be written down."""
    try:
        home = Path.home()
    except RuntimeError:
        return text
    if home == home.parent or str(home) not in text:  # a search for a fixed text is far faster
        return text
    return re.sub(rf"(?<![\w.~+=-]){re.escape(str(home))}(?![\w.-])", "~", text)


def keras_weights_folder() -> Path:
    """Where Keras looks for downloaded ImageNet weights: ``$KERAS_HOME/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _folder(name: str) -> Path:
    return Path(os.environ.get(f"HPA_{name.upper()}") or writable_root() / name).absolute()
