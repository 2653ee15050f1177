"""The 28 subcellular locations and the forms that a set of labels takes.

Three forms are used throughout the project:

* text, as in the column ``Target`` of the label table: ``"16 0"``;
* a tuple of class indices in ascending order: ``(0, 16)``;
* one row of a multi-hot array: 28 values, 1 where the class is present.

Source of names and order: the Kaggle competition "Human Protein Atlas Image Classification"
(2018), https://doi.org/10.1038/s41592-019-0658-6.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from hpa_lib.errors import HpaError, shown

CLASS_NAMES: tuple[str, ...] = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)
"""Class names; the position is the class index used in ``Target``."""

CLASS_COUNT: int = len(CLASS_NAMES)

TRAINING_SET_COUNTS: tuple[int, ...] = (
    12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537,
    1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11,
)  # fmt: skip
"""Samples of each class among the 31,072 of the Kaggle training set."""


_INDEX = re.compile("[0-9]{1,9}")


def parse_target(text: object) -> tuple[int, ...]:
    """Read one value of the column ``Target``.

    Args:
        text: Class indices separated by white space, in any order, such as ``"16 0"``. An
            empty text means that no class is present.

    Returns:
        The class indices in ascending order.

    Raises:
        HpaError: If an entry is no whole number, lies outside 0–27, or is repeated.
    """
    if not isinstance(text, str):
        raise HpaError(
            f"Target must be text with class indices, received {shown(text)}.",
            "Write the indices separated by spaces, for example '16 0'.",
        )
    indices = []
    for entry in text.split():
        if not (_INDEX.fullmatch(entry) and int(entry) < CLASS_COUNT):
            raise HpaError(
                f"Target {shown(text)} holds {shown(entry)}, which is no class index.",
                f"Class indices are whole numbers from 0 to {CLASS_COUNT - 1}.",
            )
        indices.append(int(entry))
    if len(set(indices)) != len(indices):
        raise HpaError(f"Target {shown(text)} names a class twice.", "Name each class once.")
    return tuple(sorted(indices))


def format_target(indices: Iterable[int]) -> str:
    """Write class indices as a value of the column ``Target``, in ascending order."""
    return " ".join(str(index) for index in sorted(indices))


def class_names(indices: Iterable[int]) -> str:
    """Write class indices as readable names, such as ``"Nucleoplasm, Cytosol"``."""
    return ", ".join(CLASS_NAMES[index] for index in sorted(indices)) or "(no class)"


def to_multi_hot(label_sets: Sequence[Iterable[int]]) -> np.ndarray:
    """Turn label sets into a multi-hot array.

    Args:
        label_sets: One iterable of class indices a sample.

    Returns:
        Array of shape (samples, 28), dtype uint8, values 0 and 1.
    """
    array = np.zeros((len(label_sets), CLASS_COUNT), dtype=np.uint8)
    for row, indices in enumerate(label_sets):
        array[row, list(indices)] = 1
    return array


def from_multi_hot(array: np.ndarray) -> list[tuple[int, ...]]:
    """Turn an array of shape (samples, 28) with zeros and ones back into label sets."""
    return [tuple(int(index) for index in np.flatnonzero(row)) for row in np.asarray(array)]
