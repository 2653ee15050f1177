"""Keep what a training needs to go on after it was interrupted, and take it up again.

The file holds all variables of the network (weights, statistics of batch normalization, the
states of random generators), of its optimizer and of averages of the weights, the history so
far, and the digest of the best weights, which lie in a file of their own. Each epoch's order and
augmentation follow from the seed and its number, so nothing else is needed.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpa_lib import files
from hpa_lib.backend import keras
from hpa_lib.errors import HpaError

_HISTORY, _BEST, _MODEL, _STAGE = "history", "best", "model", "stage"

_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, SyntaxError, MemoryError, OverflowError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged file raises; it has been tried with each of many bytes changed."""


def save(
    path: Path,
    model: keras.Model,
    stage_variables: Sequence[keras.Variable],
    history: list[dict[str, Any]],
    best: str,
) -> None:
    """Write the state of a network in training and its history, all or nothing.

    Args:
        path: The file.
        model: The network.
        stage_variables: Those of its optimizer, and whatever else training changes.
        history: One mapping an epoch; text and finite numbers.
        best: SHA-256 of the file with the weights of the best epoch.
    """
    variables = _named(_MODEL, model.variables) | _named(_STAGE, stage_variables)
    arrays = {name: variable.numpy() for name, variable in variables.items()}
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream, **arrays, **{_HISTORY: _as_bytes(json.dumps(history)), _BEST: _as_bytes(best)}
        )


def read_history(path: Path) -> list[dict[str, Any]]:
    """The history in a state file; empty where there is no file.

    Raises:
        HpaError: If the file can't be read.
    """
    return json.loads(_read(path, _HISTORY) or "[]")


def read_best(path: Path) -> str:
    """SHA-256 of the best weights as a state file tells it; empty where there is no file.

    Raises:
        HpaError: If the file can't be read.
    """
    return _read(path, _BEST)


def _as_bytes(text: str) -> np.ndarray:
    """Text as numbers: NumPy's own texts take four bytes for each character."""
    return np.frombuffer(text.encode(), np.uint8)


def _read(path: Path, name: str) -> str:
    if not path.is_file():
        return ""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored[name].tobytes().decode()
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def load(path: Path, model: keras.Model, stage_variables: Sequence[keras.Variable] = ()) -> None:
    """Give a network the variables of a state file.

    Args:
        path: A file that `save` wrote for the same network.
        model: The network.
        stage_variables: As in `save`, to set them too.

    Raises:
        HpaError: If the file can't be read or holds another network.
    """
    wanted = _named(_MODEL, model.variables) | _named(_STAGE, stage_variables)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in wanted}
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    for name, variable in wanted.items():
        if arrays[name].shape != tuple(variable.shape):
            raise _damaged(path, f"{name} has the shape {arrays[name].shape}")
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def _named(prefix: str, variables: Sequence[keras.Variable]) -> dict[str, keras.Variable]:
    """Variables by a name that is the same in every process."""
    return {f"{prefix}-{number}": variable for number, variable in enumerate(variables)}


def _damaged(path: Path, reason: Any) -> HpaError:
    return HpaError(
        f"The state of the interrupted training, {path}, can't be used ({reason}).",
        "Remove the file to train from the beginning.",
    )
