import numpy as np
import pytest
from report_site import Page, write_run

from hpa_lib import reports
from hpa_lib.report_curves import learning_curves
from hpa_lib.report_runs import read_runs


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs", tmp_path / "reports"


def test_learning_curves_share_axes_and_are_told_in_words(folders):
    runs, reports_folder = folders
    write_run(runs)
    flat = {"epoch": [1, 2], "loss": [0.2, 0.2], "val_loss": [float("nan"), 0.02]}
    write_run(runs, "flat", history=flat)
    write_run(runs, "untrained", history={"note": ["no numbers"]})
    curves = {entry["run"].name: entry for entry in learning_curves(read_runs(runs))}
    assert sorted(curves) == ["20261123-train", "flat"]
    loss, f1 = curves["20261123-train"]["panels"]
    assert f1["text"] == (
        "Macro F1: validation rises from 0.100 to 0.250 over 3 epochs, best 0.400 at epoch 2."
    )
    # F1 runs from 0 at the bottom (84) to 0.4 at the top (8): 0.1, 0.4 and 0.25 by hand.
    assert f1["lines"] == {"validation": "34.0,65.0 134.0,8.0 234.0,36.5"}
    # The stage changes between the second and the third of three epochs.
    assert f1["stages"] == [184.0]
    assert loss["ticks"] == curves["flat"]["panels"][0]["ticks"]
    assert "validation 0.020 at epoch 2" in curves["flat"]["panels"][0]["text"]
    reports.publish(runs, reports_folder)
    charts = [
        a
        for a in Page((reports_folder / "index.html").read_text()).all("svg")
        if a.get("role") == "img"
    ]
    assert len(charts) == 3
    assert all(chart["aria-label"] for chart in charts)


def test_long_histories_are_thinned_but_keep_their_ends(folders):
    runs, _ = folders
    values = np.linspace(0, 1, 2000)
    write_run(runs, history={"epoch": range(1, 2001), "val_macro_f1": values})
    (entry,) = learning_curves(read_runs(runs))
    points = entry["panels"][0]["lines"]["validation"].split()
    assert len(points) <= 122
    assert (points[0], points[-1]) == ("34.0,84.0", "234.0,8.0")


def test_the_history_of_a_training_run_shows_loss_and_macro_f1(folders):
    runs, _ = folders
    measured = ("loss", "binary_accuracy", "batch_averaged_f1")
    columns = [*measured, *(f"val_{name}" for name in (*measured, "micro_f1", "macro_f1"))]
    history = {"epoch": [1, 2], "stage": ["stage 1", "stage 2"], "learning_rate": [1e-3, 1e-4]}
    write_run(runs, history=history | {name: [0.4, 0.5] for name in columns})
    (entry,) = learning_curves(read_runs(runs))
    panels = {panel["label"]: panel for panel in entry["panels"]}
    assert {label: sorted(panel["lines"]) for label, panel in panels.items()} == {
        "Loss": ["training", "validation"],
        "Macro F1": ["validation"],
    }
    assert panels["Macro F1"]["text"] == (
        "Macro F1: validation rises from 0.400 to 0.500 over 2 epochs, best 0.500 at epoch 2."
    )
    assert panels["Loss"]["stages"] == [134.0]


@pytest.mark.parametrize("text", ["", "epoch,loss\n", "epoch,loss\n1\n", "\0\xff"])
def test_a_damaged_history_draws_nothing(folders, text):
    runs, _ = folders
    (write_run(runs) / "history.csv").write_text(text, encoding="latin-1")
    assert learning_curves(read_runs(runs)) == []
