"""Which samples have a class, lie in a part of the split, and were predicted wrongly or well."""

from dataclasses import dataclass

import numpy as np

from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.run_decisions import RunDecisions
from hpa_lib.splits import Split

ANY, RIGHT, MISSED, FALSE = "any", "right", "missed", "false"

OUTCOMES: dict[str, str] = {
    ANY: "whatever was predicted",
    RIGHT: "exactly right",
    MISSED: "something missed",
    FALSE: "something falsely given",
}
"""Outcomes of a prediction that samples are chosen by, in words."""


@dataclass(frozen=True)
class Selection:
    """Samples that fit.

    Attributes:
        rows: Their row numbers, ascending.
        unpredicted: Samples of that class and part that the run didn't predict; 0 without a run.
    """

    rows: np.ndarray
    unpredicted: int


def select(
    dataset: Dataset,
    division: Split,
    class_name: str | None = None,
    part: str | None = None,
    decided: RunDecisions | None = None,
    outcome: str = ANY,
) -> Selection:
    """Choose samples by class, part of the split and outcome of a prediction.

    Args:
        dataset: The samples.
        division: Their split.
        class_name: A name of `labels.CLASS_NAMES`. Without an outcome: samples that have the
            class. With one: samples that have it and are given it (`RIGHT`), that have it and
            aren't (`MISSED`), or that are given it and don't have it (`FALSE`).
        part: A part of the split; None for the whole dataset.
        decided: What a run decided; needed for an outcome.
        outcome: A key of `OUTCOMES`. Without a class: samples whose labels are given exactly,
            of which a label is missed, or which are given a label that they don't have.

    Raises:
        HpaError: If a class, part or outcome is unknown, or an outcome is given without a run.
    """
    _require("class_name", class_name, (None, *CLASS_NAMES))
    _require("part", part, (None, *division.parts))
    _require("outcome", outcome, tuple(OUTCOMES))
    if decided is None and outcome != ANY:
        raise HpaError(
            f"outcome is {outcome!r}, and no run is chosen.", "Choose a finished training run."
        )
    columns = slice(None) if class_name is None else [CLASS_NAMES.index(class_name)]
    truth = dataset.multi_hot[:, columns] == 1
    inside = np.ones(len(dataset), dtype=bool)
    if part is not None:
        inside = np.isin(np.arange(len(dataset)), division.parts[part])
    of_class = inside if class_name is None else inside & truth[:, 0]
    if decided is None:
        return Selection(np.flatnonzero(of_class), 0)
    given, predicted = decided.decisions[:, columns] == 1, decided.predicted
    fits = {
        ANY: of_class,
        RIGHT: of_class & predicted & (truth == given).all(axis=1),
        MISSED: of_class & predicted & (truth & ~given).any(axis=1),
        FALSE: inside & predicted & (given & ~truth).any(axis=1),
    }[outcome]
    return Selection(np.flatnonzero(fits), int((of_class & ~predicted).sum()))


def _require(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        choices = ", ".join(repr(entry) for entry in known)
        raise HpaError(f"{name} is {value!r}.", f"Choose one of {choices}.")
