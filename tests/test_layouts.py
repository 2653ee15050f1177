import shutil

import cv2
import numpy as np
import pytest

from hpa_lib import dataset, layouts
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS


def refusal(folder):
    """Message of the one error that opening the folder gives."""
    with pytest.raises(HpaError) as caught:
        dataset.load(folder)
    assert caught.value.remedy.endswith(".")
    return caught.value.problem


def write_images(folder, stem, ending=".png", value=7):
    folder.mkdir(parents=True, exist_ok=True)
    for channel in CHANNELS:
        cv2.imwrite(str(folder / f"{stem}_{channel}{ending}"), np.full((8, 8), value, np.uint8))


def moved(folder, source, target):
    for path in (folder / source).iterdir():
        path.rename(folder / target / path.name)
    (folder / source).rmdir()


def test_flat_folder_with_a_table_of_any_name_is_the_same_dataset(tiny_dataset):
    fingerprint = dataset.load(tiny_dataset).fingerprint
    moved(tiny_dataset, "train", ".")
    (tiny_dataset / "train.csv").rename(tiny_dataset / "labels.csv")
    (tiny_dataset / "notes.csv").write_text("Id,remark\nsample-00,dim\n")
    flat = dataset.load(tiny_dataset)
    assert flat.fingerprint == fingerprint
    assert flat.patterns[3] == "sample-03_*.png"


@pytest.mark.parametrize("name", ["images", "train_full_size"])
def test_other_names_of_the_image_folder(tiny_dataset, name):
    (tiny_dataset / "train").rename(tiny_dataset / name)
    assert dataset.load(tiny_dataset).paths(0)[2].parent == tiny_dataset / name


def test_samples_of_several_formats_and_sources(tmp_path):
    write_images(tmp_path / "train", "a", ".png", 1)
    write_images(tmp_path / "train", "b", ".tif", 2)
    write_images(tmp_path / "atlas", "89_B5_1", ".jpg", 3)
    write_images(tmp_path / "atlas", "1_2_C3_4_cr57d81acbe63b0", ".jpg", 4)
    rows = "a,0,kaggle\nb,1,kaggle\n11088_89_B5_1,6,atlas\n1_2_C3_4_cr57d81acbe63b0,6,atlas\n"
    (tmp_path / "train.csv").write_text("Id,Target,source\n" + rows)
    joined = dataset.load(tmp_path)
    assert joined.patterns == (
        "train/a_*.png",
        "train/b_*.tif",
        "atlas/89_B5_1_*.jpg",
        "atlas/1_2_C3_4_cr57d81acbe63b0_*.jpg",
    )
    means = [joined.read_sample(row).mean() for row in range(4)]
    np.testing.assert_allclose(means, [1, 2, 3, 4], atol=1)


def test_two_ids_of_the_same_files_are_refused(tmp_path):
    write_images(tmp_path, "89_B5_1", ".jpg")
    (tmp_path / "labels.csv").write_text("Id,Target\n11088_89_B5_1,6\n11089_89_B5_1,6\n")
    problem = refusal(tmp_path)
    assert "11088_89_B5_1 and 11089_89_B5_1" in problem
    assert "89_B5_1_*.jpg" in problem


@pytest.mark.parametrize("second", ["train/sample-02_*.tif", "train_full_size/sample-02_*.png"])
def test_two_kinds_of_files_of_one_sample_are_refused(tiny_dataset, second):
    path = tiny_dataset / second.replace("*", "red")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    problem = refusal(tiny_dataset)
    assert "sample-02" in problem
    assert "train/sample-02_*.png" in problem
    assert second in problem


def test_several_label_tables_are_refused(tiny_dataset):
    (tiny_dataset / "train.csv").rename(tiny_dataset / "one.csv")
    shutil.copy(tiny_dataset / "one.csv", tiny_dataset / "two.csv")
    assert "one.csv, two.csv" in refusal(tiny_dataset)


def test_folder_with_archives_says_how_to_unpack_them(tmp_path):
    (tmp_path / "train.zip").write_bytes(b"")
    with pytest.raises(HpaError, match=r"hpa data unpack train\.zip"):
        dataset.load(tmp_path)


@pytest.mark.parametrize("name", ["train.csv", "train", "train/sample-04_green.png"])
def test_links_that_lead_out_are_refused_by_name(tiny_dataset, tmp_path, name):
    outside = tmp_path / "outside"
    (tiny_dataset / name).rename(outside)
    (tiny_dataset / name).symlink_to(outside)
    problem = refusal(tiny_dataset)
    assert str(tiny_dataset / name) in problem
    assert "link that leads out" in problem


def test_links_inside_the_folder_and_to_the_folder_are_followed(tiny_dataset, tmp_path):
    fingerprint = dataset.load(tiny_dataset).fingerprint
    image = tiny_dataset / "train" / "sample-04_green.png"
    image.rename(tiny_dataset / "other.png")
    image.symlink_to(tiny_dataset / "other.png")
    (tmp_path / "link").symlink_to(tiny_dataset)
    assert dataset.load(tmp_path / "link").fingerprint == fingerprint


