import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import checks, dataset, images
from hpa_lib.errors import HpaError


def image(folder, name):
    return folder / "train" / f"{name}.png"


def write(path, pixels):
    assert cv2.imwrite(str(path), pixels)


def check(folder, *leave_out):
    return checks.check(folder, leave_out, progress=False)


def found(report):
    return [(finding.level, finding.kind, finding.sample) for finding in report.findings]


def test_sound_dataset(tiny_dataset):
    (tiny_dataset / "train" / "stranger_red.png").write_bytes(b"not looked at")
    report = check(tiny_dataset)
    opened = dataset.load(tiny_dataset)
    assert report.findings == ()
    assert report.fingerprint == opened.fingerprint
    assert (report.samples, report.images, report.unused_images) == (24, 96, 1)
    assert report.image_kinds == {"20×20 8-bit greyscale PNG": 96}
    assert list(report.class_counts.values()) == opened.multi_hot.sum(axis=0).tolist()
    json.dumps(report.as_json(), allow_nan=False)


def test_brightness_of_each_source_is_that_of_all_its_pixels(tiny_dataset):
    table = pd.read_csv(tiny_dataset / "train.csv", dtype=str)
    table["source"] = ["b"] * 10 + ["a"] * 14
    table.to_csv(tiny_dataset / "train.csv", index=False)
    facts = check(tiny_dataset).sources
    opened = dataset.load(tiny_dataset)
    assert list(facts) == ["a", "b"]
    for name, rows in opened.rows_by_source().items():
        pixels = np.stack([opened.read_sample(row) for row in rows]) / 255
        assert facts[name]["samples"] == len(rows)
        np.testing.assert_allclose(facts[name]["mean"], pixels.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(facts[name]["deviation"], pixels.std(axis=(0, 1, 2)))


def test_all_damage_is_reported_in_one_go_and_can_be_left_out(tiny_dataset):
    spoilt = image(tiny_dataset, "sample-03_green")
    content = spoilt.read_bytes()
    spoilt.write_bytes(content[:100] + b"spoilt" + content[106:])
    image(tiny_dataset, "sample-05_blue").unlink()
    write(image(tiny_dataset, "sample-07_red"), np.zeros((9, 8), np.uint8))
    table = tiny_dataset / "train.csv"
    table.write_text(table.read_text().replace("sample-09,9 ", "sample-09,99 "))
    report = check(tiny_dataset)
    errors = [finding for finding in found(report) if finding[0] == "error"]
    assert errors == [
        ("error", "row", "sample-09"),
        ("error", "unreadable", "sample-03"),
        ("error", "missing", "sample-05"),
        ("error", "size", "sample-07"),
    ]
    assert any(str(spoilt) in finding.text for finding in report.findings)
    assert report.fingerprint is None
    assert report.samples == 24
    left = check(tiny_dataset, *report.unusable)
    assert left.findings == ()
    assert left.left_out == ("sample-03", "sample-05", "sample-07", "sample-09")
    assert left.fingerprint == dataset.load(tiny_dataset, report.unusable).fingerprint


@pytest.mark.parametrize(
    ("kind", "pixels"),
    [
        ("constant", np.zeros((20, 20), np.uint8)),
        ("constant", np.full((20, 20), 255, np.uint8)),
        ("empty", np.eye(20, dtype=np.uint8) * (checks.EMPTY_BELOW - 1)),
        ("saturated", np.kron(np.eye(2, dtype=np.uint8), np.full((10, 10), 255, np.uint8))),
        ("size", np.arange(21 * 20, dtype=np.uint8).reshape(21, 20)),
        ("mode", np.arange(400, dtype=np.uint16).reshape(20, 20) * 160),
        ("narrow", np.arange(400, dtype=np.uint16).reshape(20, 20) * 10),
    ],
)
def test_doubtful_images(tiny_dataset, kind, pixels):
    write(image(tiny_dataset, "sample-11_yellow"), pixels)
    assert ("warning", kind, "sample-11") in found(check(tiny_dataset))


@pytest.mark.parametrize(
    "pixels",
    [
        np.eye(20, dtype=np.uint8) * checks.EMPTY_BELOW,
        np.where(np.arange(400).reshape(20, 20) < 40, 255, 7).astype(np.uint8),
    ],
    ids=["dark", "bright"],
)
def test_limits_of_doubt(tiny_dataset, pixels):
    write(image(tiny_dataset, "sample-11_yellow"), pixels)
    assert found(check(tiny_dataset)) == []


def test_full_size_images_of_several_sizes_belong_together(tmp_path, write_dataset):
    folder = write_dataset(tmp_path / "small", samples=3)
    random = np.random.default_rng(5)
    for row, size in enumerate((2048, 1728, 2048)):
        for channel in images.CHANNELS:
            pixels = random.integers(0, 99, (size, size), dtype=np.uint8)
            write(image(folder, f"sample-{row:02}_{channel}"), pixels)
    assert found(check(folder)) == []


def test_duplicates_are_found_whatever_their_files_are(tiny_dataset):
    for channel in images.CHANNELS:
        pixels = cv2.imread(str(image(tiny_dataset, f"sample-02_{channel}")), -1)
        path = image(tiny_dataset, f"sample-20_{channel}")
        assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    red = cv2.imread(str(image(tiny_dataset, "sample-04_red")), -1)
    write(image(tiny_dataset, "sample-06_blue"), red)
    write(image(tiny_dataset, "sample-08_blue"), red[:, ::-1])  # same values, another picture
    report = check(tiny_dataset)
    assert [(finding.kind, finding.sample) for finding in report.findings] == [
        ("duplicate", "sample-06"),
        ("duplicate", "sample-20"),
    ]
    assert "same pixels as sample-02 in all channels" in report.findings[1].text
    assert "blue image of sample-06" in report.findings[0].text
    assert "red image of sample-04" in report.findings[0].text


def test_constant_images_are_no_duplicates(tiny_dataset):
    for row in (1, 2):
        write(image(tiny_dataset, f"sample-0{row}_green"), np.zeros((20, 20), np.uint8))
    assert {finding.kind for finding in check(tiny_dataset).findings} == {"constant"}


def test_link_out_of_the_folder_is_a_finding_by_name(tiny_dataset, tmp_path):
    path = image(tiny_dataset, "sample-04_green")
    path.rename(tmp_path / "outside.png")
    path.symlink_to(tmp_path / "outside.png")
    report = check(tiny_dataset)
    assert found(report) == [("error", "files", "sample-04")]
    assert str(path) in report.findings[0].text


def test_no_dataset_to_check(tmp_path):
    with pytest.raises(HpaError, match="no label table"):
        check(tmp_path)


def test_label_table_without_any_image(tiny_dataset):
    shutil.rmtree(tiny_dataset / "train")
    report = check(tiny_dataset)
    assert {finding[:2] for finding in found(report)} == {("error", "missing")}
    assert len(report.findings) == 96
    assert (report.samples, report.images, len(report.unusable)) == (24, 0, 24)
    assert "96 findings" in checks.as_text(report)


def test_text_lists_the_first_findings_of_a_kind_and_counts_the_others(tiny_dataset):
    for row in range(24):
        write(image(tiny_dataset, f"sample-{row:02}_blue"), np.zeros((20, 20), np.uint8))
    text = checks.as_text(check(tiny_dataset, "sample-23"), most_of_a_kind=3)
    assert "23 findings" in text
    assert text.count("has the value 0 everywhere") == 3
    assert "… and 20 more" in text
    assert "left out      1: sample-23" in text


@pytest.mark.real_images
@pytest.mark.parametrize(("folder", "count"), [("", 240), ("full_size", 8), ("hpav18", 4)])
def test_real_samples_pass(real_images, folder, count):
    report = check(real_images / folder)
    assert report.findings == ()
    assert report.images == count
    assert report.fingerprint == dataset.load(real_images / folder).fingerprint
