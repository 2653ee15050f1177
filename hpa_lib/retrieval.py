"""Find the samples nearest to some others among many embeddings, by cosine similarity.

Up to `EXACT_UP_TO` samples all are compared. Among more, Faiss looks into an inverted file
(Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, section 4):
k-means sorts embeddings into lists, and only the lists with the centres nearest to a query are
compared with it. Vectors are kept in half precision. It was taken for its index, which the same
embeddings give again on the same machine, and which is made several times faster than a graph of
neighbours.

An index is made once and kept beside the file of embeddings.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from hpa_lib import files
from hpa_lib.embedding_store import EmbeddingStore
from hpa_lib.errors import HpaError, shown

EXACT_UP_TO = 100_000
"""Samples that are all compared with a query: reading them takes less than making an index."""

PROBES = 64
"""Lists that are compared with a query."""

_ROWS_A_LIST = 40
"""Rows for each list that k-means learns from; Faiss warns below 39."""


@dataclass(frozen=True)
class Found:
    """What is nearest to some queries, nearest first.

    Attributes:
        rows: Row numbers in `EmbeddingStore.samples`, shape (queries, count), dtype int64; -1
            where there is nothing more.
        similarity: Cosine similarities, same shape, from -1 to 1, dtype float32.
    """

    rows: np.ndarray
    similarity: np.ndarray


def nearest(
    store: EmbeddingStore,
    run: str,
    queries: np.ndarray,
    count: int,
    leave_out: np.ndarray | None = None,
) -> Found:
    """The samples of a run whose embeddings are nearest to some others of the same network.

    Args:
        store: File of embeddings.
        run: Name of the run.
        queries: Embeddings, shape (queries, features).
        count: Samples wanted for each query; fewer where there are no more.
        leave_out: A row number for each query that isn't wanted, such as its own.

    Raises:
        HpaError: If the file is damaged.
    """
    more = count + (leave_out is not None)
    if store.count(run) <= EXACT_UP_TO:
        found = exactly(store.blocks(run), queries, more)
    else:
        found = by_index(open_index(store, run), queries, more)
    if leave_out is None:
        return found
    order = np.argsort(found.rows == leave_out[:, None], axis=1, kind="stable")[:, :count]
    rows, similarity = (
        np.take_along_axis(values, order, axis=1) for values in (found.rows, found.similarity)
    )
    return Found(np.where(rows == leave_out[:, None], -1, rows), similarity)


def rows_of(samples: pd.DataFrame, ids: Sequence[str], path: Path) -> np.ndarray:
    """Row numbers of some Ids, ascending; an Id in several datasets has several.

    Args:
        samples: See `EmbeddingStore.samples`.
        ids: Ids, at least one.
        path: The file, for messages.

    Raises:
        HpaError: If an Id isn't there.
    """
    known = samples["Id"].isin(ids).to_numpy()
    missing = set(ids) - set(samples["Id"][known])
    if missing:
        raise HpaError(
            f"{path} has no embedding of the Id {shown(min(missing))}.",
            "Name Ids of the folder that was embedded, or search by --images.",
        )
    return np.flatnonzero(known)


def table(samples: pd.DataFrame, queries: Sequence[str], found: Found) -> pd.DataFrame:
    """Neighbours as rows, columns query, rank (from 1), Id, similarity, part and fingerprint.

    Args:
        samples: See `EmbeddingStore.samples`.
        queries: What to call each query.
        found: See `nearest`.
    """
    query, place = np.nonzero(found.rows >= 0)
    rows = samples.iloc[found.rows[query, place]].reset_index(drop=True)
    head = {
        "query": np.array(queries, dtype=object)[query],
        "rank": place + 1,
        "Id": rows["Id"],
        "similarity": found.similarity[query, place],
    }
    return pd.DataFrame(head).join(rows[["part", "fingerprint"]])


def exactly(blocks: Iterable[np.ndarray], queries: np.ndarray, count: int) -> Found:
    """Compare all embeddings with each query; see `nearest`.

    Args:
        blocks: Embeddings, some at a time; see `EmbeddingStore.blocks`.
        queries: As in `nearest`.
        count: As in `nearest`.
    """
    queries = unit(queries)
    rows = np.empty((len(queries), 0), np.int64)
    similarity = np.empty((len(queries), 0), np.float32)
    start = 0
    for block in blocks:
        new = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        rows = np.hstack([rows, new])
        similarity = np.hstack([similarity, queries @ unit(block).T])
        if rows.shape[1] > count:
            kept = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
            rows, similarity = (np.take_along_axis(a, kept, axis=1) for a in (rows, similarity))
        start += len(block)
    order = np.lexsort((rows, -similarity))
    return Found(
        np.take_along_axis(rows, order, axis=1), np.take_along_axis(similarity, order, axis=1)
    )


def by_index(index: faiss.Index, queries: np.ndarray, count: int) -> Found:
    """Look for each query in an index; see `nearest`."""
    similarity, rows = index.search(unit(queries), count)
    return Found(rows, similarity)


def open_index(store: EmbeddingStore, run: str) -> faiss.Index:
    """Open the index of a run, which is made if there is none yet.

    Indexes beside the file that belong to none of its present runs are removed.

    Raises:
        HpaError: If the file of embeddings is damaged, or the index can't be written or read.
    """
    path = index_path(store, run)
    if not path.is_file():
        index = build(store, run)
        try:
            with files.replacing(path) as temporary:
                faiss.write_index(index, str(temporary))
                _read(temporary)  # what the disk has no room for in the end, Faiss doesn't say
        except RuntimeError as error:
            raise HpaError(
                f"The index {path} can't be written ({error}).",
                "Free some space on its disk, then start the same again.",
            ) from error
        wanted = {index_path(store, name) for name in store.runs}
        for other in path.parent.glob(f"{store.path.stem}-{'[0-9a-f]' * 16}.faiss"):
            if other not in wanted:
                other.unlink()
    try:
        index = _read(path)
    except RuntimeError as error:
        raise HpaError(
            f"The index {path} can't be read ({error}).", "Remove the file: it is made anew."
        ) from error
    index.nprobe = PROBES
    return index


def _read(path: Path) -> faiss.Index:
    """Read an index; its lists stay on the disk until they are looked into, if that can be."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP if os.name == "posix" else 0)


def index_path(store: EmbeddingStore, run: str) -> Path:
    """Where the index of a run is kept; other embeddings have another place."""
    return store.path.with_name(f"{store.path.stem}-{store.digest(run)[:16]}.faiss")


def build(store: EmbeddingStore, run: str) -> faiss.Index:
    """Make an index of all embeddings of a run.

    It has as many lists as the square root of the number of samples.
    """
    samples = store.count(run)
    lists = max(1, round(samples**0.5))
    learned = np.linspace(0, samples - 1, min(samples, _ROWS_A_LIST * lists)).astype(np.int64)
    kind = f"IVF{lists},SQfp16"
    index = faiss.index_factory(store.features, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(unit(store.vectors(run, learned)))
    for block in store.blocks(run):
        index.add(unit(block))
    index.nprobe = PROBES
    return index


def unit(vectors: np.ndarray) -> np.ndarray:
    """Embeddings of unit length, dtype float32; one of length 0 stays as it is."""
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
