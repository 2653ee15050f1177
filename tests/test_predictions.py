import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from hpa_lib import labels, predictions
from hpa_lib.errors import HpaError

PARTS = {"report": np.array([2, 0]), "shown": np.array([1])}


@pytest.fixture
def opened(labelled):
    return labelled([(0,), (), (27, 3)])


def probabilities(seed=0):
    random = np.random.default_rng(seed)
    return {name: random.random((len(rows), 28), np.float32) for name, rows in PARTS.items()}


def test_table_joins_ids_and_labels(opened):
    values = probabilities()
    table = predictions.table(opened, PARTS, values)
    assert list(table.columns) == ["Id", "part", "Target", *labels.CLASS_NAMES]
    assert table[["Id", "part", "Target"]].to_numpy().tolist() == [
        ["sample-2", "report", "3 27"], ["sample-0", "report", "0"], ["sample-1", "shown", ""],
    ]  # fmt: skip
    np.testing.assert_array_equal(table.loc[1, list(labels.CLASS_NAMES)], values["report"][1])
    assert set(table.dtypes.iloc[3:]) == {np.dtype(np.float32)}


def test_arrays_give_truth_and_probabilities_of_one_part(opened):
    values = probabilities()
    truth, probability = predictions.arrays(predictions.table(opened, PARTS, values), "report")
    np.testing.assert_array_equal(truth, labels.to_multi_hot([(3, 27), (0,)]))
    np.testing.assert_array_equal(probability, values["report"])
    assert probability.dtype == np.float32


def test_absent_part_is_empty(opened):
    truth, probability = predictions.arrays(
        predictions.table(opened, PARTS, probabilities()), "threshold"
    )
    assert truth.shape == probability.shape == (0, 28)


def test_file_keeps_the_table(opened, tmp_path):
    table = predictions.table(opened, PARTS, probabilities())
    predictions.write(tmp_path / "predictions.csv", table)
    again = predictions.read(tmp_path / "predictions.csv")
    assert again["Target"].tolist() == table["Target"].tolist()
    for part in PARTS:
        for wanted, found in zip(
            predictions.arrays(table, part), predictions.arrays(again, part), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype


@given(hypothesis_numpy.arrays(np.float32, (1, 28), elements=st.floats(0, 1, width=32)))
def test_file_keeps_every_float32_exactly(labelled, tmp_path_factory, values):
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    table = predictions.table(labelled([(0,)]), {"report": np.array([0])}, {"report": values})
    predictions.write(path, table)
    _, found = predictions.arrays(predictions.read(path), "report")
    assert found.tobytes() == (values + np.float32(0)).tobytes()  # −0 and 0 are one number


def test_ids_that_look_like_numbers_stay_text(opened, tmp_path):
    table = predictions.table(opened, PARTS, probabilities()).assign(Id=["007", "1e5", "nan"])
    predictions.write(tmp_path / "predictions.csv", table)
    assert predictions.read(tmp_path / "predictions.csv")["Id"].tolist() == ["007", "1e5", "nan"]


def test_several_sources_are_written_down_and_give_the_rows_of_a_part(opened, tmp_path):
    joined = dataclasses.replace(opened, sources=("nan", "007", "nan"))
    table = predictions.table(joined, {"report": np.array([2, 1, 0])}, {"report": np.eye(3, 28)})
    assert list(table.columns)[:4] == ["Id", "part", "Target", "source"]
    predictions.write(tmp_path / "predictions.csv", table)
    rows = predictions.rows_by_source(predictions.read(tmp_path / "predictions.csv"), "report")
    assert {source: found.tolist() for source, found in rows.items()} == {"007": [1], "nan": [0, 2]}
    assert list(rows) == ["007", "nan"]


def test_one_source_is_not_written_down(opened):
    for one in (opened, dataclasses.replace(opened, sources=("atlas",) * 3)):
        table = predictions.table(one, PARTS, probabilities())
        assert "source" not in table
        assert predictions.rows_by_source(table, "report") == {}


def test_missing_file(tmp_path):
    with pytest.raises(HpaError, match="can't be read") as caught:
        predictions.read(tmp_path / "predictions.csv")
    assert str(tmp_path) in caught.value.problem


def test_missing_column(opened, tmp_path):
    table = predictions.table(opened, PARTS, probabilities()).drop(columns="Cytosol")
    predictions.write(tmp_path / "predictions.csv", table)
    with pytest.raises(HpaError, match="lack the column 'Cytosol'"):
        predictions.read(tmp_path / "predictions.csv")


def test_spoilt_number(opened, tmp_path):
    path = tmp_path / "predictions.csv"
    predictions.write(path, predictions.table(opened, PARTS, probabilities()))
    path.write_text(path.read_text().replace("report,0,0.", "report,0,many"))
    with pytest.raises(HpaError, match="can't be read"):
        predictions.read(path)
