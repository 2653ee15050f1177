import base64
import io
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpa_lib import co_errors, labels, metrics, plots, plots_errors, precision_recall
from hpa_lib.attribution import Attribution
from hpa_lib.co_errors import CoErrors
from hpa_lib.confident_errors import ConfidentErrors
from hpa_lib.explanations import Explanations
from hpa_lib.precision_recall import PrecisionRecall

RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((300, 28)) < 0.1).astype(np.uint8)
TRUTH[:, 10] = 0
TRUTH[:250, 0] = 1
PROBABILITY = {name: np.clip(TRUTH * 0.3 + RANDOM.random((300, 28)), 0, 1) for name in "ab"}
SAMPLES = tuple(RANDOM.integers(0, 90, (3, 20, 24, 4), np.uint8))


def curves():
    present = [name for name, has in zip(labels.CLASS_NAMES, TRUTH.any(axis=0), strict=True) if has]
    classes = {
        name: metrics.per_class(TRUTH, p, 0.6).loc[present] for name, p in PROBABILITY.items()
    }
    columns = [labels.CLASS_NAMES.index(name) for name in present]
    drawn = {
        (labels.CLASS_NAMES[column], name): precision_recall.curve(TRUTH[:, column], p[:, column])
        for column in columns
        for name, p in PROBABILITY.items()
    }
    return PrecisionRecall(drawn, classes, pd.Series(TRUTH[:, columns].mean(axis=0), present))


def confusions():
    truth = labels.to_multi_hot([(5,)] * 4 + [(0,)] * 2)
    given = labels.to_multi_hot([(2,)] * 3 + [()] + [(0,)] * 2)
    pairs = pd.DataFrame(
        {
            "count": 3.0, "misses": 4.0, "rate_beside": 0.75, "rate_elsewhere": 0.0,
            "estimate": 0.75, "low": 0.3, "high": 1.0,
        },
        index=pd.MultiIndex.from_tuples(
            [("a", "Nuclear bodies", "Nucleoli")], names=["network", "missed", "given"]
        ),
    )  # fmt: skip
    matrices = {"a": co_errors.matrix(truth, given), "b": co_errors.matrix(truth, truth)}
    return CoErrors(matrices, pairs, 0.95)


def errors(count=3):
    table = pd.DataFrame(
        {
            "Id": ["one", "two", "three"],
            "class": "Nucleoli",
            "error": ["falsely given", "falsely given", "missed"],
            "network": ["a", "b", "b"],
            "truth": "Cytosol, " * 20 + "Nucleoplasm",
            "a": "Nucleoli",
            "b": "(no class)",
        },
        index=pd.RangeIndex(1, 4, name="number"),
    )
    return ConfidentErrors(table.head(count), SAMPLES[:count], ("a", "b"))


def maps():
    cases = pd.DataFrame(
        {"class": ["Nucleoli", "Cytosol"], "truth": "Nucleoli", "right": [True, False]},
        index=pd.Index(["one", "two"], name="Id"),
    )
    given = RANDOM.normal(size=(2, 9, 9))
    explained = Attribution(given, np.array([1.5, -2.0]), np.array([0.0, 0.0]))
    flat = Attribution(0 * given, np.zeros(2), np.zeros(2))
    proteins = tuple(sample[..., 1] for sample in SAMPLES[:2])
    visible = dict.fromkeys("ab", np.ones((2, 9, 9), bool))
    return Explanations(cases, proteins, visible, {"a": explained, "b": flat}, {})


MAPS = maps()
VECTORS = {
    "precision_recall": lambda: plots_errors.precision_recall(curves()),
    "co_errors": lambda: plots_errors.co_errors(confusions()),
}
PIXELS = {
    "confident_errors": lambda: plots_errors.confident_errors(errors()),
    "no confident error": lambda: plots_errors.confident_errors(errors(0)),
    "explanations": lambda: plots_errors.explanations(MAPS),
}