@pytest.mark.parametrize("place", ["", "test", "images"])
def test_images_without_a_table_are_samples_in_alphabetical_order(tmp_path, place):
    for stem in ("b 2", "a", "._a", "89_B5_1"):
        write_images(tmp_path / place, stem, ".tif", len(stem))
    (tmp_path / "sample_submission.csv").write_text("Id,Predicted\na,0\n")
    opened = dataset.load_images(tmp_path)
    assert opened.ids == ("89_B5_1", "a", "b 2")
    assert opened.label_sets == ((), (), ())
    assert opened.paths(2)[1] == tmp_path / place / "b 2_green.tif"
    assert opened.read_sample(2).max() == 3
    assert dataset.load_images(tmp_path, ["a"]).ids == ("89_B5_1", "b 2")


def test_images_with_a_table_are_those_of_the_table(tiny_dataset):
    write_images(tiny_dataset / "test", "other")
    assert dataset.load_images(tiny_dataset) == dataset.load(tiny_dataset)


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        ("nothing", "holds no image"),
        ("archive", r"archives: test\.zip"),
        ("channel", r"1 of 8 image files are missing; the first is .*test/b_blue\.png"),
        ("two places", "several places: .*test, .*images"),
        ("two kinds", "files of two kinds"),
        ("star", r"'x\*'"),
        ("link", "a_green.png is a link that leads out"),
        ("folder link", "test is a link that leads out"),
        ("truncated", "a_red.png"),
    ],
)
def test_images_without_a_table_that_are_refused(tmp_path, mistake, problem):
    folder, outside = tmp_path / "given", tmp_path / "outside"
    folder.mkdir()
    if mistake == "archive":
        (folder / "test.zip").write_bytes(b"")
    elif mistake != "nothing":
        write_images(folder / "test", "a")
        write_images(folder / "test", "b")
    red, green = (folder / "test" / f"a_{channel}.png" for channel in ("red", "green"))
    if mistake == "channel":
        (folder / "test" / "b_blue.png").unlink()
    elif mistake == "two places":
        write_images(folder / "images", "c")
    elif mistake == "two kinds":
        write_images(folder / "test", "a", ".jpg")
    elif mistake == "star":
        write_images(folder / "test", "x*")
    elif mistake == "link":
        green.rename(outside)
        green.symlink_to(outside)
    elif mistake == "folder link":
        (folder / "test").rename(outside)
        (folder / "test").symlink_to(outside)
    elif mistake == "truncated":
        red.write_bytes(red.read_bytes()[:-9])
    with pytest.raises(HpaError, match=problem):
        dataset.load_images(folder)


@pytest.mark.parametrize(("given", "problem"), [(["c"], "'c'"), (["a", "b"], "all samples")])
def test_images_to_leave_out_must_be_some_of_those_there(tmp_path, given, problem):
    write_images(tmp_path, "a")
    write_images(tmp_path, "b")
    with pytest.raises(HpaError, match=problem):
        dataset.load_images(tmp_path, given)


def test_data_path_leaves_paths_alone(tmp_path):
    assert str(layouts.data_path("some/folder", tmp_path)) == "some/folder"


@pytest.mark.parametrize(
    "place",
    [
        f"kaggle/input/{layouts.COMPETITION}",
        f"kaggle/input/competitions/{layouts.COMPETITION}",
        "kaggle/input/a-copy",
    ],
)
def test_competition_is_found_where_kaggle_puts_it(tmp_path, place):
    (tmp_path / "kaggle/input/weights").mkdir(parents=True)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "train.csv").write_text("Id,Target\na,0\n")
    assert layouts.data_path("kaggle", tmp_path) == tmp_path / place


def test_competition_is_found_in_the_client_s_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    folder = tmp_path / "home/somebody/.cache/kagglehub/competitions" / layouts.COMPETITION
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("Id,Target\na,0\n")
    assert layouts.data_path("kaggle", tmp_path) == folder


def attach(root, name, header="Id,Target"):
    """Give a Kaggle machine an input folder with a train.csv."""
    folder = root / "kaggle/input" / name
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text(f"{header}\na,0\n")
    return folder


def kaggle_refusal(root):
    with pytest.raises(HpaError) as caught:
        layouts.data_path("kaggle", root)
    assert caught.value.remedy.endswith(" in data.")
    return caught.value.problem


def test_competition_has_precedence_over_other_inputs(tmp_path):
    attach(tmp_path, "a-copy")
    attach(tmp_path, "another")
    official = attach(tmp_path, layouts.COMPETITION)
    assert layouts.data_path("kaggle", tmp_path) == official


def test_inputs_of_other_competitions_do_not_fit(tmp_path):
    attach(tmp_path, "titanic", "PassengerId,Survived")
    attach(tmp_path, layouts.COMPETITION, "Id,Predicted")
    assert "holds a train.csv with the columns Id and Target" in kaggle_refusal(tmp_path)
    copy = attach(tmp_path, "a-copy", "Target,note,Id")
    assert layouts.data_path("kaggle", tmp_path) == copy


@pytest.mark.parametrize(
    "names", [("one", "two"), (layouts.COMPETITION, f"competitions/{layouts.COMPETITION}")]
)
def test_several_inputs_that_fit_are_listed(tmp_path, names):
    first, second = (attach(tmp_path, name) for name in names)
    assert f"several folders fit: {first}, {second}." in kaggle_refusal(tmp_path)


def test_two_names_of_one_input_are_one(tmp_path):
    official = attach(tmp_path, layouts.COMPETITION)
    (tmp_path / "kaggle/input/competitions").mkdir()
    (tmp_path / "kaggle/input/competitions" / layouts.COMPETITION).symlink_to(official)
    assert layouts.data_path("kaggle", tmp_path) == official
