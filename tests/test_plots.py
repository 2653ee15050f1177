import base64
import io
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpa_lib import calibration, labels, metrics, plots

RANDOM = np.random.default_rng(0)
MULTI_HOT = np.zeros((60, 28), np.uint8)
MULTI_HOT[:, 0] = 1
MULTI_HOT[:20, 25] = 1
MULTI_HOT[:5, 7] = 1
PROBABILITY = RANDOM.random((60, 28))
SAMPLE = RANDOM.integers(0, 256, (24, 24, 4), np.uint8)
PHOTOGRAPHS = [RANDOM.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(7)]
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "stage": ["stage 1", "stage 1", "stage 2"],
        "loss": [0.9, 0.5, 0.25],
        "binary_accuracy": [0.8, 0.9, 0.95],
        "batch_averaged_f1": [0.1, 0.2, 0.3],
        "val_loss": [90.5, 0.6, 0.4],
        "val_binary_accuracy": [0.7, 0.8, 0.9],
        "val_batch_averaged_f1": [0.0, 0.1, 0.2],
    }
)
STATISTICS = pd.DataFrame(
    {"mean": [0.08, 0.05, 0.06, 0.09], "standard deviation": [0.1, 0.1, 0.2, 0.1]},
    index=pd.Index(["red", "green", "blue", "yellow"], name="channel"),
)
COUNTS = pd.DataFrame(
    {"training": [6, 0, 3], "report": [4, 0, 0]}, index=["Nucleoli", "Cytosol", "Endosomes"]
)
INTERVALS = pd.DataFrame(
    {
        "name": ["macro F1", "micro F1"],
        "series": ["a", "b"],
        "estimate": [0.1, 0.2],
        "low": [-0.1, 0.1],
        "high": [0.3, 0.4],
    }
)


def per_class(threshold=0.5):
    return metrics.per_class(MULTI_HOT, PROBABILITY, threshold)


def reliability(*temperatures):
    """Table of random probabilities before scaling, and after for each temperature given."""
    tables = {"before scaling": calibration.reliability(MULTI_HOT, PROBABILITY)}
    for temperature in temperatures:
        after = calibration.scaled(PROBABILITY, temperature)
        tables["after scaling"] = calibration.reliability(MULTI_HOT, after)
    return pd.concat(tables, names=["scaling"])


VECTORS = {
    "class_counts": lambda: plots.class_counts(MULTI_HOT),
    "labels_per_sample": lambda: plots.labels_per_sample(MULTI_HOT),
    "co_occurrence": lambda: plots.co_occurrence(MULTI_HOT),
    "channel_statistics": lambda: plots.channel_statistics(STATISTICS),
    "split_counts": lambda: plots.split_counts(COUNTS),
    "curves": lambda: plots.curves({"VGG16": HISTORY}),
    "curves of two": lambda: plots.curves({"a": HISTORY, "b": HISTORY}),
    "per_class_f1": lambda: plots.per_class_f1({"VGG16": per_class()}),
    "per_class_f1 of two": lambda: plots.per_class_f1({"a": per_class(), "b": per_class(0.8)}),
    "intervals": lambda: plots.intervals(INTERVALS, "difference"),
    "intervals of one": lambda: plots.intervals(INTERVALS.assign(series="a"), "F1"),
    "confusion_counts": lambda: plots.confusion_counts({"a": per_class(), "b": per_class(0.8)}),
    "reliability": lambda: plots.reliability({"a": reliability(3), "b": reliability(1)}),
    "reliability of one": lambda: plots.reliability({"a": reliability()}),
}
PIXELS = {
    "channels": lambda: plots.channels(SAMPLE, "Sample abc: Nucleoli"),
    "image_grid": lambda: plots.image_grid(PHOTOGRAPHS, list("abcdefg"), 4, "Seven images."),
    "one image": lambda: plots.image_grid(PHOTOGRAPHS[:1], ["a"], 1, "One image."),
    "training_images": lambda: plots.training_images(PHOTOGRAPHS),
}
PICTURES = VECTORS | PIXELS


