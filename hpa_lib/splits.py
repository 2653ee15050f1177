"""Divide a dataset into parts with one purpose each.

* training: the weights are fitted here
* validation: the checkpoint is chosen here
* threshold: decision thresholds are tuned here
* report: every reported figure comes from here, and nothing is chosen here

The honest split keeps the four apart and stratifies over all labels. The reference study's
split is kept beside it as it was printed, to show what it does.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from sklearn.model_selection import train_test_split

from hpa_lib import files, labels
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError

PARTS: tuple[str, ...] = ("training", "validation", "threshold", "report")

PROTOCOLS: tuple[str, ...] = ("stratified", "study")
"""Names of the splits: the honest one and the reference study's."""

STUDY_TEST_SIZE = 0.2
STUDY_RANDOM_STATE = 101

_SHOWN = 10
_FEW = 5

# Twentieths of the data that go to each part of the stratified split.
_TWENTIETHS = {"training": 12, "validation": 2, "threshold": 2, "report": 4}


@dataclass(frozen=True)
class Split:
    """Row numbers of each part.

    Attributes:
        protocol: ``"stratified"`` or ``"study"``.
        parts: Row numbers into the dataset, ascending, by the names of `PARTS`. A part may be
            empty: the study has no threshold part.
        dataset_fingerprint: Fingerprint of the dataset that was divided.
    """

    protocol: str
    parts: dict[str, np.ndarray]
    dataset_fingerprint: str

    @property
    def evaluation_parts(self) -> dict[str, np.ndarray]:
        """Parts that share no row with training, and the rows shown one by one as ``"shown"``.

        Shown are ten rows: of the report part, or under the study's protocol of the whole
        table, as the study did although it may have trained on them.
        """
        training = self.parts["training"]
        apart = {
            name: rows
            for name, rows in self.parts.items()
            if name != "training" and len(rows) and not np.isin(rows, training).any()
        }
        everything = np.unique(np.concatenate(list(self.parts.values())))
        shown = everything if self.protocol == "study" else self.parts["report"]
        return {**apart, "shown": shown[:_SHOWN]}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over protocol, dataset and rows of all parts."""
        rows = {name: part.tolist() for name, part in self.parts.items()}
        return files.digest_json([self.protocol, self.dataset_fingerprint, rows])

    def table(self, dataset: Dataset) -> pd.DataFrame:
        """One row for each Id and part, columns Id, Target and part."""
        targets = [labels.format_target(indices) for indices in dataset.label_sets]
        rows = [
            (dataset.ids[row], targets[row], name)
            for name, part in self.parts.items()
            for row in part
        ]
        return pd.DataFrame(rows, columns=["Id", "Target", "part"])

    def class_counts(self, dataset: Dataset) -> pd.DataFrame:
        """Samples of each class in each part; index is the class name, columns are the parts."""
        multi_hot = dataset.multi_hot
        counts = {name: multi_hot[part].sum(axis=0) for name, part in self.parts.items()}
        return pd.DataFrame(counts, index=pd.Index(labels.CLASS_NAMES, name="class"), dtype=int)

    def sizes(self) -> pd.DataFrame:
        """Samples of each part, and how many of them are also training rows."""
        training = self.parts["training"]
        return pd.DataFrame(
            {
                "samples": {name: len(part) for name, part in self.parts.items()},
                "also in training": {
                    name: int(np.isin(part, training).sum()) if name != "training" else 0
                    for name, part in self.parts.items()
                },
            }
        )


def study_split_as_printed(
    ids: pd.Series, targets: pd.Series
) -> tuple[pd.Series, pd.Series, pd.Series, pd.Series]:
    """The reference study's split, word for word.

    scikit-learn returns (training ids, held-out ids, training targets, held-out targets). The
    study unpacks them as ``X_train, y_train, X_test, y_test``, so that its ``X_test`` holds the
    targets of the *training* rows, and the held-out rows are never used.

    Args:
        ids: Column ``Id`` of the label table.
        targets: Column ``Target`` of the label table.

    Returns:
        ``X_train, y_train, X_test, y_test`` under the study's names.

    Source: Y. Han, "Human Protein Atlas Image Classification" (2020), cell 5.
    """
    X_train, y_train, X_test, y_test = train_test_split(  # noqa: N806
        ids, targets, random_state=STUDY_RANDOM_STATE, test_size=STUDY_TEST_SIZE, shuffle=True
    )
    return X_train, y_train, X_test, y_test


def study_split(dataset: Dataset) -> Split:
    """The study's split with its flaw, plus the rows that it forgot as the report part.

    Training and validation are the same rows, as in the study. The 20 % that it held out and
    never used become the report part, so that the study's networks can be measured honestly.
    """
    if len(dataset) < 2:
        raise HpaError(f"Dataset {dataset.name} has {len(dataset)} sample.", "Add samples.")
    table = dataset.table
    x_train, y_train, x_test, _ = study_split_as_printed(table["Id"], table["Target"])
    parts = {
        "training": np.sort(x_train.index.to_numpy()),
        "validation": np.sort(x_test.index.to_numpy()),
        "threshold": np.array([], dtype=np.int64),
        "report": np.sort(y_train.index.to_numpy()),
    }
    return Split("study", parts, dataset.fingerprint)


@dataclass(frozen=True)
class StudyFlaw:
    """What the study's split does to a dataset.

    Attributes:
        training_rows: Rows that the study trains on.
        validation_rows: Rows that it validates on.
        validation_rows_in_training: How many of these are also training rows.
        held_out_rows: Rows that were split off and never used.
        held_out_counts: Samples of each class among the held-out rows.
    """

    training_rows: int
    validation_rows: int
    validation_rows_in_training: int
    held_out_rows: int
    held_out_counts: np.ndarray

    def sentence(self) -> str:
        """The finding in words."""
        share = self.validation_rows_in_training / self.validation_rows
        rare = int((self.held_out_counts < _FEW).sum())
        return (
            f"Of the {self.validation_rows:,} rows that the study would validate on, "
            f"{self.validation_rows_in_training:,} ({share:.0%}) are training rows. "
            f"The {self.held_out_rows:,} rows that it split off are never used. Even these would "
            f"not do: as the split ignores labels, {rare} classes have fewer than {_FEW} samples "
            "among them."
        )

    def table(self) -> pd.DataFrame:
        """The counts as a table."""
        return pd.DataFrame(
            {
                "rows": [
                    self.training_rows,
                    self.validation_rows,
                    self.validation_rows_in_training,
                    self.held_out_rows,
                ]
            },
            index=["training", "validation", "validation rows in training", "held out, unused"],
        )


def study_flaw(dataset: Dataset) -> StudyFlaw:
    """Carry out the study's split as printed and count what it does."""
    parts = study_split(dataset).parts
    return StudyFlaw(
        training_rows=len(parts["training"]),
        validation_rows=len(parts["validation"]),
        validation_rows_in_training=int(np.isin(parts["validation"], parts["training"]).sum()),
        held_out_rows=len(parts["report"]),
        held_out_counts=dataset.multi_hot[parts["report"]].sum(axis=0, dtype=int),
    )


