from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import dataset, files, images, labels
from hpa_lib.errors import HpaError


def refusal(folder):
    """Message of the one error that opening the folder gives."""
    with pytest.raises(HpaError) as caught:
        dataset.load(folder)
    assert caught.value.remedy.endswith(".")
    return caught.value.problem


def test_opens_a_folder_in_the_kaggle_layout(tiny_dataset):
    opened = dataset.load(tiny_dataset)
    assert len(opened) == 24
    assert opened.name == "tiny"
    assert opened.ids[3] == "sample-03"
    assert opened.label_sets[3] == (3, 24)
    assert opened.multi_hot[3].nonzero()[0].tolist() == [3, 24]
    assert opened.paths(3)[0] == tiny_dataset / "train" / "sample-03_red.png"
    assert opened.description() == {
        "name": "tiny", "samples": 24, "fingerprint": opened.fingerprint,
        "sources": {}, "left_out": [],
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


def test_sample_that_is_left_out_is_not_looked_at_and_counts_as_absent(tiny_dataset):
    whole = dataset.load(tiny_dataset)
    (tiny_dataset / "train" / "sample-05_blue.png").unlink()
    left = dataset.load(tiny_dataset, ["sample-05"])
    assert len(left) == 23
    assert "sample-05" not in left.ids
    assert left.description()["left_out"] == ["sample-05"]
    assert left.fingerprint != whole.fingerprint
    table = (tiny_dataset / "train.csv").read_text().splitlines(keepends=True)
    (tiny_dataset / "train.csv").write_text("".join(line for line in table if "-05," not in line))
    assert dataset.load(tiny_dataset).fingerprint == left.fingerprint


def test_read_sample_stacks_channels_in_order(tiny):
    sample = tiny.read_sample(3)
    assert (sample.shape, sample.dtype) == ((20, 20, 4), np.uint8)
    for position, name in enumerate(images.CHANNELS):
        path = tiny.folder / "train" / f"sample-03_{name}.png"
        np.testing.assert_array_equal(sample[..., position], cv2.imread(str(path), -1))


def test_read_sample_refuses_channels_of_different_size(tiny):
    cv2.imwrite(str(tiny.folder / "train" / "sample-00_blue.png"), np.zeros((8, 9), np.uint8))
    with pytest.raises(HpaError, match=r"sample-00.*differ in size.*\(8, 9\)"):
        tiny.read_sample(0)


def add_columns(folder, **columns):
    """Add columns of constant or cycling values to the label table."""
    table = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)
    for name, values in columns.items():
        table[name] = (values * len(table))[: len(table)]
    table.to_csv(folder / "train.csv", index=False)


def test_sources_are_counted_and_enter_the_fingerprint(tiny_dataset):
    without = dataset.load(tiny_dataset)
    assert {name: len(rows) for name, rows in without.rows_by_source().items()} == {"tiny": 24}
    add_columns(tiny_dataset, source=["kaggle", "kaggle", "atlas"])
    joined = dataset.load(tiny_dataset)
    assert joined.description()["sources"] == {"atlas": 8, "kaggle": 16}
    assert joined.rows_by_source()["atlas"].tolist() == list(range(2, 24, 3))
    assert joined.table["source"].tolist()[:3] == ["kaggle", "kaggle", "atlas"]
    assert joined.fingerprint != without.fingerprint


def test_declared_maximum_scales_16_bit_images_and_enters_the_fingerprint(tiny_dataset):
    for channel in images.CHANNELS:
        path = tiny_dataset / "train" / f"sample-00_{channel}.png"
        cv2.imwrite(str(path), np.full((20, 20), 4095, np.uint16))
    full_range = dataset.load(tiny_dataset)
    assert (full_range.read_sample(0) == 16).all()
    add_columns(tiny_dataset, maximum=["4095"])
    declared = dataset.load(tiny_dataset)
    assert (declared.read_sample(0) == 255).all()
    assert declared.fingerprint != full_range.fingerprint


def test_fingerprint_is_the_digest_that_earlier_runs_recorded(tiny_dataset):
    opened = dataset.load(tiny_dataset)
    targets = "\n".join(labels.format_target(indices) for indices in opened.label_sets)
    tails = b"".join(
        len(content).to_bytes(8, "little") + content[-20:]
        for row in range(24)
        for content in [path.read_bytes() for path in opened.paths(row)]
    )
    parts = ("\n".join(opened.ids).encode(), targets.encode(), tails)
    assert opened.fingerprint == files.digest_bytes(*parts)


@pytest.mark.real_images
@pytest.mark.parametrize(
    ("folder", "samples", "shape"),
    [
        ("", 60, (512, 512, 4)),
        ("full_size", 2, (2048, 2048, 4)),
        ("hpav18", 1, (1728, 1728, 4)),
    ],
)
def test_real_samples(real_images, folder, samples, shape):
    opened = dataset.load(real_images / folder)
    assert len(opened) == samples
    assert opened.read_sample(0).shape == shape
    assert opened.fingerprint == dataset.load(real_images / folder).fingerprint
