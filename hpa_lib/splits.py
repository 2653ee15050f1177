"""Divide a dataset into parts with one purpose each.

* training: the weights are fitted here
* validation: the checkpoint is chosen here
* threshold: decision thresholds are tuned here
* report: every reported figure comes from here, and nothing is chosen here

The honest split keeps the four apart, stratifies over all labels, and leaves near-duplicates in
one part. The reference study's split is kept beside it as it was printed, to show what it does.
A split can be written to a file and read from there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from hpa_lib import csv_tables, files, labels, paths, stratification
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError, shown
from hpa_lib.near_duplicates import NearDuplicates
from hpa_lib.parameters import SPLIT_FILE_ENDING, fold_of

PARTS: tuple[str, ...] = ("training", "validation", "threshold", "report")

STUDY_TEST_SIZE = 0.2
STUDY_RANDOM_STATE = 101

_SHOWN = 10
_FEW = 5

_EXAMPLE = (
    "A split file has the columns Id and part, for example 'abc,training'; the parts are "
    f"{', '.join(PARTS)}, and only threshold may be left out."
)

_SEED_OF_FOLDS = 0
_LEAST_FOR_FOLDS = 40

# Twentieths of the data that go to each part of the stratified split.
_TWENTIETHS = {"training": 12, "validation": 2, "threshold": 2, "report": 4}


@dataclass(frozen=True)
class Split:
    """Row numbers of each part.

    Attributes:
        protocol: ``"stratified"`` or ``"study"``; ``"file"`` for a file that names neither.
        parts: Row numbers into the dataset, ascending, by the names of `PARTS`. A part may be
            empty: the study has no threshold part.
        dataset_fingerprint: Fingerprint of the dataset that was divided.
        kept_together: `NearDuplicates.digest` of the pairs that were kept in one part; empty
            where none were asked for.
    """

    protocol: str
    parts: dict[str, np.ndarray]
    dataset_fingerprint: str
    kept_together: str = ""

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

    def parts_of(self, row: int) -> str:
        """Names of the parts that hold a row, such as ``"validation"``, for reading."""
        names = [name for name, rows in self.parts.items() if np.isin(row, rows)]
        return " and ".join(names) or "(no part)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over protocol, dataset, pairs kept together and rows of all parts."""
        rows = {name: part.tolist() for name, part in self.parts.items()}
        return files.digest_json(
            [self.protocol, self.dataset_fingerprint, self.kept_together, rows]
        )

    def torn(self, near: NearDuplicates) -> int:
        """Number of pairs of near-duplicates that don't lie in the same part or parts."""
        inside = np.zeros((near.rows.max(initial=-1) + 1, len(self.parts)), dtype=bool)
        for column, part in enumerate(self.parts.values()):
            inside[part[part < len(inside)], column] = True
        first, second = near.rows.T
        return int((inside[first] != inside[second]).any(axis=1).sum())

    def near_duplicates_sentence(self, near: NearDuplicates) -> str:
        """Whether near-duplicates lie on one side, in words."""
        torn = self.torn(near)
        if torn:
            return (
                f"{torn:,} of {len(near):,} pairs of near-duplicates lie in different parts: "
                "figures on held-out samples flatter the network."
            )
        if len(near):
            return "Both samples of each pair of near-duplicates lie in the same part."
        return "There are no near-duplicates to keep in one part."

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


def stratified_split(dataset: Dataset, seed: int = 0, near: NearDuplicates | None = None) -> Split:
    """Four disjoint parts in which each class has its share, as far as its count allows.

    60 % are for training, 10 % for validation, 10 % for thresholds and 20 % for the report; see
    `stratification.deal`. Each part gets a sample of every class that has at least four.

    Args:
        dataset: At least 20 samples, or groups of near-duplicates.
        seed: The same seed gives the same parts.
        near: Near-duplicates within the dataset; samples that a chain of them links are dealt as
            one.

    Raises:
        HpaError: If there are fewer than 20 samples or groups.
    """
    unit, counts = _units(dataset, near, sum(_TWENTIETHS.values()))
    part = stratification.deal(counts, tuple(_TWENTIETHS.values()), seed)[unit]
    parts = {name: np.flatnonzero(part == number) for number, name in enumerate(_TWENTIETHS)}
    return Split("stratified", parts, dataset.fingerprint, "" if near is None else near.digest)


