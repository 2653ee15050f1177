"""Test part, near-duplicates and corrupted files of a synthetic dataset."""

import csv
import itertools
import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from hpa_lib import cli, dataset, image_files, images, near_duplicates, synthetic
from hpa_lib.errors import HpaError
from hpa_lib.labels import format_target
from hpa_lib.synthetic import Variants, sample_id, write_dataset
from hpa_lib.synthetic_damage import KINDS
from hpa_lib.synthetic_labels import draw_label_sets
from hpa_lib.synthetic_variants import TEST_EXPOSURE, draw, plan

SAMPLES, SEED, SIZE = 24, 5, 96
VARIANTS = Variants(
    test_samples=6, test_exposure=0.5, near_duplicates=0.2, corrupted_files=len(KINDS)
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants") / "set"
    return write(folder, workers=1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "set"
    return write(folder, workers=1, variants=None)


def write(folder, **options):
    return write_dataset(
        folder, SAMPLES, SEED, size=SIZE, progress=False, **({"variants": VARIANTS} | options)
    )


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".synthetic.lock"
    }


def concerned(folder):
    """Ids of the training samples that a variant changes."""
    pairs = rows(folder / "near_duplicates.csv")
    damaged = {row["Id"] for row in rows(folder / "corrupted.csv")}
    return damaged | {row[key] for row in pairs for key in ("Id", "Id_of_other")}


def test_the_number_of_processes_changes_nothing(written, tmp_path):
    write(tmp_path / "other", workers=2)
    assert contents(tmp_path / "other") == contents(written)


def test_without_variants_no_file_of_theirs_is_written(plain):
    assert {path.name for path in plain.iterdir()} == {
        "train", "train.csv", "synthetic.json", ".synthetic.lock",
    }  # fmt: skip


def test_samples_that_no_variant_concerns_are_as_without(written, plain):
    changed = concerned(written)
    assert 0 < len(changed) < SAMPLES
    for path in plain.glob("train/*.png"):
        if path.name.rpartition("_")[0] not in changed:
            assert (written / "train" / path.name).read_bytes() == path.read_bytes()


def test_an_interrupted_folder_is_resumed(written, tmp_path, monkeypatch):
    """The interruption comes when some files are damaged already."""
    damage, done = synthetic._damage_file, []

    def failing(folder, sample, one, *settings):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(one)
        damage(folder, sample, one, *settings)

    monkeypatch.setattr(synthetic, "_damage_file", failing)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", workers=1)
    assert not (tmp_path / "set" / "train.csv").exists()
    monkeypatch.setattr(synthetic, "_damage_file", damage)
    write(tmp_path / "set", workers=1)
    assert contents(tmp_path / "set") == contents(written)


# The test part


def test_the_test_part_has_ids_as_on_kaggle_and_labels_apart(written):
    ids = sorted(sample_id(SEED, index) for index in range(SAMPLES, SAMPLES + 6))
    submission = rows(written / "sample_submission.csv")
    assert submission == [{"Id": one, "Predicted": "0"} for one in ids]
    assert {path.name for path in (written / "test").iterdir()} == {
        f"{one}_{channel}.png" for one in ids for channel in images.CHANNELS
    }
    drawn = draw_label_sets(SAMPLES + 6, SEED)
    assert rows(written / "test_labels.csv") == [
        {"Id": one, "Target": format_target(drawn[index])}
        for one, index in sorted(
            (sample_id(SEED, index), index) for index in range(SAMPLES, SAMPLES + 6)
        )
    ]
    assert not set(ids) & {row["Id"] for row in rows(written / "train.csv")}


@pytest.mark.parametrize("exposure", [0.5, TEST_EXPOSURE])
def test_test_images_are_darker_by_the_exposure(exposure):
    """The same fields at both exposures: only noise, offset and saturation blur the ratio."""
    bright = plan(20, 0, 256, False, Variants(test_samples=20, test_exposure=1.0))
    dark = plan(20, 0, 256, False, Variants(test_samples=20, test_exposure=exposure))
    means = [
        np.mean(
            [draw(sample, 0, 256, 164.0).mean(axis=(0, 1)) for sample in one.samples[20:]], axis=0
        )
        for one in (dark, bright)
    ]
    np.testing.assert_allclose(means[0] / means[1], exposure, rtol=0.12)
    assert all(sample.exposure == 1 for sample in dark.samples[:20])


# Near-duplicates


def read_sample(folder, name):
    """The four channels of a sample, labelled or not."""
    return image_files.read_sample(
        [images.channel_file(folder, name, channel) for channel in images.CHANNELS]
    )


def smooth(folder, name):
    """Mean of a sample's channels with less noise."""
    sample = read_sample(folder, name).mean(axis=-1, dtype=np.float32)
    return cv2.GaussianBlur(sample, (0, 0), 1)


def test_near_duplicates_show_the_same_field_shifted(written):
    targets = {row["Id"]: row["Target"] for row in rows(written / "train.csv")}
    pairs = rows(written / "near_duplicates.csv")
    assert len(pairs) == round(0.2 * SAMPLES)
    members = [row[key] for row in pairs for key in ("Id", "Id_of_other")]
    assert len(set(members)) == len(members)
    apart = []
    for row in pairs:
        assert targets[row["Id"]] == targets[row["Id_of_other"]]
        second, first = (smooth(written / "train", row[key]) for key in ("Id", "Id_of_other"))
        x, y = int(row["shift_x"]), int(row["shift_y"])
        apart.append(max(abs(x), abs(y)) / SIZE)
        height, width = SIZE - abs(y), SIZE - abs(x)
        ours = second[max(0, -y) :, max(0, -x) :][:height, :width]
        theirs = first[max(0, y) :, max(0, x) :][:height, :width]
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9
        assert (np.corrcoef(second.ravel(), first.ravel())[0, 1] < 0.8) == (apart[-1] > 0.1)
        assert (ours != theirs).any(), "each crop has noise of its own"
        inner = second[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
        place = cv2.minMaxLoc(cv2.matchTemplate(first, inner, cv2.TM_CCOEFF_NORMED))[3]
        assert place == (SIZE // 4 + x, SIZE // 4 + y)
    overlapping = [share for share in apart if share > 1 / 128]
    assert len(overlapping) == len(pairs) // 2
    assert all(1 / 8 <= share <= 1 / 4 for share in overlapping)


def test_pairs_that_barely_moved_are_found_by_their_hashes(tmp_path):
    size = 256
    folder = write_dataset(
        tmp_path / "data", 24, size=size, variants=Variants(near_duplicates=0.25), progress=False
    )
    opened = dataset.load(folder)
    pairs = rows(folder / "near_duplicates.csv")
    shifts = [max(abs(int(row["shift_x"])), abs(int(row["shift_y"]))) for row in pairs]
    wanted = {
        frozenset((row["Id"], row["Id_of_other"]))
        for row, shift in zip(pairs, shifts, strict=True)
        if shift <= size // 128
    }
    found = near_duplicates.find(opened).rows
    assert {frozenset((opened.ids[a], opened.ids[b])) for a, b in found} == wanted
    assert len(wanted) == 3
    assert max(shift for shift in shifts if shift <= size // 128) > 0


def test_other_samples_do_not_match():
    planned = plan(12, 1, 96, False, Variants(near_duplicates=0.25))
    members = {one for pair in planned.near_duplicates for one in (pair.index, pair.other)}
    others = [
        draw(sample, 1, 96, 164.0) for sample in planned.samples if sample.index not in members
    ]
    for first, second in itertools.pairwise(others):
        found, wanted = (one.mean(axis=-1, dtype=np.float32) for one in (first, second))
        match = cv2.matchTemplate(found, wanted[24:-24, 24:-24], cv2.TM_CCOEFF_NORMED)
        assert match.max() < 0.8


def test_half_of_an_odd_number_of_samples_can_be_duplicates():
    assert len(plan(11, 0, 64, False, Variants(near_duplicates=0.5)).near_duplicates) == 5


# Corrupted files


def test_corrupted_files_are_listed_once_a_sample_and_outside_pairs(written):
    listed = rows(written / "corrupted.csv")
    assert sorted(row["kind"] for row in listed) == sorted(KINDS)
    ids = {row["Id"] for row in listed}
    assert len(ids) == len(KINDS)
    pairs = rows(written / "near_duplicates.csv")
    assert not ids & {row[key] for row in pairs for key in ("Id", "Id_of_other")}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_can_be_found(kind, tmp_path):
    variants = Variants(corrupted_files=len(KINDS))
    [damage] = [one for one in plan(8, 3, 64, False, variants).damage if one.kind == kind]
    write_dataset(tmp_path, 8, 3, size=64, progress=False, workers=1)
    planned = plan(8, 3, 64, False, variants).samples[damage.index]
    synthetic._damage_file(tmp_path, planned, damage, 3, 64, 164.0)
    name = sample_id(3, damage.index)
    path = images.channel_file(tmp_path / "train", name, damage.channel)
    if kind == "16 bit":
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (pixels.dtype, pixels.shape) == (np.uint16, (64, 64))
    elif kind in ("constant", "saturated"):
        pixels = image_files.read_channel(path, damage.channel)
        assert pixels.std() == 0 if kind == "constant" else (pixels == 255).mean() > 0.5
    else:
        with pytest.raises(HpaError, match=name):
            dataset.load(tmp_path)
            read_sample(tmp_path / "train", name)
    for other in set(images.CHANNELS) - {damage.channel}:
        path = images.channel_file(tmp_path / "train", name, other)
        assert image_files.read_channel(path, other).std() > 0


# Requests


@pytest.mark.parametrize(
    "options",
    [
        {"test_samples": -1},
        {"test_exposure": 0.0},
        {"test_exposure": float("nan")},
        {"near_duplicates": 0.6},
        {"near_duplicates": -0.1},
        {"corrupted_files": -1},
    ],
)
def test_impossible_variants_are_refused(options):
    [name] = options
    with pytest.raises(HpaError, match=f"{name} is"):
        Variants(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"near_duplicates": 0.01}, "no pair"),
        ({"corrupted_files": 11}, "can be damaged"),
        ({"near_duplicates": 0.5, "corrupted_files": 1}, "0 of 10 samples"),
    ],
)
def test_too_few_samples_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(HpaError, match=message):
        write_dataset(tmp_path / "new", 10, size=64, variants=Variants(**options))
    assert not (tmp_path / "new").exists()


def test_the_command_passes_its_options_on(tmp_path):
    command = ["data", "synth", str(tmp_path), "--samples", "8", "--size", "64", "--workers", "1"]
    options = ["--test-samples", "1", "--near-duplicates", "0.25", "--corrupted-files", "1"]
    assert cli.main([*command, *options]) == 0
    settings = json.loads((tmp_path / "synthetic.json").read_text())
    assert Variants(**{name: settings[name] for name in asdict(Variants())}) == Variants(
        test_samples=1, test_exposure=TEST_EXPOSURE, near_duplicates=0.25, corrupted_files=1
    )
    assert cli.main([*command, *options, "--test-exposure", "0.5"]) == 2, "other settings"
