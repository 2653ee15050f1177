import json
import shutil
import time
from urllib.parse import unquote

import nbformat
import pytest
from report_site import (
    Page,
    assert_offline,
    code,
    display,
    executed_notebook,
    page_of,
    png_output,
    write_run,
)

from hpa_lib import report_templates, reports
from hpa_lib.errors import HpaError
from hpa_lib.report_page import DOWNLOADS


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs", tmp_path / "reports"


def test_a_run_becomes_a_page_with_its_downloads_beside_it(folders):
    runs, reports_folder = folders
    write_run(runs)
    assert reports.publish(runs, reports_folder) == [
        reports_folder / "20261123-train" / "index.html"
    ]
    page = page_of(reports_folder)
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"
    for name in DOWNLOADS:
        copy = reports_folder / "20261123-train" / name
        if name != "manifest.json":
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
    pages = {file: Page(file.read_text()) for file in reports_folder.rglob("index.html")}
    identifiers = {
        file: {attributes.get("id") for _, attributes in page.elements}
        for file, page in pages.items()
    }
    linked = set()
    for file, page in pages.items():
        for attributes in page.all("a"):
            address, _, anchor = attributes["href"].partition("#")
            target = (file.parent / unquote(address)).resolve() if address else file
            assert not address.startswith(("/", "file:")), address
            assert target.is_file(), address
            assert target.is_relative_to(reports_folder), address
            assert not anchor or anchor in identifiers[target], anchor
            linked.add(target)
    published = {path for path in reports_folder.rglob("[!.]*") if path.is_file()}
    assert linked == published
    assert "gone" in page_of(reports_folder, "later").text


