import base64
import io
import json
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpa_lib import reports
from hpa_lib.errors import HpaError
from hpa_lib.files import write_json

ALT = 'Line plot of "loss" & F1 over 8 epochs; F1 rises <fast>.'


def picture(kind="png"):
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(1, 9), 1 - np.exp(-np.arange(8) / 3), label="validation")
    axes.set(xlabel="Epoch", ylabel="F1")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110)
    return buffer.getvalue()


def display(data, metadata=None):
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})


def png_output(alt=ALT, caption="F1 by epoch."):
    described = {key: text for key, text in (("alt", alt), ("caption", caption)) if text}
    return display(
        {"image/png": base64.b64encode(picture()).decode(), "text/plain": "<Figure>"},
        {"image/png": described},
    )


def svg_output():
    return display(
        {"image/svg+xml": picture("svg").decode(), "text/plain": "<Figure>"},
        {"image/svg+xml": {"alt": "Curve of F1.", "caption": "A vector figure."}},
    )


def table_output():
    frame = pd.DataFrame(
        {"class": ["Nucleoplasm", "<b>Rods</b>"], "samples": [12885, 11], "F1": [0.61, 0.0]}
    )
    return display({"text/html": frame.to_html(), "text/plain": str(frame)})


def code(source, outputs=(), tags=()):
    return nbformat.v4.new_code_cell(
        source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)}
    )


def executed_notebook(extra=()):
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    notebook.cells = [
        nbformat.v4.new_markdown_cell(
            "# Train a network\n\nFits the study's network in two stages and evaluates the best "
            "checkpoint on samples it has not seen. You get curves, metrics and predictions."
        ),
        code("epochs: int = 8  # epochs of stage 2", tags=["parameters"]),
        code("epochs = 2", tags=["injected-parameters"]),
        nbformat.v4.new_markdown_cell("## Data\n\nThe table of labels, see [curves](#Curves)."),
        code("labels.head()", [table_output()]),
        nbformat.v4.new_markdown_cell("## Curves\n\n### Both stages\n\nLoss, accuracy and F1."),
        code(
            "history = train(\n    model,\n    epochs=epochs,  # both stages\n)\nplot(history)",
            [
                nbformat.v4.new_output("stream", name="stdout", text="\x1b[1;32mready\x1b[0m <ok>"),
                nbformat.v4.new_output("stream", name="stderr", text="0%\r50%\r100%\n"),
                png_output(),
                table_output(),
            ],
        ),
        code("plot_vector()", [svg_output()]),
        *extra,
    ]
    return notebook


def write_run(runs_folder, name="20261123-train", **changes):
    """Write a run folder as a finished training run leaves it; `changes` go into the manifest.

    The names `notebook_cells`, `headline`, `history` and `without` shape the other files.
    """
    folder = Path(runs_folder) / name
    folder.mkdir(parents=True)
    cells = changes.pop("notebook_cells", ())
    headline = changes.pop("headline", {"Macro F1": 0.2134, "Micro F1": 0.4, "Samples": 120})
    history = changes.pop("history", None)
    without = changes.pop("without", ())
    manifest = {
        "run": name,
        "notebook": "2_train_resnet",
        "title": "Train a network",
        "preset": "quick",
        "status": "complete",
        "reason": None,
        "parameters": {"epochs": 2, "learning_rate": 0.001, "weights": "none", "cache": True},
        "preset_parameters": {"epochs": 8, "learning_rate": 0.001, "weights": "none"},
        "commit": "0123abcd",
        "dirty": True,
        "code_digest": "feed",
        "packages": {"keras": "3.15.0", "numpy": "2.4.6"},
        "python": "3.11.7",
        "device": "CPU, 2 cores",
        "seed": 7,
        "dataset": {"name": "synthetic-600", "samples": 600, "fingerprint": "aa"},
        "inputs": [],
        "started": "2026-11-23T01:25:45+00:00",
        "finished": "2026-11-23T01:28:57+00:00",
        "seconds": 192.4,
        "command": "papermill notebooks/2_train_resnet.ipynb out.ipynb -f params/quick.yaml",
        **changes,
    }
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "metrics.json", {"headline": headline})
    (folder / "params.yaml").write_text("epochs: 2\n")
    (folder / "predictions.csv").write_text("Id,Predicted\na,0\n")
    frame = pd.DataFrame(
        history
        or {
            "epoch": [1, 2, 3],
            "stage": [1, 1, 2],
            "loss": [0.5, 0.3, 0.2],
            "f1": [0.1, 0.2, 0.3],
            "val_loss": [0.6, 0.4, 0.5],
            "val_f1": [0.1, 0.4, 0.25],
        }
    )
    frame.to_csv(folder / "history.csv", index=False)
    nbformat.write(executed_notebook(cells), folder / "notebook.ipynb")
    for missing in without:
        (folder / missing).unlink()
    return folder


