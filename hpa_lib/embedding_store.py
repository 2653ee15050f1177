"""Keep embeddings in a Parquet file, which any program that reads Parquet can open.

One row for each sample that a run's network has seen, with the columns

    Id            text
    fingerprint   text, the dataset's; see `dataset.Dataset`
    run           text, the name of the training run
    part          text, the part of the run's split; null for samples of other datasets
    embedding     list of float32, as long in every row

A file takes up several runs, and several datasets of each. Embeddings of different runs have
nothing to do with each other even where they are equally long, so that they are read run by run.
What a file holds stands in its metadata too, with digests of that and of all that is read at once;
the checksums of Parquet's pages leave out where they lie and what their columns are called.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from hpa_lib import files
from hpa_lib.errors import HpaError, shown

_KEY = "hpa_embeddings"
_VECTOR = "embedding"
_NAMES = ["Id", "fingerprint", "run", "part"]
_ROWS = 4096
"""Rows of a row group: what is read at once, 8 MB of 512 features."""

_DAMAGED = (OSError, pa.ArrowException, LookupError, TypeError, ValueError, AttributeError)
"""What reading a damaged file raises."""

_REMEDY = "Name a file that `hpa embed` wrote, or write it again."


@dataclass(frozen=True)
class Embeddings:
    """What one network makes of the samples of one dataset.

    Attributes:
        run: Name of the training run.
        fingerprint: Fingerprint of the dataset.
        ids: Id of each sample.
        parts: Part of the run's split for each sample; None for one of another dataset.
        vectors: Embeddings, shape (samples, features), dtype float32.
    """

    run: str
    fingerprint: str
    ids: tuple[str, ...]
    parts: tuple[str | None, ...]
    vectors: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Embeddings that were written together.

    Attributes:
        run: Name of the training run.
        fingerprint: Fingerprint of the dataset.
        samples: Number of rows.
        digest: SHA-256 of Ids and embeddings.
    """

    run: str
    fingerprint: str
    samples: int
    digest: str


