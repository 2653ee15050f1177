import pytest
from report_site import Page, write_run

from hpa_lib import reports
from hpa_lib.report_index import best_runs, metric_columns
from hpa_lib.report_runs import read_runs


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs", tmp_path / "reports"


def test_best_is_marked_among_complete_runs_on_one_dataset(folders):
    runs, reports_folder = folders
    write_run(runs, "low", headline={"Macro F1": 0.1, "Loss": 0.1, "Samples": 5})
    write_run(runs, "high", headline={"Macro F1": 0.3, "Loss": 0.2, "Samples": 9})
    write_run(runs, "failed", headline={"Macro F1": 0.9}, status="failed")
    elsewhere = {"name": "hpa", "samples": 60, "fingerprint": "bb"}
    write_run(runs, "elsewhere", headline={"Macro F1": 0.8}, dataset=elsewhere)
    read = read_runs(runs)
    assert best_runs(read, ["Macro F1", "Loss", "Samples"]) == {
        ("high", "Macro F1"),
        ("low", "Loss"),
    }
    reports.publish(runs, reports_folder)
    html = (reports_folder / "index.html").read_text()
    assert html.count('<span class="mark">best</span>') == 2


def test_columns_are_the_figures_of_training_runs_in_their_order(folders):
    runs, reports_folder = folders
    write_run(runs, "b", headline={"Macro F1": 0.2, "Binary accuracy": 0.9, "Accuracy": 0.5})
    write_run(runs, "a", headline={"Macro F1": 0.1, "Extra": 1.5}, without=["history.csv"])
    write_run(
        runs,
        "explore",
        notebook="1_explore",
        headline={"Samples": 60, "Macro F1": 0.3},
        without=["history.csv"],
    )
    write_run(runs, "own", notebook="mine", headline={"Own": 2.5})
    read = {run.name: run for run in read_runs(runs)}
    newest_first = [read[name] for name in ("explore", "b", "a", "own")]
    assert metric_columns(newest_first) == [
        "Macro F1",
        "Binary accuracy",
        "Accuracy",
        "Extra",
        "Own",
    ]
    assert metric_columns([read["explore"]]) == []
    reports.publish(runs, reports_folder)
    html = (reports_folder / "index.html").read_text()
    table = Page(html.split('<table id="runs">')[1].split("</table>")[0])
    assert "Samples" not in table.text
    assert "Macro F1" in table.text
    cards = Page(html.split('<ul class="newest"')[1].split("</ul>")[0])
    assert "Samples" in cards.text
