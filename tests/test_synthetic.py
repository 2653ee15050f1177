"""The folder that the embedded synthetic dataset is written to."""

import json
import subprocess
import sys
import uuid

import numpy as np
import pytest
from PIL import Image

from hpa_lib import synthetic
from hpa_lib.errors import HpaError
from hpa_lib.synthetic import sample_id, write_dataset
from hpa_lib.synthetic_images import draw_sample
from hpa_lib.synthetic_labels import draw_label_sets
from hpa_lib.synthetic_variants import Variants, draw


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".synthetic.lock"
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    assert write_dataset(folder, 10, 2, size=64, workers=1, progress=False) == folder
    return folder


def test_the_folder_has_the_kaggle_layout(written):
    header, *rows = (written / "train.csv").read_text().splitlines()
    assert header == "Id,Target"
    ids, targets = zip(*(row.split(",") for row in rows), strict=True)
    assert list(ids) == sorted(ids)
    assert set(ids) == {sample_id(2, index) for index in range(10)}
    assert all(str(uuid.UUID(sample)) == sample for sample in ids)
    by_id = dict(zip(ids, targets, strict=True))
    for index, labels in enumerate(draw_label_sets(10, 2)):
        assert tuple(map(int, by_id[sample_id(2, index)].split())) == labels
    assert {path.name for path in (written / "train").iterdir()} == {
        f"{sample}_{channel}.png"
        for sample in ids
        for channel in ("red", "green", "blue", "yellow")
    }


def test_the_images_are_those_of_draw_sample(written):
    labels = draw_label_sets(10, 2)[3]
    sample = draw_sample(labels, 2, 3, size=64)
    for channel, name in enumerate(("red", "green", "blue", "yellow")):
        with Image.open(written / "train" / f"{sample_id(2, 3)}_{name}.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (64, 64))
            np.testing.assert_array_equal(np.asarray(image), sample[..., channel])


def test_images_have_512_pixels_by_default(tmp_path):
    write_dataset(tmp_path, 1, progress=False)
    for path in (tmp_path / "train").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (512, 512))


def test_the_number_of_processes_changes_nothing(written, tmp_path):
    write_dataset(tmp_path / "other", 10, 2, size=64, workers=2, progress=False)
    assert contents(tmp_path / "other") == contents(written)


def test_an_interrupted_folder_is_resumed(written, tmp_path, monkeypatch):
    drawn = []

    def failing(sample, *settings):
        if len(drawn) == 4:
            raise KeyboardInterrupt
        drawn.append(sample.index)
        return draw(sample, *settings)

    monkeypatch.setattr(synthetic, "draw", failing)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, 10, 2, size=64, workers=1, progress=False)
    assert not (tmp_path / "train.csv").exists()
    assert len(list((tmp_path / "train").iterdir())) == 16
    # One image is missing and another was being written.
    (tmp_path / "train" / f"{sample_id(2, drawn[0])}_blue.png").unlink()
    (tmp_path / "train" / f"{sample_id(2, 4)}_red.part").write_bytes(b"\x89PNG")
    first, drawn = drawn, []

    def counting(sample, *settings):
        drawn.append(sample.index)
        return draw(sample, *settings)

    monkeypatch.setattr(synthetic, "draw", counting)
    write_dataset(tmp_path, 10, 2, size=64, workers=1, progress=False)
    assert sorted(drawn) == sorted({*range(10)} - {*first[1:]})
    assert contents(tmp_path) == contents(written)


def test_a_finished_folder_is_left_alone(written, monkeypatch):
    def forbidden(*_):
        raise AssertionError

    before = contents(written)
    monkeypatch.setattr(synthetic, "draw", forbidden)
    write_dataset(written, 10, 2, size=64, workers=1, progress=False)
    assert contents(written) == before


@pytest.mark.parametrize(
    ("samples", "seed", "options"),
    [
        (11, 2, {}),
        (10, 3, {}),
        (10, 2, {"size": 128}),
        (10, 2, {"balance": True}),
        (10, 2, {"variants": Variants(test_samples=1)}),
        (10, 2, {"variants": Variants(test_exposure=0.5)}),
        (10, 2, {"variants": Variants(near_duplicates=0.1)}),
        (10, 2, {"variants": Variants(corrupted_files=1)}),
    ],
)
def test_other_settings_are_refused(written, samples, seed, options):
    before = contents(written)
    with pytest.raises(HpaError, match="other settings"):
        write_dataset(written, samples, seed, **({"size": 64, "progress": False} | options))
    assert contents(written) == before


def test_another_generator_version_is_refused(written, monkeypatch):
    monkeypatch.setattr(synthetic, "GENERATOR_VERSION", synthetic.GENERATOR_VERSION + 1)
    with pytest.raises(HpaError, match="other settings"):
        write_dataset(written, 10, 2, size=64, progress=False)


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HpaError, match="no synthetic dataset"):
        write_dataset(tmp_path, 1, size=64, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(HpaError, match="is a file"):
        write_dataset(tmp_path / "thesis.txt", 1, size=64, progress=False)


def test_foreign_images_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x_red.png").write_bytes(b"")
    with pytest.raises(HpaError, match="no synthetic dataset"):
        write_dataset(tmp_path, 1, size=64, progress=False)


@pytest.mark.parametrize("options", [{"size": 63}, {"workers": 0}])
def test_impossible_options_are_refused(tmp_path, options):
    with pytest.raises(HpaError):
        write_dataset(tmp_path / "new", 1, **options)
    assert not (tmp_path / "new").exists()


def test_synthetic_data_are_known_as_such(written, tiny_dataset):
    assert synthetic.is_synthetic(written)
    assert not synthetic.is_synthetic(tiny_dataset)


def test_settings_are_recorded(written):
    assert json.loads((written / "synthetic.json").read_text()) == {
        "samples": 10,
        "seed": 2,
        "size": 64,
        "micrometres": 164.0,
        "balance": False,
        "test_samples": 0,
        "test_exposure": 0.75,
        "near_duplicates": 0.0,
        "corrupted_files": 0,
        "generator_version": synthetic.GENERATOR_VERSION,
    }


def test_workers_do_not_load_tensorflow():
    code = "import sys, hpa_lib.synthetic; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
