import nbformat
import pytest
from report_site import ALT, Page, code, display, page_of, png_output, write_run

from hpa_lib import reports
from hpa_lib.report_runs import STATUSES


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs", tmp_path / "reports"


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
    word, explanation = STATUSES[status]
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


@pytest.mark.parametrize(
    ("source", "preview"),
    [
        ("# Parameters\nepochs = 2\nseed = 1", "epochs = 2"),
        ("from hpa_lib import (\n    plots,\n)", "from hpa_lib import (…"),
        ("# only a remark", "# only a remark"),
    ],
)
def test_folded_code_shows_its_first_line(folders, source, preview):
    runs, reports_folder = folders
    write_run(runs, notebook_cells=[code(source)])
    reports.publish(runs, reports_folder)
    html = (reports_folder / "20261123-train" / "index.html").read_text()
    assert f"<span>Code</span> <code>{preview}</code>" in html


def test_headings_get_identifiers_of_their_own(folders):
    runs, reports_folder = folders
    cells = [
        nbformat.v4.new_markdown_cell("# Train a network"),
        nbformat.v4.new_markdown_cell("## Data\n\n# Data & more\n\n#### Below the contents"),
    ]
    write_run(runs, notebook_cells=cells)
    reports.publish(runs, reports_folder)
    page = page_of(reports_folder)
    identifiers = [a["id"] for name, a in page.elements if name in ("h2", "h3", "h4") and "id" in a]
    assert identifiers[:7] == [
        "data",
        "curves",
        "both-stages",
        "train-a-network",
        "data-2",
        "data-more",
        "below-the-contents",
    ]
    assert len(page.all("h1")) == 1
    linked = [a["href"] for a in page.all("a") if a.get("href", "").startswith("#")]
    assert "#data-more" in linked
    assert "#below-the-contents" not in linked