class Page(HTMLParser):
    """The elements of a page with their attributes, and its visible text."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.text = ""
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def has_class(self, name):
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]


def page_of(folder, run="20261123-train"):
    return Page((folder / run / "index.html").read_text(encoding="utf-8"))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs", tmp_path / "reports"


def assert_offline(html):
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base"), tag
        for name in ("src", "srcset", "data", "poster", "action", "xlink:href"):
            value = attributes.get(name) or "data:"
            assert value.startswith("data:"), (tag, name, value[:80])
        if tag == "link":
            assert attributes["href"].startswith("data:")
    for style in html.split("<style>")[1:]:
        style = style.split("</style>")[0]
        assert "url(" not in style
        assert "@import" not in style


def test_a_run_becomes_a_page_with_its_downloads_beside_it(folders):
    runs, reports_folder = folders
    write_run(runs)
    assert reports.publish(runs, reports_folder) == [
        reports_folder / "20261123-train" / "index.html"
    ]
    page = page_of(reports_folder)
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"
    for name in reports.DOWNLOADS:
        copy = reports_folder / "20261123-train" / name
        assert copy.read_bytes() == (runs / "20261123-train" / name).read_bytes()
        assert {"href": name, "download": None} in page.all("a")
    assert "papermill notebooks/2_train_resnet.ipynb out.ipynb -f params/quick.yaml" in page.text
    assert "0123abcd, with uncommitted changes" in page.text
    assert "0.213" in page.text
    assert "3 min 12 s" in page.text


def test_pages_refer_to_nothing_on_the_network(folders):
    runs, reports_folder = folders
    hostile = nbformat.v4.new_markdown_cell(
        "![far](https://example.org/a.png) <script src='https://example.org/x.js'></script>"
        "<iframe src='https://example.org'></iframe><link rel=stylesheet href='//example.org/a'>"
        "<img src=x onerror=alert(1)><a href='javascript:alert(1)'>go</a>"
        "<style>@import 'https://example.org';</style>"
    )
    output = display({"text/html": "<script>alert(2)</script><img src='//example.org/b.png'>"})
    write_run(runs, notebook_cells=[hostile, code("show()", [output])])
    reports.publish(runs, reports_folder)
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    assert_offline(html)
    assert_offline((reports_folder / "index.html").read_text())
    assert "alert(" not in html
    assert {"href": "https://example.org/a.png"} in Page(html).all("a")


def test_every_link_within_the_site_leads_somewhere(folders):
    runs, reports_folder = folders
    write_run(runs, "first & <second>?#%41")
    write_run(runs, "later", inputs=["first & <second>?#%41", "gone"])
    reports.publish(runs, reports_folder)
    for file in reports_folder.rglob("index.html"):
        page = Page(file.read_text())
        identifiers = {attributes.get("id") for _, attributes in page.elements}
        for attributes in page.all("a"):
            target = attributes.get("href", "")
            if target.startswith("#"):
                assert target[1:] in identifiers, target
            elif target:
                assert (file.parent / unquote(target)).is_file(), target
    assert "gone" in page_of(reports_folder, "later").text


def test_text_from_data_is_escaped_everywhere(folders):
    runs, reports_folder = folders
    name = "<script>alert(1)<x onload='a'>\"&"
    evil = "</script><script>alert(3)</script>\"'<b>"
    write_run(
        runs,
        name,
        title=evil,
        status="failed",
        reason=evil,
        preset=evil,
        parameters={evil: evil},
        preset_parameters={evil: 1},
        headline={evil: 0.5},
        dataset={"name": evil, "samples": 1, "fingerprint": evil},
        packages={evil: evil},
        command=evil,
        inputs=[evil],
        notebook_cells=[
            code(evil, [png_output(alt=evil, caption=evil)]),
            nbformat.v4.new_markdown_cell("## A `<script>alert(4)</script>` heading"),
            code(
                "fail()",
                [nbformat.v4.new_output("error", ename=evil, evalue=evil, traceback=[evil])],
            ),
        ],
    )
    reports.publish(runs, reports_folder)
    for file in (reports_folder / "index.html", reports_folder / name / "index.html"):
        html = file.read_text()
        page = Page(html)
        scripts = [a.get("type") for a in page.all("script")]
        assert scripts in ([None], ["application/json", None])
        assert "<script>alert" not in html
        assert name in page.text
        assert evil in page.text
        assert not any("onload" in attributes for _, attributes in page.elements)
    page = page_of(reports_folder, name)
    assert any(image["alt"] == evil for image in page.all("img"))
    embedded = (reports_folder / "index.html").read_text().split('id="comparison-data">')[1]
    assert list(json.loads(embedded.split("</script>")[0])) == [name]


def test_figures_have_text_alternatives_captions_and_sizes(folders):
    runs, reports_folder = folders
    bare = code("plot()", [png_output(alt=None, caption=None)])
    write_run(runs, notebook_cells=[bare])
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    raster, vector, undescribed = page.all("img")
    assert raster["alt"] == ALT
    assert (int(raster["width"]), int(raster["height"])) == (660, 330)
    assert raster["src"].startswith("data:image/png;base64,")
    assert vector["alt"] == "Curve of F1."
    assert vector["src"].startswith("data:image/svg+xml;base64,")
    assert undescribed["alt"] == "Figure 3 in the section “Both stages”, without description"
    assert len(page.all("figure")) == len(page.all("figcaption")) == 3
    assert "F1 by epoch." in page.text


def test_a_table_after_a_figure_is_its_data_and_others_stand_open(folders):
    runs, reports_folder = folders
    write_run(runs)
    reports.publish(runs, reports_folder)
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    assert html.count("<summary>Data table</summary>") == 1
    assert html.count("&lt;b&gt;Rods&lt;/b&gt;") == 2
    page = Page(html)
    headers = [a for a in page.all("th") if a.get("scope") == "col"]
    numeric = [a for a in headers if a.get("class") == "number"]
    assert len(numeric) == 4  # samples and F1, in two tables
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))


def test_the_name_of_a_pandas_index_stands_above_the_index(folders):
    runs, reports_folder = folders
    frame = pd.DataFrame({"F1": [0.5]}, index=pd.Index(["Cytosol"], name="class <name>"))
    write_run(runs, notebook_cells=[code("frame", [display({"text/html": frame.to_html()})])])
    reports.publish(runs, reports_folder)
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    head = html.split("class &lt;name&gt;")[0].rsplit("<thead>")[-1]
    assert head.count("<tr") == 1
    assert "F1" in html.split("class &lt;name&gt;")[1].split("</tr>")[0]


def test_an_empty_parameter_is_visible_and_no_change_needs_no_column(folders):
    runs, reports_folder = folders
    write_run(runs, parameters={"data": ""}, preset_parameters={"data": ""})
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    assert "1 parameter, none changed from the preset quick" in page.text
    assert 'data\n""' in page.text
    assert "Preset" not in page.text.split("none changed")[1].split("Downloads")[0]


def test_code_is_folded_and_terminal_colours_are_converted(folders):
    runs, reports_folder = folders
    write_run(runs)
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    folded = [a for a in page.all("details") if a.get("class") == "code"]
    assert len(folded) == 5
    assert not any("open" in a for a in folded)
    for label in ("Default parameters", "Parameters of this run"):
        assert label in page.text
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    assert "\x1b" not in html
    assert page.has_class("ansi-bold")
    assert "ready <ok>" in page.text
    assert "100%" in page.text
    assert "50%" not in page.text  # a progress bar shows its last state only


def test_parameters_changed_from_the_preset_are_marked(folders):
    runs, reports_folder = folders
    write_run(runs)
    reports.publish(runs, reports_folder)
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    assert html.count('<tr class="changed">') == 1
    row = Page(html.split('<tr class="changed">')[1].split("</tr>")[0])
    assert row.text.split() == ["epochs", "2", "changed", "8"]
    assert "4 parameters, 1 changed from the preset quick" in Page(html).text


@pytest.mark.parametrize("status", ["complete", "failed", "interrupted", "running"])
def test_status_is_said_in_words_and_by_a_sign(folders, status):
    runs, reports_folder = folders
    write_run(runs, status=status, reason="\x1b[31mstopped\x1b[0m by <x>")
    reports.publish(runs, reports_folder)
    word, explanation = reports.STATUSES[status]
    page = page_of(reports_folder)
    assert f"{word}. {explanation}" in page.text
    assert "stopped by <x>" in page.text
    assert page.has_class("icon")
    assert word in Page((reports_folder / "index.html").read_text()).text


def test_a_failed_run_leads_to_the_failing_cell_without_papermill_banners(folders):
    runs, reports_folder = folders
    banner = nbformat.v4.new_markdown_cell(
        "<span>An Exception was encountered</span>",
        metadata={"tags": ["papermill-error-cell-tag"]},
    )
    error = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="no <weights>", traceback=["\x1b[31mValueError\x1b[0m"]
    )
    write_run(
        runs,
        status="failed",
        reason="ValueError: no <weights>",
        notebook_cells=[banner, code("model.fit()", [error])],
    )
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    assert "An Exception was encountered" not in page.text
    assert {"href": "#failed-cell"} in page.all("a")
    assert [a["id"] for a in page.has_class("error")] == ["failed-cell"]
    index = Page((reports_folder / "index.html").read_text())
    assert "Runs that did not finish" in index.text
    assert "ValueError: no <weights>" in index.text


@pytest.mark.parametrize("missing", sorted(reports.DOWNLOADS))
def test_a_missing_file_costs_only_its_own_part(folders, missing):
    runs, reports_folder = folders
    write_run(runs, without=[missing])
    write_run(runs, "other")
    reports.publish(runs, reports_folder)
    if missing == "manifest.json":
        assert not (reports_folder / "20261123-train").exists()
        return
    page = page_of(reports_folder)
    assert missing not in [a.get("href") for a in page.all("a")]
    assert ("left no executed notebook" in page.text) == (missing == "notebook.ipynb")
    assert "Provenance" in page.text


@pytest.mark.parametrize("damaged", ["manifest.json", "metrics.json", "notebook.ipynb"])
def test_a_damaged_file_does_not_stop_the_other_runs(folders, damaged):
    runs, reports_folder = folders
    (write_run(runs) / damaged).write_text('{"truncat')
    write_run(runs, "other")
    assert len(reports.publish(runs, reports_folder)) == 2
    page = page_of(reports_folder)
    assert ("manifest.json can't be read" in page.text) == (damaged == "manifest.json")


def test_only_changed_pages_are_built_again(folders, monkeypatch):
    runs, reports_folder = folders
    first, second = write_run(runs, "a"), write_run(runs, "b")
    assert len(reports.publish(runs, reports_folder)) == 2
    stamp = (reports_folder / "b" / "index.html").stat().st_mtime_ns
    assert reports.publish(runs, reports_folder) == []

    (first / "predictions.csv").write_text("Id,Predicted\na,1\n")
    assert reports.publish(runs, reports_folder) == [reports_folder / "a" / "index.html"]
    assert (reports_folder / "a" / "predictions.csv").read_text().endswith("a,1\n")
    (second / "history.csv").unlink()
    assert reports.publish(runs, reports_folder) == [reports_folder / "b" / "index.html"]
    assert not (reports_folder / "b" / "history.csv").exists()
    assert (reports_folder / "b" / "index.html").stat().st_mtime_ns > stamp

    (reports_folder / "a" / "index.html").unlink()
    assert reports.publish(runs, reports_folder) == [reports_folder / "a" / "index.html"]
    monkeypatch.setattr(reports, "_template_digest", lambda: "another template")
    assert len(reports.publish(runs, reports_folder)) == 2


def test_a_page_links_to_an_input_as_soon_as_it_is_published(folders):
    runs, reports_folder = folders
    write_run(runs, "b", inputs=["a"])
    reports.publish(runs, reports_folder)
    assert "../a/index.html" not in [a.get("href") for a in page_of(reports_folder, "b").all("a")]
    write_run(runs, "a")
    assert len(reports.publish(runs, reports_folder)) == 2
    assert "../a/index.html" in [a.get("href") for a in page_of(reports_folder, "b").all("a")]


def test_pages_of_removed_runs_go_and_foreign_files_stay(folders):
    runs, reports_folder = folders
    write_run(runs, "a")
    write_run(runs, "b")
    reports.publish(runs, reports_folder)
    (reports_folder / "README.md").write_text("mine")
    (reports_folder / "notes").mkdir()
    (reports_folder / "notes" / "index.html").write_text("mine")
    shutil.rmtree(runs / "a")
    reports.publish(runs, reports_folder)
    assert sorted(path.name for path in reports_folder.iterdir()) == [
        "README.md",
        "b",
        "index.html",
        "notes",
        "runs.json",
    ]
    assert [run["run"] for run in json.loads((reports_folder / "runs.json").read_text())] == ["b"]


def test_hidden_folders_and_folders_without_manifest_are_no_runs(folders):
    runs, reports_folder = folders
    write_run(runs, ".half-written")
    (runs / "cache").mkdir()
    (runs / "file.txt").write_text("")
    assert reports.publish(runs, reports_folder) == []
    assert "There are no runs yet" in Page((reports_folder / "index.html").read_text()).text
    assert reports.publish(runs / "missing", reports_folder) == []


def test_a_run_named_like_a_file_of_the_site_is_refused(folders):
    runs, reports_folder = folders
    write_run(runs, "index.html")
    with pytest.raises(HpaError, match=r"index\.html"):
        reports.publish(runs, reports_folder)


def test_best_is_marked_among_complete_runs_on_one_dataset(folders):
    runs, reports_folder = folders
    write_run(runs, "low", headline={"Macro F1": 0.1, "Loss": 0.1, "Samples": 5})
    write_run(runs, "high", headline={"Macro F1": 0.3, "Loss": 0.2, "Samples": 9})
    write_run(runs, "failed", headline={"Macro F1": 0.9}, status="failed")
    elsewhere = {"name": "hpa", "samples": 60, "fingerprint": "bb"}
    write_run(runs, "elsewhere", headline={"Macro F1": 0.8}, dataset=elsewhere)
    read = reports._read_runs(runs)
    assert reports._best_runs(read, ["Macro F1", "Loss", "Samples"]) == {
        ("high", "Macro F1"),
        ("low", "Loss"),
    }
    reports.publish(runs, reports_folder)
    html = (reports_folder / "index.html").read_text()
    assert html.count('<span class="mark">best</span>') == 2


def test_learning_curves_share_axes_and_are_told_in_words(folders):
    runs, reports_folder = folders
    write_run(runs)
    flat = {"epoch": [1, 2], "loss": [0.2, 0.2], "val_loss": [float("nan"), 0.02]}
    write_run(runs, "flat", history=flat)
    write_run(runs, "untrained", history={"note": ["no numbers"]})
    curves = {
        entry["run"].name: entry for entry in reports._learning_curves(reports._read_runs(runs))
    }
    assert sorted(curves) == ["20261123-train", "flat"]
    loss, f1 = curves["20261123-train"]["panels"]
    assert f1["text"] == (
        "Batch F1: training rises from 0.100 to 0.300 over 3 epochs, best 0.300 at epoch 3; "
        "validation rises from 0.100 to 0.250 over 3 epochs, best 0.400 at epoch 2."
    )
    # F1 runs from 0 at the bottom (84) to 0.4 at the top (8): 0.1, 0.4 and 0.25 by hand.
    assert f1["lines"]["validation"] == "34.0,65.0 134.0,8.0 234.0,36.5"
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
    write_run(runs, history={"epoch": range(1, 2001), "f1": values})
    (entry,) = reports._learning_curves(reports._read_runs(runs))
    points = entry["panels"][0]["lines"]["training"].split()
    assert len(points) <= 122
    assert (points[0], points[-1]) == ("34.0,84.0", "234.0,8.0")


def test_a_notebook_alone_is_rendered_without_a_run(tmp_path):
    path = tmp_path / "alone.ipynb"
    nbformat.write(executed_notebook(), path)
    html = reports.render_notebook(path, None)
    assert_offline(html)
    page = Page(html)
    assert len(page.all("h1")) == 1
    assert "Provenance" not in page.text
    assert "Train a network" in page.text
    with pytest.raises(HpaError, match="missing"):
        reports.render_notebook(tmp_path / "absent.ipynb", None)
    with pytest.raises(HpaError, match=r"manifest\.json"):
        reports.render_notebook(path, tmp_path)
    (tmp_path / "broken.ipynb").write_text("not JSON")
    with pytest.raises(HpaError, match="read as a notebook"):
        reports.render_notebook(tmp_path / "broken.ipynb", None)


def test_a_page_of_a_run_can_be_rendered_by_itself(tmp_path):
    folder = write_run(tmp_path)
    html = reports.render_notebook(folder / "notebook.ipynb", folder)
    assert "Complete." in Page(html).text
    assert "../" not in [a.get("href", "")[:3] for a in Page(html).all("a")]


def test_controls_show_their_static_form(folders):
    runs, reports_folder = folders
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2}}
    static = png_output()
    static.data.update(view)
    write_run(
        runs,
        notebook_cells=[
            code("browser", [display({**view, "text/plain": "ImageBrowser(class=3)"})]),
            code("browser", [static]),
        ],
    )
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    assert "works in JupyterLab" in page.text
    assert "ImageBrowser(class=3)" in page.text
    assert len(page.all("figure")) == 3


def test_many_unchanged_runs_are_published_quickly(folders):
    runs, reports_folder = folders
    first = write_run(runs, "run-000")
    for number in range(1, 60):
        shutil.copytree(first, runs / f"run-{number:03d}")
    assert len(reports.publish(runs, reports_folder)) == 60
    begin = time.process_time()
    assert reports.publish(runs, reports_folder) == []
    assert time.process_time() - begin < 10 * 60 / 500