def stratified_split(dataset: Dataset, seed: int = 0) -> Split:
    """Four disjoint parts in which each class has its share, as far as its count allows.

    The data is dealt into twenty label-stratified folds, which are then joined: 60 % training,
    10 % validation, 10 % threshold, 20 % report.

    Args:
        dataset: At least 20 samples.
        seed: The same seed gives the same parts.

    Raises:
        HpaError: If there are fewer than 20 samples.

    Source: Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (2011),
    as implemented by iterative-stratification.
    """
    folds = sum(_TWENTIETHS.values())
    if len(dataset) < folds:
        raise HpaError(
            f"Dataset {dataset.name} has {len(dataset)} samples; four parts need at least {folds}.",
            "Add samples, or set synthetic_samples higher.",
        )
    dealer = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes with fewer samples than folds are expected
        dealt = [held_out for _, held_out in dealer.split(dataset.multi_hot, dataset.multi_hot)]
    parts, start = {}, 0
    for name, count in _TWENTIETHS.items():
        parts[name] = np.sort(np.concatenate(dealt[start : start + count]))
        start += count
    return Split("stratified", parts, dataset.fingerprint)


def split(dataset: Dataset, protocol: str, seed: int = 0) -> Split:
    """Divide a dataset by the named protocol; the study's ignores the seed."""
    if protocol == "study":
        return study_split(dataset)
    return stratified_split(dataset, seed)
