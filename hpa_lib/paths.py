"""Where things live on disk."""

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout that holds ``notebooks/`` and ``params/``."""

NOTEBOOKS = PROJECT_ROOT / "notebooks"
PRESETS = PROJECT_ROOT / "params"

NOTEBOOK_NAMES = ("1_explore", "2_train_resnet", "3_train_vgg", "4_compare")


def data_folder() -> Path:
    """Where synthetic datasets and decoded caches are written.

    The folder ``data`` of the checkout, or the one named by the environment variable
    ``HPA_DATA``.
    """
    return Path(os.environ.get("HPA_DATA") or PROJECT_ROOT / "data").absolute()


def runs_folder() -> Path:
    """Where run folders are written: ``runs`` of the checkout, or ``$HPA_RUNS``."""
    return Path(os.environ.get("HPA_RUNS") or PROJECT_ROOT / "runs").absolute()


def reports_folder() -> Path:
    """Where report pages are written: ``reports`` of the checkout, or ``$HPA_REPORTS``."""
    return Path(os.environ.get("HPA_REPORTS") or PROJECT_ROOT / "reports").absolute()


def keras_weights_folder() -> Path:
    """Where Keras looks for downloaded ImageNet weights: ``$KERAS_HOME/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
