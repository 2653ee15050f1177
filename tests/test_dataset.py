from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import dataset, images, labels
from hpa_lib.errors import HpaError


def refusal(folder):
    """Message of the one error that opening the folder gives."""
    with pytest.raises(HpaError) as caught:
        dataset.load(folder)
    assert caught.value.remedy.endswith(".")
    return caught.value.problem


def table_refusal(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HpaError) as caught:
        dataset.read_label_table(path)
    assert str(path) in caught.value.problem
    return caught.value.problem


def test_opens_a_folder_in_the_kaggle_layout(tiny_dataset):
    opened = dataset.load(tiny_dataset)
    assert len(opened) == 24
    assert opened.name == "tiny"
    assert opened.ids[3] == "sample-03"
    assert opened.label_sets[3] == (3, 24)
    assert opened.multi_hot[3].nonzero()[0].tolist() == [3, 24]
    assert opened.image_folder == tiny_dataset / "train"
    assert opened.description() == {
        "name": "tiny", "samples": 24, "fingerprint": opened.fingerprint,
    }  # fmt: skip


def test_table_has_a_row_a_sample(tiny):
    row = tiny.table.iloc[3].to_dict()
    assert row == {
        "Id": "sample-03", "Target": "3 24",
        "classes": "Nucleoli fibrillar center, Aggresome", "labels": 2,
    }  # fmt: skip
    assert len(tiny.table) == 24


def test_relative_and_home_paths(tiny_dataset, monkeypatch):
    monkeypatch.chdir(tiny_dataset.parent)
    monkeypatch.setenv("HOME", str(tiny_dataset.parent))
    fingerprint = dataset.load(tiny_dataset).fingerprint
    assert dataset.load(Path("tiny")).folder == tiny_dataset
    assert dataset.load(Path("~/tiny")).fingerprint == fingerprint


def test_labels_are_read_in_any_order_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("Target,note,Id\n16 0,x,a\n,y,nan\n", encoding="utf-8-sig")
    assert dataset.read_label_table(path) == (("a", "nan"), ((0, 16), ()))


def test_fingerprint_depends_on_content_and_not_on_place(tiny_dataset, write_dataset, tmp_path):
    fingerprint = dataset.load(tiny_dataset).fingerprint
    assert dataset.load(write_dataset(tmp_path / "again")).fingerprint == fingerprint
    assert dataset.load(write_dataset(tmp_path / "other", seed=1)).fingerprint != fingerprint


def test_fingerprint_sees_one_changed_pixel(tiny_dataset):
    fingerprint = dataset.load(tiny_dataset).fingerprint
    path = tiny_dataset / "train" / "sample-23_yellow.png"
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image[7, 11] ^= 1
    cv2.imwrite(str(path), image)
    assert dataset.load(tiny_dataset).fingerprint != fingerprint


def test_fingerprint_sees_a_changed_label_and_another_order(tiny_dataset):
    path = tiny_dataset / "train.csv"
    header, first, second, *others = path.read_text().splitlines()
    found = {dataset.load(tiny_dataset).fingerprint}
    path.write_text("\n".join([header, second, first, *others]) + "\n")
    found.add(dataset.load(tiny_dataset).fingerprint)
    path.write_text("\n".join([header, f"{first.split(',')[0]},5", second, *others]) + "\n")
    found.add(dataset.load(tiny_dataset).fingerprint)
    assert len(found) == 3


def test_missing_folder(tmp_path):
    problem = refusal(tmp_path / "absent")
    assert str(tmp_path / "absent") in problem
    assert "parameter data" in problem


def test_missing_label_table(tiny_dataset):
    (tiny_dataset / "train.csv").unlink()
    assert str(tiny_dataset / "train.csv") in refusal(tiny_dataset)


def test_missing_channel_file(tiny_dataset):
    path = tiny_dataset / "train" / "sample-05_blue.png"
    path.unlink()
    problem = refusal(tiny_dataset)
    assert str(path) in problem
    assert problem.startswith("1 of 96 ")


@pytest.mark.parametrize("kept", [40, 200, -1])
def test_truncated_png(tiny_dataset, kept):
    path = tiny_dataset / "train" / "sample-05_blue.png"
    path.write_bytes(path.read_bytes()[:kept])
    problem = refusal(tiny_dataset)
    assert str(path) in problem
    assert f"truncated at {path.stat().st_size} bytes" in problem


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a JPEG", b"<html>403</html>" * 50])
def test_file_that_is_no_png(tiny_dataset, content):
    path = tiny_dataset / "train" / "sample-05_blue.png"
    path.write_bytes(content)
    problem = refusal(tiny_dataset)
    assert str(path) in problem
    assert "isn't a PNG" in problem


def test_folder_in_place_of_an_image(tiny_dataset):
    path = tiny_dataset / "train" / "sample-05_blue.png"
    path.unlink()
    path.mkdir()
    assert str(path) in refusal(tiny_dataset)


@pytest.mark.parametrize("target", ["28", "-1", "0 99"])
def test_label_outside_the_28_classes(tmp_path, target):
    problem = table_refusal(tmp_path, f"Id,Target\na,0\nb,{target}\n")
    assert "line 3" in problem
    assert "Id b" in problem
    assert repr(target) in problem


def test_repeated_id(tmp_path):
    problem = table_refusal(tmp_path, "Id,Target\na,0\nb,1\na,2\nb,2\n")
    assert "'a'" in problem
    assert "2 repeated" in problem


@pytest.mark.parametrize("text", ["", "\n\n", "Id,Target\n"])
def test_empty_table(tmp_path, text):
    table_refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "column"),
    [("Id,Predicted\na,0\n", "Target"), ("id,Target\na,0\n", "Id"), ("Id;Target\na;0\n", "Id")],
)
def test_missing_column(tmp_path, text, column):
    assert f"lacks the column {column}" in table_refusal(tmp_path, text)


@pytest.mark.parametrize("rows", ["a,16,0\n", "a,16,0\nb,1\n", "b,1\na,16,0\n"])
def test_labels_separated_by_commas_are_refused_and_never_taken_for_ids(tmp_path, rows):
    table_refusal(tmp_path, "Id,Target\n" + rows)


@pytest.mark.parametrize("sample_id", ["../secret", "a/b", "/etc/passwd", ".hidden", "a b", ""])
def test_ids_that_could_leave_the_folder(tmp_path, sample_id):
    problem = table_refusal(tmp_path, f"Id,Target\nfine,0\n{sample_id},0\n")
    assert "line 3" in problem
    assert repr(sample_id) in problem


def test_table_that_is_no_text(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(HpaError, match="UTF-8"):
        dataset.read_label_table(path)


@pytest.mark.real_images
def test_real_samples(real_images):
    opened = dataset.load(real_images)
    assert len(opened) == 60
    sample = images.read_sample(opened.image_folder, opened.ids[0])
    assert sample.shape == (512, 512, 4)
    assert opened.fingerprint == dataset.load(real_images).fingerprint


@pytest.mark.real_images
def test_real_label_table(real_images):
    path = real_images / "labels" / "train_full.csv"
    ids, label_sets = dataset.read_label_table(path)
    assert len(ids) == 31_072
    counts = labels.to_multi_hot(label_sets).sum(axis=0, dtype=int)
    assert tuple(counts) == labels.TRAINING_SET_COUNTS
    sizes = np.bincount([len(indices) for indices in label_sets])
    assert sizes.tolist() == [0, 15_126, 12_485, 3_160, 299, 2]
    assert list(ids) == pd.read_csv(path)["Id"].to_list()
