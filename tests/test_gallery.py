"""The gallery of patterns: descriptions, page and figures."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from hpa_lib import cli, gallery, labels, paths
from hpa_lib.pattern_descriptions import PATTERN_DESCRIPTIONS
from hpa_lib.synthetic_images import draw_sample

DOCS = paths.PROJECT_ROOT / "docs"
FIGURES = re.compile(r"^!\[([^\]]+)\]\(([^)]+)\)$", re.MULTILINE)


def test_every_class_is_described_once_and_in_order():
    assert tuple(PATTERN_DESCRIPTIONS) == labels.CLASS_NAMES
    assert len({one.seen for one in PATTERN_DESCRIPTIONS.values()}) == labels.CLASS_COUNT


@pytest.mark.parametrize("name", labels.CLASS_NAMES)
def test_a_description_names_what_the_pattern_is_mistaken_for(name):
    described = PATTERN_DESCRIPTIONS[name]
    others = [other for other in labels.CLASS_NAMES if other != name]
    named = [other for other in others if other in described.distinguished]
    assert named or "landmark" in described.distinguished
    for sentence in (described.seen, described.distinguished):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
    assert described.source.address.startswith("https://")


def test_the_committed_page_is_what_the_command_writes():
    assert (DOCS / gallery.PAGE).read_text(encoding="utf-8") == gallery.page()


def test_the_page_shows_a_described_figure_of_every_class():
    figures = FIGURES.findall((DOCS / gallery.PAGE).read_text(encoding="utf-8"))
    assert len(figures) == labels.CLASS_COUNT
    total = 0
    for name, (alternative, file) in zip(labels.CLASS_NAMES, figures, strict=True):
        assert alternative.startswith(f"{name}, synthetic. ")
        total += (DOCS / file).stat().st_size
        with Image.open(DOCS / file) as figure:
            width, height = figure.size
            assert width == 2 * height
            assert 160 <= height <= 256
            assert np.asarray(figure).std() > 5
    assert total < 1_000_000
    assert {path.name for path in (DOCS / gallery.FIGURES).iterdir()} == {
        file.rpartition("/")[2] for _, file in figures
    }


def test_a_crop_shows_more_of_the_protein_than_the_field_does():
    for name in ("Golgi apparatus", "Cytokinetic bridge", "Mitotic spindle"):
        index = labels.CLASS_NAMES.index(name)
        crop = gallery.crop(index, 512)
        assert crop.shape == (128, 128, 4)
        field = draw_sample((index,), gallery._SEED, index, 512)
        bright = 0.6 * cv2.GaussianBlur(field[..., 1], (0, 0), 2).max()
        shares = [
            (cv2.GaussianBlur(one[..., 1], (0, 0), 2) > bright).mean() for one in (crop, field)
        ]
        assert shares[0] > shares[1]


def test_picture_puts_the_protein_before_the_landmarks():
    sample = np.zeros((16, 16, 4), np.uint8)
    sample[:8, :, 1] = 40
    sample[8:, :, [0, 2]] = 200
    picture = gallery.picture(sample)
    assert (picture[:8] == (0, 255, 0)).all()
    red, green, blue = picture[12, 4].tolist()
    assert green == 0
    assert 0 < red < 128
    assert 0 < blue < 160


def test_the_command_writes_page_and_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "_PAGE_FIELD_PIXELS", 256)
    assert cli.main(["data", "gallery", str(tmp_path / "docs")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "docs" / gallery.PAGE)
    assert (tmp_path / "docs" / gallery.PAGE).read_text(encoding="utf-8") == gallery.page()
    assert all((tmp_path / "docs" / gallery.figure_file(index)).exists() for index in range(28))
    (tmp_path / "file").write_text("")
    assert cli.main(["data", "gallery", str(tmp_path / "file")]) == 2


def test_table_and_pictures_follow_the_order_of_the_classes():
    table = gallery.table()
    assert tuple(table.index) == labels.CLASS_NAMES
    assert table.loc["Centrosome", "seen"] == PATTERN_DESCRIPTIONS["Centrosome"].seen
    assert sum(1 for _ in gallery.pictures(256)) == labels.CLASS_COUNT
