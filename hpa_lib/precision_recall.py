"""Precision over recall of each class, for several networks.

A curve runs from the most probable sample down: each recall stands with the precision at the
highest threshold that reaches it. The area below these steps is the average precision of
`hpa_lib.metrics`; joining the points by straight lines would promise more than any threshold
gives (Davis and Goadrich, "The relationship between precision-recall and ROC curves", 2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from hpa_lib import metrics
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.trained_runs import TrainedRun


@dataclass(frozen=True)
class PrecisionRecall:
    """Curves of the classes that have a positive.

    Attributes:
        curves: Columns recall (ascending from 0) and precision by (class name, network).
        classes: By network, rows of `metrics.per_class` at the network's own thresholds.
        share: Share of samples that have each class, by class name: the precision of a network
            that can't tell them from the others.
    """

    curves: dict[tuple[str, str], pd.DataFrame]
    classes: dict[str, pd.DataFrame]
    share: pd.Series

    @property
    def table(self) -> pd.DataFrame:
        """Average precision of each network; index class, first columns positives and share."""
        tables = list(self.classes.values())
        precisions = {name: table["average_precision"] for name, table in self.classes.items()}
        head = {"positives": tables[0]["positives"], "share of samples": self.share}
        return pd.DataFrame(head | precisions)


def compare(trained: Sequence[TrainedRun], part: str = "report") -> PrecisionRecall:
    """Compute the curves of some runs of the same split.

    Args:
        trained: The runs.
        part: Name of the part.
    """
    truth, _ = trained[0].arrays(part)
    present = np.flatnonzero(truth.any(axis=0))
    names = [CLASS_NAMES[index] for index in present]
    curves, classes = {}, {}
    for run in trained:
        _, probability = run.arrays(part)
        classes[run.label] = metrics.per_class(truth, probability, run.thresholds()).loc[names]
        for index, name in zip(present, names, strict=True):
            curves[name, run.label] = curve(truth[:, index], probability[:, index])
    return PrecisionRecall(curves, classes, pd.Series(truth[:, present].mean(axis=0), names))


def curve(truth: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Precision over recall of one class.

    Args:
        truth: Whether each sample has the class, shape (samples,), values 0 and 1, one at least.
        probability: Its predicted probability, same shape.

    Returns:
        Columns recall and precision, one row a recall that can be reached, ascending. The first
        row repeats the second's precision at recall 0.
    """
    precision, recall, _ = precision_recall_curve(truth, probability, drop_intermediate=True)
    table = pd.DataFrame({"recall": recall, "precision": precision})[::-1].iloc[1:]
    # The first row of a recall is that of its highest threshold.
    steps = table[table["recall"] > 0].drop_duplicates("recall")
    start = steps.iloc[:1].assign(recall=0.0)
    return pd.concat([start, steps], ignore_index=True)
