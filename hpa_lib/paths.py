"""Where things live on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpa_lib.errors import HpaError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout that holds ``notebooks/`` and ``params/``."""

NOTEBOOKS = PROJECT_ROOT / "notebooks"
PRESETS = PROJECT_ROOT / "params"

NOTEBOOK_NAMES = ("1_explore", "2_train_resnet", "3_train_vgg", "4_compare")


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


def runs_folder() -> Path:
    """Where run folders are written: ``runs`` of `writable_root`, or ``$HPA_RUNS``."""
    return _folder("runs")


def reports_folder() -> Path:
    """Where report pages are written: ``reports`` of `writable_root`, or ``$HPA_REPORTS``."""
    return _folder("reports")


def keras_weights_folder() -> Path:
    """Where Keras looks for downloaded ImageNet weights: ``$KERAS_HOME/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _folder(name: str) -> Path:
    return Path(os.environ.get(f"HPA_{name.upper()}") or writable_root() / name).absolute()