@pytest.mark.parametrize("name", PICTURES)
def test_picture_says_what_it_shows(name):
    picture = PICTURES[name]()
    for text in (picture.alt, picture.caption):
        assert len(text) > 1
        assert "nan" not in text.lower().split()
    assert len(picture.alt) > 30
    assert (picture.table is None) == picture.photograph == (name in PIXELS)
    if picture.table is not None:
        assert len(picture.table)


@pytest.mark.parametrize("name", VECTORS)
def test_vector_bundle_is_svg_with_its_texts(name):
    picture = PICTURES[name]()
    data, metadata = picture.bundle()
    root = ElementTree.fromstring(data["image/svg+xml"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.findall(".//{http://www.w3.org/2000/svg}text"), "text is kept as text"
    assert data["text/plain"] == picture.alt
    assert metadata == {"image/svg+xml": {"alt": picture.alt, "caption": picture.caption}}


@pytest.mark.parametrize("name", PIXELS)
def test_pixel_bundle_is_jpeg_with_its_texts(name):
    picture = PICTURES[name]()
    data, metadata = picture.bundle()
    image = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
    image.load()
    assert image.format == "JPEG"
    assert image.width == round(plots.WIDTH * 110)
    assert data["text/plain"] == picture.alt
    assert metadata == {"image/jpeg": {"alt": picture.alt, "caption": picture.caption}}


@pytest.mark.parametrize("name", PICTURES)
def test_same_values_give_the_same_bytes(name):
    assert PICTURES[name]().bundle() == PICTURES[name]().bundle()


def test_shown_in_a_notebook_as_picture_and_table(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda value, **options: shown.append((value, options)))
    picture = plots.class_counts(MULTI_HOT)
    picture._ipython_display_()
    data, metadata = plots.class_counts(MULTI_HOT).bundle()
    assert shown[0] == (data, {"metadata": metadata, "raw": True})
    assert shown[1][0] is picture.table
    shown.clear()
    plots.channels(SAMPLE, "A sample")._ipython_display_()
    assert len(shown) == 1


def test_class_counts_are_sorted_and_told():
    picture = plots.class_counts(MULTI_HOT)
    assert picture.table.head(3).to_dict("index") == {
        "Nucleoplasm": {"samples": 60, "share": 1.0},
        "Cytosol": {"samples": 20, "share": pytest.approx(1 / 3)},
        "Golgi apparatus": {"samples": 5, "share": pytest.approx(5 / 60)},
    }
    assert "Nucleoplasm with 60" in picture.alt
    assert "25 classes have no sample" in picture.caption


def test_labels_per_sample_are_counted():
    picture = plots.labels_per_sample(MULTI_HOT)
    assert picture.table["samples"].tolist() == [0, 40, 15, 5]
    assert "most have 1" in picture.alt
    assert "1.42 on average" in picture.caption  # 85 labels of 60 samples


def test_co_occurrence_lists_the_commonest_pairs():
    table = plots.co_occurrence(MULTI_HOT).table
    assert table.head(3).to_numpy().tolist() == [
        ["Nucleoplasm", "Cytosol", 20],
        ["Nucleoplasm", "Golgi apparatus", 5],
        ["Golgi apparatus", "Cytosol", 5],
    ]
    assert len(table) == 10


def test_curves_tell_first_and_last_loss_and_show_extremes_on_a_logarithmic_axis():
    picture = plots.curves({"VGG16": HISTORY})
    assert "training loss from 0.900 to 0.250, validation loss from 90.500 to 0.400" in picture.alt
    axes = picture.figure.axes
    assert [panel.get_title() for panel in axes] == [
        "loss", "binary accuracy", "batch-averaged F1",
    ]  # fmt: skip
    assert [panel.get_yscale() for panel in axes] == ["log", "linear", "linear"]
    assert [2.5, 2.5] in [list(line.get_xdata()) for line in axes[0].lines]  # the next stage
    assert picture.table.loc[("VGG16", 3), "val_loss"] == 0.4


def test_split_counts_draw_shares_of_each_class():
    picture = plots.split_counts(COUNTS)
    widths = [bar.get_width() for bar in picture.figure.axes[0].patches]
    assert widths == pytest.approx([0.6, 0, 1, 0.4, 0, 0])
    assert "1 in training, 2 in report" in picture.alt


def test_per_class_f1_names_the_best_class():
    tables = {"a": per_class(), "b": per_class(0.8)}
    picture = plots.per_class_f1(tables)
    assert f"a: highest {tables['a']['f1'].max():.2f} for Nucleoplasm" in picture.alt
    assert list(picture.table.columns) == ["positives", "a", "b"]
    assert list(picture.table.index) == list(labels.CLASS_NAMES)


def test_intervals_tell_every_value_and_mark_zero():
    picture = plots.intervals(INTERVALS, "difference")
    assert "macro F1, a: 0.100 (-0.100 to 0.300)" in picture.alt
    assert "micro F1, b: 0.200 (0.100 to 0.400)" in picture.alt
    assert any(list(line.get_xdata()) == [0, 0] for line in picture.figure.axes[0].lines)


def test_confusion_counts_add_up_to_all_decisions():
    picture = plots.confusion_counts({"a": per_class(), "b": per_class(0.8)})
    assert picture.table.sum().tolist() == [60 * 28] * 2
    given = int((PROBABILITY >= 0.5)[MULTI_HOT == 1].sum())
    assert picture.table.loc["true positives", "a"] == given
    assert f"a: {given} true positives" in picture.alt


def test_reliability_tells_the_trend_and_draws_every_bin():
    """Random probabilities of rare labels are too high in all bins but the lowest."""
    picture = plots.reliability({"a": reliability(3), "b": reliability()})
    table = picture.table.xs(("a", "before scaling"), level=("network", "scaling"))
    above = int((table["mean probability"] > table["high"]).sum())
    error = calibration.expected_calibration_error(MULTI_HOT, PROBABILITY)
    assert above >= 8
    trend = f"too high in {above} and too low in 0 of 10 bins, the mean distance over entries is"
    assert f"a, before scaling: probabilities {trend} {error:.4f}; a, after scaling" in picture.alt
    assert table["entries"].sum() == MULTI_HOT.size
    first, second, counts, _ = picture.figure.axes
    assert [first.get_title(), second.get_title()] == ["a", "b"]
    assert [len(panel.containers) for panel in (first, second)] == [2, 1]
    assert [bar.get_height() for bar in counts.containers[0]] == table["entries"].tolist()
    points = first.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(points, table[["mean probability", "observed share"]])


def test_image_grid_draws_exactly_the_images_given():
    picture = plots.image_grid(PHOTOGRAPHS, list("abcdefg"), 4, "Seven images.")
    drawn = [panel for panel in picture.figure.axes if panel.images]
    assert len(drawn) == 7
    assert [panel.get_title() for panel in drawn] == list("abcdefg")
    assert "7 images in 2 rows of 4" in picture.alt


def test_image_grid_wants_a_title_for_each_image():
    with pytest.raises(ValueError, match="shorter"):
        plots.image_grid(PHOTOGRAPHS, list("abcdef"), 4, "Seven images.")
    picture = plots.image_grid(PHOTOGRAPHS, list("abcdefgh"), 4, "Seven images.")
    assert [panel.get_title() for panel in picture.figure.axes if panel.images] == list("abcdefg")


def test_channels_tell_their_brightness():
    picture = plots.channels(SAMPLE, "Sample abc")
    assert "Sample abc" in picture.alt
    assert f"red {SAMPLE[..., 0].mean() / 255:.3f}" in picture.alt
    titles = [panel.get_title() for panel in picture.figure.axes]
    assert titles[1] == "green\nprotein of interest"
    assert len(titles) == 5
