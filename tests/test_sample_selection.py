import numpy as np
import pytest

from hpa_lib import sample_selection, splits
from hpa_lib.errors import HpaError
from hpa_lib.run_decisions import RunDecisions
from hpa_lib.sample_selection import ANY, FALSE, MISSED, RIGHT

NUCLEOPLASM, NUCLEOLI = "Nucleoplasm", "Nucleoli"


@pytest.fixture
def dataset(labelled):
    return labelled([(0,), (0, 2), (2,), (0, 2), (5,), (0,)])


@pytest.fixture
def division(dataset):
    parts = {"training": [0, 5], "validation": [], "threshold": [1], "report": [2, 3, 4]}
    rows = {name: np.array(part, dtype=int) for name, part in parts.items()}
    return splits.Split("file", rows, dataset.fingerprint)


@pytest.fixture
def decided(dataset):
    """Row 1 right, 2 given Nucleoplasm for Nucleoli, 3 without Nucleoli, 4 with one too many."""
    given = {1: (0, 2), 2: (0,), 3: (0,), 4: (2, 5)}
    decisions = np.zeros((6, 28), np.uint8)
    probability = np.full((6, 28), np.nan, np.float32)
    for row, classes in given.items():
        probability[row] = 0.25
        decisions[row, list(classes)] = 1
    return RunDecisions("run", "VGG16", probability, decisions, np.full(28, 0.5), "split")


@pytest.mark.parametrize(
    ("class_name", "part", "rows"),
    [
        (None, None, [0, 1, 2, 3, 4, 5]),
        (NUCLEOLI, None, [1, 2, 3]),
        (None, "training", [0, 5]),
        (NUCLEOLI, "report", [2, 3]),
        ("Aggresome", None, []),
        (None, "validation", []),
    ],
)
def test_class_and_part_choose_rows(dataset, division, class_name, part, rows):
    selection = sample_selection.select(dataset, division, class_name, part)
    assert selection.rows.tolist() == rows
    assert selection.unpredicted == 0


@pytest.mark.parametrize(
    ("outcome", "class_name", "rows"),
    [
        (ANY, None, [0, 1, 2, 3, 4, 5]),
        (RIGHT, None, [1]),
        (MISSED, None, [2, 3]),
        (FALSE, None, [2, 4]),
        (ANY, NUCLEOLI, [1, 2, 3]),
        (RIGHT, NUCLEOLI, [1]),
        (MISSED, NUCLEOLI, [2, 3]),
        (FALSE, NUCLEOLI, [4]),
        (RIGHT, NUCLEOPLASM, [1, 3]),
        (FALSE, NUCLEOPLASM, [2]),
    ],
)
def test_outcomes_choose_among_predicted_rows(
    dataset, division, decided, outcome, class_name, rows
):
    selection = sample_selection.select(
        dataset, division, class_name, decided=decided, outcome=outcome
    )
    assert selection.rows.tolist() == rows


def test_rows_that_the_run_did_not_predict_are_counted(dataset, division, decided):
    for class_name, part, count in ((None, None, 2), (NUCLEOLI, None, 0), (None, "training", 2)):
        found = sample_selection.select(dataset, division, class_name, part, decided, RIGHT)
        assert found.unpredicted == count


@pytest.mark.parametrize(
    "wrong", [{"class_name": "Nucleus"}, {"part": "test"}, {"outcome": "bad"}, {"outcome": MISSED}]
)
def test_what_does_not_exist_is_refused(dataset, division, wrong):
    (name,) = wrong
    with pytest.raises(HpaError, match=name):
        sample_selection.select(dataset, division, **wrong)