class EmbeddingStore:
    """A file of embeddings, opened.

    Args:
        path: Parquet file that `write` made.

    Attributes:
        path: The file.
        batches: What it holds, in the order of its rows.
        features: Length of each embedding.

    Raises:
        HpaError: If the file can't be read, or isn't one that `write` made.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(self.path, page_checksum_verification=True)
            held = json.loads(self._file.metadata.metadata[_KEY.encode()])
            if held.pop("sha256") != files.digest_json(held):
                raise ValueError("its metadata are damaged")
            self.batches = tuple(Batch(**entry) for entry in held["batches"])
            self._digests: list[dict[str, str]] = held["groups"]
            self.features = self._file.schema_arrow.field(_VECTOR).type.list_size
        except _DAMAGED as error:
            raise _unreadable(self.path, error) from error
        self._groups = self._groups_by_batch()

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs, in the order in which they were written."""
        return tuple(dict.fromkeys(batch.run for batch in self.batches))

    def run(self, name: str = "") -> str:
        """The run of this name, or the only one where none is named.

        Raises:
            HpaError: If there is no such run, or several and none is named.
        """
        if name in self.runs or (not name and len(self.runs) == 1):
            return name or self.runs[0]
        problem = f"has no embeddings of the run {name}" if name else "has several runs"
        raise HpaError(
            f"{self.path} {problem}.", f"Name one of its runs with --run: {', '.join(self.runs)}."
        )

    def count(self, run: str) -> int:
        """Number of samples of one run."""
        return sum(batch.samples for batch in self.batches if batch.run == run)

    def digest(self, run: str) -> str:
        """A digest of all embeddings of one run, as hexadecimal text."""
        return files.digest_json([b.digest for b in self.batches if b.run == run])

    def samples(self, run: str) -> pd.DataFrame:
        """Columns Id, fingerprint and part of one run's samples; row numbers count from 0.

        Raises:
            HpaError: If the file is damaged.
        """
        tables = [self._read(group, _NAMES) for group in self._groups_of(run)]
        return pa.concat_tables(tables).drop("run").to_pandas(categories=["fingerprint", "part"])

    def blocks(self, run: str) -> Iterator[np.ndarray]:
        """Embeddings of one run, a few thousand rows at a time, in the order of `samples`.

        Yields:
            Arrays of shape (rows, features), dtype float32, not to be written to.

        Raises:
            HpaError: If the file is damaged.
        """
        for group in self._groups_of(run):
            yield self._vectors_of(group)

    def vectors(self, run: str, rows: np.ndarray) -> np.ndarray:
        """Embeddings of some samples of one run.

        Args:
            run: Name of the run.
            rows: Row numbers in `samples`, ascending.

        Returns:
            Array of shape (rows, features), dtype float32.

        Raises:
            HpaError: If the file is damaged.
        """
        found = np.empty((len(rows), self.features), np.float32)
        start = 0
        for group in self._groups_of(run):
            end = start + self._file.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, [start, end])
            if first < last:
                found[first:last] = self._vectors_of(group)[rows[first:last] - start]
            start = end
        return found

    def tables(self) -> Iterator[pa.Table]:
        """All rows, a few thousand at a time, as Arrow tables."""
        for group in range(self._file.num_row_groups):
            yield self._read(group, [*_NAMES, _VECTOR])

    def _groups_of(self, run: str) -> list[int]:
        pairs = zip(self.batches, self._groups, strict=True)
        return [group for batch, groups in pairs if batch.run == run for group in groups]

    def _groups_by_batch(self) -> list[list[int]]:
        """Row groups of each batch, which begins with a row group of its own."""
        sizes = [
            self._file.metadata.row_group(group).num_rows
            for group in range(self._file.num_row_groups)
        ]
        ends = np.cumsum([batch.samples for batch in self.batches])
        owners = np.searchsorted(ends, np.cumsum(sizes))
        counted = np.bincount(owners, sizes, len(self.batches)).astype(int).tolist()
        if counted != [b.samples for b in self.batches] or len(sizes) != len(self._digests):
            raise _unreadable(self.path, "its metadata tell of other rows than it has")
        return [np.flatnonzero(owners == number).tolist() for number in range(len(ends))]

    def _vectors_of(self, group: int) -> np.ndarray:
        column = self._read(group, [_VECTOR]).column(0).combine_chunks()
        return column.flatten().to_numpy().reshape(-1, self.features)

    def _read(self, group: int, columns: list[str]) -> pa.Table:
        try:
            table = self._file.read_row_group(group, columns).select(columns)
            recorded = self._digests[group]
            if any(recorded[name] != digest for name, digest in _digests(table).items()):
                raise ValueError(f"its row group {group} is damaged")
        except _DAMAGED as error:
            raise _unreadable(self.path, error) from error
        return table


def require_room(path: Path, run: str, fingerprint: str) -> None:
    """Refuse a file that can't take up a run's embeddings of a dataset; none is there as well.

    Raises:
        HpaError: If the file has them already, or isn't one that `write` made.
    """
    if not path.exists():
        return
    if any((b.run, b.fingerprint) == (run, fingerprint) for b in EmbeddingStore(path).batches):
        raise HpaError(
            f"{path} has embeddings of this dataset by {run} already.",
            "Use them as they are, or name another file.",
        )