def test_text_from_data_is_escaped_everywhere(folders):
    runs, reports_folder = folders
    name = "<script>alert(1)<x onload='a'>\"&"
    evil = "</script><script>alert(3)</script>\"'<b>"
    texts = ("title", "reason", "preset", "notebook", "started", "finished", "device", "python")
    write_run(
        runs,
        name,
        **dict.fromkeys((*texts, "commit", "code_digest", "seed", "seconds"), evil),
        status="failed",
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
    assert json.loads(embedded.split("</script>")[0])["runs"] == [name]
    (listed,) = json.loads((reports_folder / "runs.json").read_text())
    assert (listed["run"], listed["title"]) == (name, evil)


@pytest.mark.parametrize("missing", sorted(DOWNLOADS))
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

    (reports_folder / "a" / "index.html").write_text("cut sh")
    assert reports.publish(runs, reports_folder) == [reports_folder / "a" / "index.html"]
    assert len((reports_folder / "a" / "index.html").read_text()) > 10000
    (reports_folder / "a" / "index.html").unlink()
    assert reports.publish(runs, reports_folder) == [reports_folder / "a" / "index.html"]
    monkeypatch.setattr(report_templates, "digest", lambda: "another template")
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
        ".nojekyll",
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


@pytest.mark.parametrize("name", ["index.html", "Runs.JSON", "README.md"])
def test_a_run_named_like_a_file_of_the_site_is_refused(folders, name):
    runs, reports_folder = folders
    write_run(runs, name)
    with pytest.raises(HpaError, match=name):
        reports.publish(runs, reports_folder)


@pytest.mark.parametrize("names", [("run-A", "run-a"), ("caf\u00e9", "cafe\u0301")])
def test_runs_that_some_file_systems_take_for_one_are_refused(folders, names):
    runs, reports_folder = folders
    for name in names:
        (runs / name).mkdir(exist_ok=True)
        (runs / name / "manifest.json").write_text("{}")
    if len(list(runs.iterdir())) == 1:
        pytest.skip("this file system takes both names for one")
    with pytest.raises(HpaError) as caught:
        reports.publish(runs, reports_folder)
    assert all(name in str(caught.value) for name in names)
    assert not reports_folder.exists()


def test_many_pages_are_built_on_all_cores_with_the_same_bytes(folders, monkeypatch):
    runs, reports_folder = folders
    write_run(runs, "run-0")
    for number in range(1, 4):
        shutil.copytree(runs / "run-0", runs / f"run-{number}")
    reports.publish(runs, reports_folder)
    monkeypatch.setattr(reports, "_PAGES_A_PROCESS", 2)
    monkeypatch.setattr(reports.joblib, "cpu_count", lambda: 2)
    together = reports_folder.with_name("together")
    built = reports.publish(runs, together)
    assert [path.parent.name for path in built] == ["run-0", "run-1", "run-2", "run-3"]
    for page in built:
        alone = reports_folder / page.relative_to(together)
        assert page.read_bytes() == alone.read_bytes()


def test_hidden_records_say_nothing_of_the_run(folders):
    runs, reports_folder = folders
    write_run(runs)
    reports.publish(runs, reports_folder)
    hidden = sorted(path.name for path in reports_folder.rglob(".*"))
    assert hidden == [".nojekyll", ".page.json"]
    assert (reports_folder / ".nojekyll").read_bytes() == b""
    record = json.loads((reports_folder / "20261123-train" / ".page.json").read_text())
    assert record.keys() == {"digest", "sizes"}
    assert set(record["sizes"]) == {"index.html", *DOWNLOADS}


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


def test_many_unchanged_runs_are_published_quickly(folders):
    runs, reports_folder = folders
    first = write_run(runs, "run-000")
    for number in range(1, 60):
        shutil.copytree(first, runs / f"run-{number:03d}")
    assert len(reports.publish(runs, reports_folder)) == 60
    begin = time.process_time()
    assert reports.publish(runs, reports_folder) == []
    assert time.process_time() - begin < 10 * 60 / 500


def test_where_a_run_is_computed_is_not_published(folders):
    runs, reports_folder = folders
    folder = write_run(runs, host="node-17.example", process=987654321)
    reports.publish(runs, reports_folder)
    own = json.loads((folder / "manifest.json").read_text())
    assert (own.pop("host"), own.pop("process")) == ("node-17.example", 987654321)
    copy = json.loads((reports_folder / "20261123-train" / "manifest.json").read_text())
    assert copy == own
    (listed,) = json.loads((reports_folder / "runs.json").read_text())
    assert own.items() <= listed.items()
    for file in reports_folder.rglob("*"):
        if file.is_file():
            assert b"node-17.example" not in file.read_bytes(), file
            assert b"987654321" not in file.read_bytes(), file


def test_an_unreadable_manifest_is_not_published(folders):
    runs, reports_folder = folders
    (write_run(runs) / "manifest.json").write_text('{"host": "node-17.example", "trunc')
    assert len(reports.publish(runs, reports_folder)) == 1
    assert not (reports_folder / "20261123-train" / "manifest.json").exists()
    assert "manifest.json" not in [a.get("href") for a in page_of(reports_folder).all("a")]
    assert reports.publish(runs, reports_folder) == []


def test_what_an_interrupted_publication_leaves_is_cleared(folders):
    runs, reports_folder = folders
    write_run(runs, "a")
    (reports_folder / ".a").mkdir(parents=True)
    (reports_folder / ".a" / "predictions.csv").write_text("half")
    reports.publish(runs, reports_folder)
    assert sorted(path.name for path in reports_folder.iterdir()) == [
        ".nojekyll",
        "a",
        "index.html",
        "runs.json",
    ]


def test_figures_keep_the_order_of_the_metrics_file(folders):
    runs, reports_folder = folders
    write_run(runs, headline={"Macro F1": 0.2, "Binary accuracy": 0.9, "Average precision": 0.4})
    reports.publish(runs, reports_folder)
    for page in (reports_folder / "index.html", reports_folder / "20261123-train" / "index.html"):
        terms = [part.split("</dt>")[0] for part in page.read_text().split("<dl")[1].split("<dt>")]
        assert terms[1:4] == ["Macro F1", "Binary accuracy", "Average precision"]
