"""The page on scale holds what its script computes."""

import runpy

import pytest

from hpa_lib import costs, paths


@pytest.fixture(scope="module")
def model():
    """The benchmark's names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(paths.PROJECT_ROOT / "benchmarks"))
        return runpy.run_path(str(paths.PROJECT_ROOT / "benchmarks" / "scale_model.py"))


@pytest.fixture
def counted():
    """Networks whose training takes a thousand multiply-adds an image, and a prediction none."""
    cost = costs.NetworkCost(parameters=1000, forward=0, training=1000, image_bytes=0)
    return {"InceptionResNetV2": cost, "VGG16": cost}


def test_the_page_holds_what_the_script_computes(model):
    page = model["PAGE"].read_text(encoding="utf-8")
    assert model["inserted"](page, model["tables"]()) == page


def test_tables_go_between_their_markers_alone(model):
    page = "a\n<!-- time -->\nold\n<!-- end of time -->\nb"
    new = model["inserted"](page, {"time": r"| \1 |"})
    assert new == "a\n<!-- time -->\n| \\1 |\n<!-- end of time -->\nb"
    with pytest.raises(ValueError, match="0 places for the table disk"):
        model["inserted"](page, {"disk": ""})


def test_hours_by_hand(model, counted):
    rate = 358.54 * 3 * 13.18e9 * 2616 / 905  # of the RTX 3090, times ResNet-50 on both
    by_hand = 40 * 0.6 * 5000 * 1000 / rate / 3600
    hours = model["training_hours"]("InceptionResNetV2", 5000, counted)
    assert hours == pytest.approx(by_hand)
    eight = model["training_hours"]("InceptionResNetV2", 5000, counted, 8)
    assert by_hand / eight == pytest.approx(20_728 / 2_616)


def test_a_sweep_shares_out_its_members(model, counted):
    one, other = (model["training_hours"](name, 5000, counted) for name in model["NETWORKS"])
    hours = {gpus: model["sweep_hours"](5000, counted, gpus) for gpus in (1, 2, 30, 64)}
    assert hours[1] == pytest.approx(15 * (one + other))
    assert hours[2] == pytest.approx(hours[1] / 2, rel=0.05)
    assert hours[30] == hours[64] == max(one, other)


@pytest.mark.parametrize(
    ("hours", "factor", "text"),
    [(0.01, 1, "36 s"), (0.5, 2, "30–60 min"), (1.26, 2, "1.3–2.5 h"), (96, 1, "4.0 days")],
)
def test_times_are_written_in_a_fitting_unit(model, hours, factor, text):
    assert model["span"](hours, factor) == text
