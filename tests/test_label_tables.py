import numpy as np
import pandas as pd
import pytest

from hpa_lib import label_tables, labels
from hpa_lib.errors import HpaError


@pytest.fixture
def write(tmp_path):
    """Function that writes a label table."""

    def table(text, **options):
        path = tmp_path / "train.csv"
        path.write_text(text, encoding=options.get("encoding", "utf-8"))
        return path

    return table


def refusal(path, *arguments):
    with pytest.raises(HpaError) as caught:
        label_tables.read(path, *arguments)
    assert str(path) in caught.value.problem
    assert caught.value.remedy.endswith(".")
    return caught.value.problem


def test_columns_in_any_order_with_a_byte_order_mark(write):
    table = label_tables.read(write("Target,note,Id\n16 0,x,a\n,y,nan\n", encoding="utf-8-sig"))
    assert (table.ids, table.label_sets) == (("a", "nan"), ((0, 16), ()))
    assert (table.sources, table.maxima, table.left_out) == ((), (), ())


def test_source_and_maximum(write):
    table = label_tables.read(write("Id,Target,source,maximum\na,0,kaggle,255\nb,1,v18,4095\n"))
    assert table.sources == ("kaggle", "v18")
    assert table.maxima == (255, 4095)
    assert table.source(1) == "v18"


@pytest.mark.parametrize("target", ["28", "-1", "0 99"])
def test_label_outside_the_28_classes(write, target):
    problem = refusal(write(f"Id,Target\na,0\nb,{target}\n"))
    assert "line 3, Id 'b'" in problem
    assert repr(target) in problem


@pytest.mark.parametrize(
    "row",
    ["a,1,s,9", "../b,0,s,9", "/b,0,s,9", "b/c,0,s,9", ".b,0,s,9", "b c,0,s,9", ",0,s,9",
     "b,0,../s,9", "b,0,,9", "b,0,s,0", "b,0,s,65536", "b,0,s,1e3"],
)  # fmt: skip
def test_rows_that_repeat_an_id_or_could_leave_the_folder_or_have_no_range(write, row):
    path = write(f"Id,Target,source,maximum\na,0,s,9\n{row}\n")
    assert f"line 3, Id {row.split(',')[0]!r}" in refusal(path)


def test_sound_rows_are_read_beside_others(write):
    path = write("Id,Target\na,0\n../b,1\nc,77\nd,5\na,9\n")
    table, problems = label_tables.read_sound_rows(path)
    assert table.ids == ("a", "d")
    assert [(row.line, row.sample_id) for row in problems] == [(3, "../b"), (4, "c"), (6, "a")]


def test_lines_are_those_of_the_file(write):
    path = write('\nId,Target,note\na,0,x\n\n  \nb,77,x\nc,5,"two\nlines"\n,5,\nd\ne,16,0,x\n')
    table, problems = label_tables.read_sound_rows(path)
    assert table.ids == ("a", "c")
    assert [(row.line, row.sample_id) for row in problems] == [
        (6, "b"), (9, ""), (10, "d"), (11, "e"),
    ]  # fmt: skip
    named = [row.error.problem.removeprefix(f"Label table {path}, ") for row in problems]
    assert named[1] == "line 9, Id '': The Id can't be part of a file name."
    assert named[2] == "line 10, Id 'd': The row has 1 fields, and the header 3."
    assert named[3] == "line 11, Id 'e': The row has 4 fields, and the header 3."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "needs one column Id; it has []"),
        ("\n\n", "needs one column Id; it has []"),
        ("Id,Target\n\n", "holds no sample"),
        ("Id,Predicted\na,0\n", "needs one column Target"),
        ("id,Target\na,0\n", "needs one column Id"),
        ("Id;Target\na;0\n", "needs one column Id"),
        ("Id,Target,Id\na,0,b\n", "needs one column Id"),
        ('Id,Target\na,0\n\nb,"1\nc,2\n', "line 4, can't be parsed"),
    ],
)
def test_files_that_are_no_label_table(write, text, problem):
    assert problem in refusal(write(text))


def test_file_that_is_missing_or_no_text(tmp_path):
    absent, table = tmp_path / "absent.csv", tmp_path / "train.csv"
    table.write_bytes(b"\xff\xfe\x00\x01")
    assert refusal(absent).startswith(f"Label table {absent} can't be read (No such file")
    assert refusal(table).startswith(f"Label table {table} isn't UTF-8 text (")


def test_rows_left_out_may_be_of_any_kind_and_are_recorded(write):
    table = label_tables.read(write("Id,Target\na,0\nb,77\nc,5\n"), ["c", "b"])
    assert (table.ids, table.left_out) == (("a",), ("b", "c"))


def test_leave_out_refuses_unknown_ids_and_all_ids(write):
    path = write("Id,Target\na,0\nb,1\n")
    assert "leave_out names the Id 'z', which isn't in" in refusal(path, ["a", "z"])
    assert "all 2 samples" in refusal(path, ["a", "b"])


def test_leave_out_lists_ids_or_names_a_file(tmp_path):
    assert label_tables.parse_leave_out("") == ()
    assert label_tables.parse_leave_out(" a-1, b.2 ,") == ("a-1", "b.2")
    (tmp_path / "bad.txt").write_text("a\n\nb \n")
    (tmp_path / "bad.csv").write_text("file,Id\n1,a\n2,b\n")
    for name in ("bad.txt", "bad.csv"):
        assert label_tables.parse_leave_out(str(tmp_path / name)) == ("a", "b")


@pytest.mark.parametrize("sample_id", ["a-1", "../b", "b c", "", " a", "a,b", "a.csv", "b.txt"])
def test_ids_that_leave_out_can_name(sample_id):
    try:
        named = label_tables.parse_leave_out(f"x,{sample_id}") == ("x", sample_id)
    except HpaError:  # taken for a file
        named = False
    assert label_tables.can_be_left_out(sample_id) == named


@pytest.mark.parametrize(("name", "content"), [("x.txt", None), ("x.txt", ""), ("x.csv", "id\na")])
def test_leave_out_refuses_a_file_without_ids(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(HpaError, match=name):
        label_tables.parse_leave_out(str(tmp_path / name))


@pytest.mark.real_images
def test_real_label_table(real_images):
    path = real_images / "labels" / "train_full.csv"
    table = label_tables.read(path)
    assert len(table.ids) == 31_072
    counts = labels.to_multi_hot(table.label_sets).sum(axis=0, dtype=int)
    assert tuple(counts) == labels.TRAINING_SET_COUNTS
    sizes = np.bincount([len(indices) for indices in table.label_sets])
    assert sizes.tolist() == [0, 15_126, 12_485, 3_160, 299, 2]
    assert list(table.ids) == pd.read_csv(path)["Id"].to_list()