def fold_split(
    dataset: Dataset, fold: int, folds: int, near: NearDuplicates | None = None
) -> Split:
    """The parts of one fold of a cross-validation: the fold is the report part.

    What lies outside of it is divided as by `stratified_split`: six parts for training, one for
    validation, one for thresholds. All of it belongs to the dataset, whatever the seed of a
    training: the reports of all folds cover each sample exactly once, and networks trained on one
    fold with several seeds can be averaged, since none has seen the threshold part of another.

    Args:
        dataset: At least 40 samples, or groups of near-duplicates.
        fold: From 1 to `folds`.
        folds: At least 2.
        near: As for `stratified_split`.

    Raises:
        HpaError: If there are fewer samples or groups.
    """
    unit, counts = _units(dataset, near, _LEAST_FOR_FOLDS)
    reported = stratification.deal(counts, (1,) * folds, _SEED_OF_FOLDS) == fold - 1
    others = np.flatnonzero(~reported)
    shares = {name: share for name, share in _TWENTIETHS.items() if name != "report"}
    part = np.full(len(counts), len(shares))
    part[others] = stratification.deal(counts[others], tuple(shares.values()), _SEED_OF_FOLDS)
    names = (*shares, "report")
    parts = {name: np.flatnonzero(part[unit] == number) for number, name in enumerate(names)}
    return Split("stratified", parts, dataset.fingerprint, "" if near is None else near.digest)