@pytest.mark.parametrize("name", VECTORS | PIXELS)
def test_picture_has_texts_and_table_and_the_same_bytes_again(name):
    picture = (VECTORS | PIXELS)[name]()
    for text in (picture.alt, picture.caption):
        assert len(text) > 30
        assert "nan" not in text.lower().split()
    assert picture.table is not None
    data, metadata = picture.bundle()
    assert (data, metadata) == (VECTORS | PIXELS)[name]().bundle()
    if name in PIXELS:
        image = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
        assert image.width == round(plots.WIDTH * 110)
    else:
        root = ElementTree.fromstring(data["image/svg+xml"])
        assert root.findall(".//{http://www.w3.org/2000/svg}text"), "text is kept as text"


def test_each_class_with_a_positive_has_its_curves_share_and_thresholds():
    picture = plots_errors.precision_recall(curves())
    drawn = [panel for panel in picture.figure.axes if panel.lines]
    assert [panel.get_title().split(",")[0] for panel in drawn] == list(picture.table.index)
    share, curve, own = drawn[0].lines[:3]
    assert share.get_ydata()[0] == pytest.approx(TRUTH[:, 0].mean())
    assert len(curve.get_xdata()) == 100  # of 250 positives and more
    assert curve.get_xdata()[[0, -1]].tolist() == [0, 1]
    row = metrics.per_class(TRUTH, PROBABILITY["a"], 0.6).iloc[0]
    assert [own.get_xdata()[0], own.get_ydata()[0]] == [row["recall"], row["precision"]]
    assert f"\n{row['average_precision']:.2f} / " in drawn[0].get_title()


def test_rows_of_the_heat_map_share_out_the_misses():
    picture = plots_errors.co_errors(confusions())
    first, second = [axes for axes in picture.figure.axes if axes.get_title()]
    cells = first.collections[0].get_array()
    np.testing.assert_allclose(np.ma.filled(cells, np.nan), [[0.75, 0.25]])
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["Nuclear bodies (4)"]
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["Nucleoli", "nothing"]
    assert np.ma.count(second.collections[0].get_array()) == 0  # b has no miss
    assert "a: Nucleoli for Nuclear bodies, 3 of 4; b: no pair" in picture.alt


def test_each_error_shows_protein_and_reference_with_all_labels():
    picture = plots_errors.confident_errors(errors())
    drawn = [panel for panel in picture.figure.axes if panel.images]
    assert len(drawn) == 6
    title = drawn[4].get_title(loc="left").splitlines()
    assert title[0] == "3. Nucleoli missed by b"
    assert title[1].startswith("truth: Cytosol, Cytosol") and title[1].endswith("…")
    assert title[2:] == ["a: Nucleoli", "b: (no class)"]
    protein, reference = (panel.images[0].get_array() for panel in drawn[4:6])
    assert protein.max() == 255
    green_alone = np.zeros((20, 24, 4), np.uint8)
    green_alone[..., 1] = 200
    hidden = ConfidentErrors(errors(1).table, (green_alone,), ("a", "b"))
    shown = [p for p in plots_errors.confident_errors(hidden).figure.axes if p.images]
    assert shown[1].images[0].get_array().max() == 0
    assert reference.max() > 0
    assert "2 with a label falsely given and 1 with one missed" in picture.alt


def test_maps_have_symmetric_scales_and_stand_beside_the_protein():
    picture = plots_errors.explanations(MAPS)
    drawn = [panel.images[0] for panel in picture.figure.axes if panel.images]
    assert len(drawn) == 6
    low, high = drawn[1].get_clim()
    assert low == -high
    assert high == pytest.approx(np.abs(drawn[1].get_array()).max())
    texts = [panel.texts[0].get_text() for panel in picture.figure.axes if panel.texts]
    assert "explained: Cytosol" in texts[1]
    assert "a: −2.0" in texts[1]
    assert "Nucleoli in one, right; Cytosol in two, wrong" in picture.alt