def write(path: Path, embeddings: Embeddings, append: bool = False) -> None:
    """Write embeddings, all or nothing.

    Args:
        path: Parquet file.
        embeddings: What it is to hold.
        append: Keep what the file holds already; it is copied, in little memory. Processes that
            append at the same time wait for each other. A file that isn't there is made.

    Raises:
        HpaError: If a number isn't finite, an Id occurs twice, or the file to append to can't be
            read, has the same run and dataset already, or embeddings of another length.
    """
    path = Path(path)
    _refuse_damaged(embeddings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        before = None
        if append and path.exists():
            require_room(path, embeddings.run, embeddings.fingerprint)
            before = EmbeddingStore(path)
            if before.features != embeddings.vectors.shape[1]:
                raise HpaError(
                    f"Embeddings of {embeddings.run} have {embeddings.vectors.shape[1]} features, "
                    f"those in {path} {before.features}.",
                    "Name another file.",
                )
        _write(path, embeddings, before)


def _write(path: Path, embeddings: Embeddings, before: EmbeddingStore | None) -> None:
    vectors = np.ascontiguousarray(embeddings.vectors, np.float32)
    names = "\n".join(embeddings.ids).encode()
    batch = Batch(
        embeddings.run,
        embeddings.fingerprint,
        len(vectors),
        files.digest_bytes(names, memoryview(vectors).cast("B")),
    )
    schema = _schema(vectors.shape[1])
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression="zstd", write_page_checksum=True,
            use_dictionary=["fingerprint", "run", "part"],
            use_byte_stream_split=[f"{_VECTOR}.list.element"],
        ) as writer,
    ):  # fmt: skip
        groups = []
        for table in before.tables() if before else ():
            writer.write_table(table)
            groups.append(_digests(table))
        for start in range(0, len(vectors), _ROWS):
            rows = slice(start, start + _ROWS)
            block = vectors[rows]
            columns = [
                pa.array(embeddings.ids[rows]),
                pa.array([embeddings.fingerprint] * len(block)),
                pa.array([embeddings.run] * len(block)),
                pa.array(embeddings.parts[rows], pa.string()),
                pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), vectors.shape[1]),
            ]
            table = pa.table(columns, schema=schema)
            writer.write_table(table)
            groups.append(_digests(table))
        batches = [asdict(entry) for entry in (*(before.batches if before else ()), batch)]
        held: dict[str, Any] = {"batches": batches, "groups": groups}
        held["sha256"] = files.digest_json(held)
        writer.add_key_value_metadata({_KEY: json.dumps(held)})


def _digests(table: pa.Table) -> dict[str, str]:
    """Digests of a row group: of its embeddings, and of what names its samples, if it has them."""
    found = {}
    if _NAMES[0] in table.column_names:
        each = [table.column(name).to_pylist() for name in ("Id", "part")]
        of_all = [table.column(name).unique().to_pylist() for name in ("fingerprint", "run")]
        found["names"] = files.digest_json([each, of_all])
    if _VECTOR in table.column_names:
        vectors = table.column(_VECTOR).combine_chunks().flatten().to_numpy()
        found["embeddings"] = files.digest_bytes(np.ascontiguousarray(vectors).data.cast("B"))
    return found


def _schema(features: int) -> pa.Schema:
    text = pa.string()
    return pa.schema(
        [
            pa.field("Id", text, nullable=False),
            pa.field("fingerprint", text, nullable=False),
            pa.field("run", text, nullable=False),
            pa.field("part", text),
            pa.field(_VECTOR, pa.list_(pa.float32(), features), nullable=False),
        ]
    )


def _refuse_damaged(embeddings: Embeddings) -> None:
    finite = np.isfinite(embeddings.vectors).all(axis=1)
    repeated = pd.Index(embeddings.ids).duplicated()
    for wrong, reason in ((~finite, "isn't finite"), (repeated, "occurs twice")):
        if wrong.any():
            raise HpaError(
                f"The embedding of {shown(embeddings.ids[int(wrong.argmax())])} by "
                f"{embeddings.run} {reason}.",
                "Look at the images with `hpa data check`, and at how the run's loss developed.",
            )


def _unreadable(path: Path, reason: object) -> HpaError:
    return HpaError(f"Embeddings {path} can't be read ({reason}).", _REMEDY)
