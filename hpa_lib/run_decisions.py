"""What finished training runs decided for the samples of one dataset.

Read from the run folders without TensorFlow; `trained_runs` also brings the network back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import files, metrics, paths, predictions, run_digests, runs
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.labels import CLASS_NAMES


@dataclass(frozen=True)
class RunDecisions:
    """Probabilities and labels that one run gives to samples of its dataset.

    Attributes:
        run: Name of the run.
        backbone: Name of its network's backbone.
        probability: Shape (samples of the dataset, 28), float32; NaN in rows that it didn't
            predict, such as those that it was trained on.
        decisions: Labels by the run's thresholds, same shape, uint8; 0 in such rows.
        thresholds: Decision threshold of each class, shape (28,).
        split: Fingerprint of the split that it was trained on.
    """

    run: str
    backbone: str
    probability: np.ndarray
    decisions: np.ndarray
    thresholds: np.ndarray
    split: str

    @property
    def predicted(self) -> np.ndarray:
        """Whether the run predicted each sample of the dataset, shape (samples,), bool."""
        return ~np.isnan(self.probability[:, 0])

    def table(self, dataset: Dataset, row: int, others: int = 3) -> pd.DataFrame:
        """Truth and prediction of one sample.

        Args:
            dataset: The dataset of the run.
            row: Row number of the sample, one that was predicted.
            others: Classes that come next in probability over threshold.

        Returns:
            The classes that it has or is given, then the others; within both the highest ratio
            of probability to threshold first. Index class; columns label and predicted (bool),
            probability, threshold.
        """
        table = pd.DataFrame(
            {
                "label": dataset.multi_hot[row] == 1,
                "predicted": self.decisions[row] == 1,
                "probability": self.probability[row],
                "threshold": self.thresholds,
            },
            index=pd.Index(CLASS_NAMES, name="class"),
        )
        # A threshold of 0 gives every label; any small number puts it first.
        ratio = table["probability"] / table["threshold"].clip(lower=1e-9)
        table = table.iloc[np.argsort(-ratio.to_numpy(), kind="stable")]
        either = table["label"] | table["predicted"]
        return pd.concat([table[either], table[~either].head(others)])


def backbones(dataset: Dataset) -> dict[str, str]:
    """Backbones of the finished training runs of a dataset by the runs' names, newest first."""
    found = sorted(runs.finished(), key=lambda manifest: manifest["finished"], reverse=True)
    return {
        manifest["run"]: manifest["parameters"]["backbone"]
        for manifest in found
        if _dataset_of(manifest) == dataset.fingerprint
        and "backbone" in manifest["parameters"]
        and (paths.runs_folder() / manifest["run"] / predictions.FILE).is_file()
    }


def read(run: str, dataset: Dataset) -> RunDecisions:
    """Read what a finished training run decided.

    Args:
        run: Name of the run.
        dataset: The dataset that it was trained on.

    Raises:
        HpaError: If there is no such run of this dataset, or its files are damaged.
    """
    known = backbones(dataset)
    if run not in known:
        raise HpaError(
            f"There is no finished training run {run!r} of {dataset.folder} in "
            f"{paths.runs_folder()}.",
            f"Choose one of {', '.join(known)}." if known else "Run a training notebook first.",
        )
    folder = paths.runs_folder() / run
    table = predictions.read(run_digests.checked(folder / predictions.FILE)).drop_duplicates("Id")
    try:
        results = files.read_json(run_digests.checked(folder / runs.METRICS))
        thresholds = np.array(results["thresholds"], dtype=np.float64)
        never_empty, split = results["never_empty"], results["split"]
    except (OSError, ValueError, KeyError) as error:
        raise HpaError(
            f"{folder / runs.METRICS} can't be read ({type(error).__name__}: {error}).",
            "Train the run again, or remove its folder.",
        ) from error
    rows = pd.Index(dataset.ids).get_indexer(table["Id"])
    if (rows < 0).any():
        unknown = table["Id"].to_numpy()[rows < 0][0]
        raise HpaError(
            f"{folder / predictions.FILE} holds the Id {unknown!r}, which {dataset.folder} lacks.",
            "Train the run again, or remove its folder.",
        )
    given = table[list(CLASS_NAMES)].to_numpy(np.float32)
    probability = np.full((len(dataset), len(CLASS_NAMES)), np.nan, np.float32)
    decisions = np.zeros(probability.shape, np.uint8)
    probability[rows] = given
    decisions[rows] = metrics.decide(given, thresholds, never_empty)
    return RunDecisions(run, known[run], probability, decisions, thresholds, split)


def _dataset_of(manifest: dict[str, Any]) -> str | None:
    return (manifest["dataset"] or {}).get("fingerprint")