def _units(
    dataset: Dataset, near: NearDuplicates | None, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """What is dealt as one: the unit of each sample, and the counts of each unit.

    Args:
        dataset: The samples.
        near: Near-duplicates that make one unit.
        least: Units that it takes at least.

    Returns:
        Shape (samples,), and shape (units, 29): samples of each class, and samples in all.

    Raises:
        HpaError: If there are fewer units.
    """
    samples = len(dataset)
    groups = np.arange(samples) if near is None else near.groups(samples)
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < least:
        grouped = f" in {len(names)} groups of near-duplicates" if len(names) < samples else ""
        raise HpaError(
            f"Dataset {dataset.name} has {samples} samples{grouped}; the split needs at least "
            f"{least}.",
            "Add samples, or set synthetic_samples higher.",
        )
    counts = np.zeros((len(names), len(labels.CLASS_NAMES) + 1), dtype=np.int64)
    columns = np.column_stack((dataset.multi_hot, np.ones(samples, dtype=np.int64)))
    np.add.at(counts, unit, columns)
    return unit, counts


def write(path: Path, division: Split, dataset: Dataset) -> None:
    """Write a split as CSV, all or nothing, so that `read` gives it back.

    The first lines, which begin with ``#``, hold the dataset's fingerprint, the protocol and the
    digest of the pairs kept together; then comes `Split.table`. pandas reads it with
    ``read_csv(path, comment="#")``.
    """
    head = {
        "dataset": division.dataset_fingerprint,
        "protocol": division.protocol,
        "kept together": division.kept_together,
    }
    lines = [f"# {name}: {value}".rstrip() for name, value in head.items()]
    table = division.table(dataset).to_csv(index=False, lineterminator="\n")
    files.write_text(path, "\n".join(lines) + "\n" + table)


def read(path: Path, dataset: Dataset) -> Split:
    """Read a split from a CSV file.

    The file has the columns ``Id`` and ``part``, one row for each sample of the dataset, and
    before them the line ``# dataset: <fingerprint>``, as `write` makes it.

    Raises:
        HpaError: If the file can't be read, belongs to another dataset, or doesn't put every
            sample into exactly one known part, or leaves a part other than threshold empty.
    """
    path = paths.expanded(path)
    try:
        text = files.read_text(path, "utf-8-sig")
        table = csv_tables.parse(text)
    except (OSError, ValueError) as error:  # what pandas and UTF-8 raise are ValueErrors
        reason = getattr(error, "strerror", None) or error
        raise HpaError(
            f"Split file {path} (parameter split) can't be read ({reason}).", _EXAMPLE
        ) from error
    head = dict(
        line.lstrip("# ").split(": ", 1)
        for line in text.splitlines()
        if line.startswith("#") and ": " in line
    )
    found = head.get("dataset", "missing")
    if found != dataset.fingerprint:
        raise HpaError(
            f"Split file {path} (parameter split) belongs to the dataset {found}; dataset "
            f"{dataset.name} is {dataset.fingerprint}.",
            "Give the split of this dataset, or the dataset of this split. A split of your own "
            f"begins with the line '# dataset: {dataset.fingerprint}'.",
        )
    rows = _rows_of(path, table, dataset)
    parts = {
        name: np.sort(rows[(table["part"] == name).to_numpy()]).astype(np.int64) for name in PARTS
    }
    empty = [name for name in PARTS if name != "threshold" and not len(parts[name])]
    if empty:
        raise HpaError(
            f"Split file {path} (parameter split) leaves part {empty[0]} empty.", _EXAMPLE
        )
    return Split(
        head.get("protocol", "file"), parts, dataset.fingerprint, head.get("kept together", "")
    )


def _rows_of(path: Path, table: pd.DataFrame, dataset: Dataset) -> np.ndarray:
    """Row number of each line of a split file, checked to be a division of the dataset."""
    place = f"Split file {path} (parameter split)"
    missing = [name for name in ("Id", "part") if name not in table.columns]
    if missing:
        raise HpaError(f"{place} lacks the column {missing[0]}.", _EXAMPLE)
    unknown = table.loc[~table["part"].isin(PARTS), "part"]
    if len(unknown):
        raise HpaError(f"{place} names the part {shown(unknown.iloc[0])}.", _EXAMPLE)
    repeated = table.loc[table["Id"].duplicated(keep=False)]
    if len(repeated):
        sample_id = repeated["Id"].iloc[0]
        parts = ", ".join(repeated.loc[repeated["Id"] == sample_id, "part"])
        raise HpaError(
            f"{place} gives Id {sample_id:.80} more than once ({parts:.80}; "
            f"{repeated['Id'].nunique():,} such Ids in all).",
            "Put each sample into one part. The study's split, whose parts overlap, is had by "
            "setting split to study.",
        )
    row_of = {sample_id: row for row, sample_id in enumerate(dataset.ids)}
    strange = [sample_id for sample_id in table["Id"] if sample_id not in row_of]
    if strange:
        raise HpaError(
            f"{place} names Id {strange[0]:.80}, which dataset {dataset.name} lacks "
            f"({len(strange):,} in all).",
            "Remove these rows.",
        )
    if len(table) < len(dataset):
        absent = next(sample_id for sample_id in dataset.ids if sample_id not in set(table["Id"]))
        raise HpaError(
            f"{place} says nothing of {len(dataset) - len(table):,} samples; the first is "
            f"{absent}.",
            "Put every sample of the dataset into a part.",
        )
    return np.array([row_of[sample_id] for sample_id in table["Id"]], dtype=np.int64)


def split(
    dataset: Dataset, protocol: str, seed: int = 0, near: NearDuplicates | None = None
) -> Split:
    """Divide a dataset as the parameter ``split`` says.

    Args:
        dataset: The samples to divide.
        protocol: ``"stratified"``, a fold such as ``"fold 2 of 5"``, ``"study"``, or the path of
            a split file.
        seed: For the stratified split.
        near: For the stratified split and a fold: near-duplicates to keep together.
    """
    if protocol.endswith(SPLIT_FILE_ENDING):
        return read(Path(protocol), dataset)
    if protocol == "study":
        return study_split(dataset)
    if fold := fold_of(protocol):
        return fold_split(dataset, *fold, near)
    return stratified_split(dataset, seed, near)
