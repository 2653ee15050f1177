import pandas as pd
import pytest

from hpa_lib import submissions
from hpa_lib.errors import HpaError


@pytest.fixture
def write(tmp_path):
    """Function that writes a sample submission."""

    def sample(text):
        path = tmp_path / "sample_submission.csv"
        path.write_text(text)
        return path

    return sample


def test_rows_are_in_the_sample_s_order(write, tmp_path):
    order = submissions.read_order(write("Id,Predicted\nc,0\n007,0\nb,0\n"), ["007", "a", "b", "c"])
    predicted = pd.DataFrame(
        {"Id": ["007", "a", "b", "c"], "Predicted": ["5", "1", "", "0 25"], "labels": "x"}
    )
    submissions.write(tmp_path / "submission.csv", predicted, order)
    assert (tmp_path / "submission.csv").read_bytes() == b"Id,Predicted\nc,0 25\n007,5\nb,\n"


@pytest.mark.parametrize("place", ["test", "."])
def test_sample_is_found_in_the_folder_and_its_parent(write, tmp_path, place):
    path = write("")
    assert submissions.find_sample(tmp_path / place) == path


def test_no_sample_names_both_places(tmp_path):
    with pytest.raises(HpaError) as caught:
        submissions.find_sample(tmp_path / "test")
    assert str(tmp_path / "test" / "sample_submission.csv") in caught.value.problem
    assert str(tmp_path / "sample_submission.csv") in caught.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Id,Predicted\na,0\nb,0\nc,0\n", "2 of 3 Ids"),
        ("Id,Predicted\na,0\na,0\n", "'a' twice"),
        ("Id,Target\na,0\n", "Id, Target"),
        ("Id,Predicted\n", "0 rows"),
        ("", "can't be read"),
    ],
)
def test_samples_that_do_not_fit_are_refused(write, text, problem):
    path = write(text)
    with pytest.raises(HpaError, match=problem) as caught:
        submissions.read_order(path, ["a"])
    assert str(path) in caught.value.problem
