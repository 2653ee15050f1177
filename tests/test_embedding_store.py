from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hpa_lib import embedding_store
from hpa_lib.embedding_store import Embeddings, EmbeddingStore
from hpa_lib.errors import HpaError


def embeddings(samples=5, features=3, run="run-a", fingerprint="f" * 64, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(samples, features)).astype(np.float32)
    ids = tuple(f"sample-{row}" for row in range(samples))
    parts = (*["training"] * (samples - 1), None)
    return Embeddings(run, fingerprint, ids, parts, vectors)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "embeddings.parquet"


def test_what_is_written_is_read_back_to_the_bit(path):
    written = embeddings(9001)
    embedding_store.write(path, written)
    store = EmbeddingStore(path)
    assert (store.run(), store.features, store.count("run-a")) == ("run-a", 3, 9001)
    blocks = list(store.blocks("run-a"))
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), written.vectors)
    samples = store.samples("run-a")
    assert samples["Id"].tolist() == list(written.ids)
    assert samples["part"].isna().tolist() == [*[False] * 9000, True]
    rows = np.array([0, 0, 4095, 4096, 9000])
    np.testing.assert_array_equal(store.vectors("run-a", rows), written.vectors[rows])


def test_other_programs_read_the_columns(path):
    written = embeddings()
    embedding_store.write(path, written)
    table = pq.read_table(path)
    assert table.column_names == ["Id", "fingerprint", "run", "part", "embedding"]
    np.testing.assert_array_equal(np.stack(table.to_pandas()["embedding"]), written.vectors)


def test_runs_and_datasets_are_kept_apart(path):
    parts = [embeddings(), embeddings(4, run="run-b", seed=1), embeddings(3, fingerprint="e")]
    for part in parts:
        embedding_store.write(path, part, append=True)
    store = EmbeddingStore(path)
    assert store.runs == ("run-a", "run-b")
    own = np.concatenate([parts[0].vectors, parts[2].vectors])
    np.testing.assert_array_equal(np.concatenate(list(store.blocks("run-a"))), own)
    np.testing.assert_array_equal(store.vectors("run-a", np.array([4, 5])), own[4:6])
    assert store.samples("run-a")["fingerprint"].tolist() == ["f" * 64] * 5 + ["e"] * 3
    np.testing.assert_array_equal(np.concatenate(list(store.blocks("run-b"))), parts[1].vectors)
    with pytest.raises(HpaError, match=r"several runs.*run-a, run-b"):
        store.run()
    with pytest.raises(HpaError, match="no embeddings of the run run-c"):
        store.run("run-c")


def test_a_digest_tells_of_the_vectors_and_ids_of_one_run_alone(path):
    embedding_store.write(path, embeddings())
    first = EmbeddingStore(path).digest("run-a")
    embedding_store.write(path, embeddings(run="run-b", seed=1), append=True)
    assert EmbeddingStore(path).digest("run-a") == first
    for changed in (embeddings(seed=1), replace(embeddings(), ids=tuple("abcde"))):
        embedding_store.write(path, changed)
        assert EmbeddingStore(path).digest("run-a") != first
    assert EmbeddingStore(path).runs == ("run-a",)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (embeddings(features=4, run="run-b"), "have 4 features, those in .* 3"),
        (embeddings(seed=1), "of this dataset by run-a already"),
        (replace(embeddings(run="b"), ids=("a", "b", "c", "b", "e")), "'b' by b occurs twice"),
        (replace(embeddings(run="b"), vectors=np.full((5, 3), np.nan)), "'sample-0' by b isn't fi"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_nothing_changes(path, given, reason):
    embedding_store.write(path, embeddings())
    before = path.read_bytes()
    with pytest.raises(HpaError, match=reason):
        embedding_store.write(path, given, append=True)
    assert path.read_bytes() == before


def test_no_writer_loses_what_another_adds_at_the_same_time(path):
    given = [embeddings(run=f"run-{number}", seed=number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: embedding_store.write(path, one, append=True), given))
    store = EmbeddingStore(path)
    for one in given:
        np.testing.assert_array_equal(np.concatenate(list(store.blocks(one.run))), one.vectors)


@pytest.mark.parametrize("damage", ["absent", "text", "cut", "other table", "flipped"])
def test_a_damaged_file_is_named(path, damage):
    embedding_store.write(path, embeddings(2000))
    content = bytearray(path.read_bytes())
    if damage == "absent":
        path.unlink()
    elif damage == "text":
        path.write_text("text")
    elif damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "other table":
        pd.DataFrame({"Id": ["a"]}).to_parquet(path)
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(HpaError, match=r"Embeddings .*embeddings\.parquet can't be read"):
        list(EmbeddingStore(path).blocks("run-a"))
