import faiss
import numpy as np
import pytest

from hpa_lib import embedding_store, neighbours, retrieval
from hpa_lib.embedding_store import Embeddings, EmbeddingStore
from hpa_lib.errors import HpaError


def clouds(samples, seed=0, centres=20, features=16):
    """Embeddings as a mixture, of different lengths."""
    random = np.random.default_rng(seed)
    places = random.normal(size=(centres, features))
    found = places[random.integers(centres, size=samples)]
    found = found + 0.3 * random.normal(size=found.shape)
    return (found * random.uniform(0.5, 2, (samples, 1))).astype(np.float32)


@pytest.fixture
def stored(tmp_path):
    """Function that writes embeddings and opens them."""

    def write(vectors, run="run", append=False):
        ids = tuple(f"sample-{row}" for row in range(len(vectors)))
        given = Embeddings(run, "f" * 64, ids, (None,) * len(ids), vectors)
        embedding_store.write(tmp_path / "embeddings.parquet", given, append)
        return EmbeddingStore(tmp_path / "embeddings.parquet")

    return write


@pytest.fixture
def with_index(monkeypatch):
    """Indexes are used for more than 1000 samples."""
    monkeypatch.setattr(retrieval, "EXACT_UP_TO", 1000)


def test_exact_neighbours_are_those_of_scikit_learn(stored):
    vectors = clouds(9000)
    rows = np.array([0, 5000, 8999])
    found = retrieval.nearest(stored(vectors), "run", vectors[rows], 5, leave_out=rows)
    wanted = neighbours.find(vectors)
    np.testing.assert_array_equal(found.rows, wanted.rows[rows])
    np.testing.assert_allclose(found.similarity, wanted.similarity[rows], atol=1e-5)


def test_a_copy_is_found_and_oneself_is_not(stored):
    vectors = np.array([[0, 1], [3, 4], [6, 8], [0, 0], [4, -3]], np.float32)
    rows = np.array([1, 2])
    found = retrieval.nearest(stored(vectors), "run", vectors[rows], 9, leave_out=rows)
    assert found.rows.tolist() == [[2, 0, 3, 4, -1], [1, 0, 3, 4, -1]]
    np.testing.assert_allclose(found.similarity[:, :4], [[1, 0.8, 0, 0]] * 2, atol=1e-6)


def test_an_index_finds_nearly_all_and_close_similarities(stored, with_index):
    vectors = clouds(12_000)
    store, rows = stored(vectors), np.arange(0, 12_000, 100)
    found = retrieval.nearest(store, "run", vectors[rows], 10, leave_out=rows)
    wanted = retrieval.exactly([vectors], vectors[rows], 11).rows[:, 1:]
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows, wanted, strict=True)]
    assert np.mean(shared) / 10 > 0.98
    cosines = retrieval.unit(vectors[rows])[:, None] * retrieval.unit(vectors)[found.rows]
    np.testing.assert_allclose(found.similarity, cosines.sum(axis=2), atol=2e-3)
    assert not (found.rows == rows[:, None]).any()


def test_an_index_is_the_same_again_and_made_once(stored, with_index, monkeypatch):
    store = stored(clouds(2000))
    twice = [faiss.serialize_index(retrieval.build(store, "run")) for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    retrieval.open_index(store, "run")
    monkeypatch.delattr(retrieval, "build")
    assert retrieval.nearest(store, "run", clouds(3), 4).rows.shape == (3, 4)


def test_other_embeddings_have_another_index_and_old_ones_go(stored, with_index):
    store = stored(clouds(2000))
    retrieval.open_index(store, "run")
    both = stored(clouds(2000, seed=1), run="other", append=True)
    retrieval.open_index(both, "other")
    first, second = (retrieval.index_path(both, run) for run in both.runs)
    assert first.is_file()
    assert second.is_file()
    new = stored(clouds(2000, seed=2))
    retrieval.open_index(new, "run")
    assert list(first.parent.glob("*.faiss")) == [retrieval.index_path(new, "run")]


def test_rows_of_ids_and_a_table_of_neighbours(stored):
    vectors = np.array([[0, 1], [1, 1], [1, 0]], np.float32)
    store = stored(vectors)
    samples = store.samples("run")
    rows = retrieval.rows_of(samples, ["sample-2", "sample-0"], store.path)
    assert rows.tolist() == [0, 2]
    found = retrieval.nearest(store, "run", vectors[rows], 5, leave_out=rows)
    table = retrieval.table(samples, ["sample-0", "sample-2"], found)
    assert table["query"].tolist() == ["sample-0"] * 2 + ["sample-2"] * 2
    assert table["Id"].tolist() == ["sample-1", "sample-2", "sample-1", "sample-0"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    np.testing.assert_allclose(table["similarity"], [0.5**0.5, 0] * 2, atol=1e-6)
    with pytest.raises(HpaError, match=r"embeddings\.parquet has no embedding of the Id 'gone'"):
        retrieval.rows_of(samples, ["sample-1", "gone"], store.path)
