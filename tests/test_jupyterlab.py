"""The notebooks in a real JupyterLab, driven in Chromium by its own menus, as a user does it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

from hpa_lib import paths, runs

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.pipeline

TOKEN = "a-token-of-the-test"
MINUTES = 60_000  # in the milliseconds of Playwright


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Notebooks to edit, and folders for what they leave behind."""
    base = tmp_path_factory.mktemp("lab")
    notebooks = base / "notebooks"
    notebooks.mkdir()
    for name in paths.NOTEBOOK_NAMES:
        shutil.copy(paths.NOTEBOOKS / f"{name}.ipynb", notebooks)
    return base


@pytest.fixture(scope="module")
def lab(folders):
    """Address of a JupyterLab on the copied notebooks, with nothing of this user's settings."""
    own = {f"JUPYTER_{name}_DIR": str(folders / name.lower()) for name in ("CONFIG", "RUNTIME")}
    own |= {f"HPA_{name.upper()}": str(folders / name) for name in ("data", "runs", "reports")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folders / "settings")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(folders / "workspaces")}
    log = folders / "jupyterlab.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0",
             f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folders / 'notebooks'}"],
            env=os.environ | own, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        yield _address(folders / "runtime", server, log)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _address(runtime, server, log):
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        for told in runtime.glob("jpserver-*.json"):
            return json.loads(told.read_text())["url"]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def open_notebook(lab, browser):
    """Function that opens a notebook with other parameters, written below those of its cell."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})

    def open_it(name, **parameters):
        # A workspace of its own, so that no other notebook is open beside it.
        page.goto(f"{lab}lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}")
        cell = page.locator(".jp-CodeCell").first
        cell.wait_for(timeout=2 * MINUTES)
        # A kernel that is restarted before it has started for good is lost to JupyterLab.
        idle = page.locator(".jp-StatusBar-Widget", has_text="Python 3 (ipykernel) | Idle")
        idle.wait_for(timeout=MINUTES)
        page.wait_for_timeout(3000)
        lines = [f"{k} = {v!r}" for k, v in parameters.items()]
        editor = cell.locator(".cm-content")
        editor.click()
        expect(cell.locator(".cm-editor")).to_have_class(re.compile("cm-focused"))
        page.keyboard.press("Control+End")
        page.keyboard.insert_text("".join(f"\n{line}" for line in lines))
        expect(editor).to_contain_text(lines[-1])
        return page

    yield open_it
    page.close()


def choose(page, menu, entry):
    page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{menu}$")).click()
    page.locator(".lm-Menu-item", has_text=re.compile(f"^{re.escape(entry)}")).first.click()


def run_all(page):
    choose(page, "Run", "Restart Kernel and Run All Cells")
    page.locator(".jp-Dialog button", has_text="Restart").click()


def wait_until(page, condition):
    """Wait for a condition of the page; no cell may fail meanwhile."""
    failed = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    for _ in range(600):
        assert failed.count() == 0, failed.first.text_content()
        if condition():
            return
        page.wait_for_timeout(500)
    raise AssertionError(page.locator(".jp-Notebook").text_content()[-2000:])


def wait_for_end(page):
    """Wait until the last cell has run."""
    last = page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt")
    wait_until(page, lambda: re.search(r"\[\d+\]", last.text_content()))


def only_manifest(folders, notebook):
    (folder,) = (folders / "runs").glob(f"*{notebook}*")
    return folder, runs.read_manifest(folder)


def epochs(folders):
    """Numbers of the epochs that the training run has finished."""
    found = (folders / "runs").glob("*3_train_vgg*/history.csv")
    return [epoch for history in found for epoch in pd.read_csv(history)["epoch"]]


def smoke(notebook, **changed):
    return runs.preset_parameters("smoke", notebook) | changed


def test_explore_runs_from_the_menu_and_its_browser_follows_clicks(open_notebook, folders):
    page = open_notebook("1_explore", **smoke("1_explore", sample=3))
    run_all(page)
    wait_for_end(page)
    _, manifest = only_manifest(folders, "1_explore")
    assert manifest["status"] == "complete"
    assert manifest["parameters"]["sample"] == 3
    assert manifest["parameters"]["synthetic_samples"] == 60

    widget = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="Next"))
    picture = widget.get_by_role("img")
    picture.scroll_into_view_if_needed()
    first = picture.get_attribute("src")
    widget.get_by_role("button", name="Next").click()
    expect(picture).not_to_have_attribute("src", first)
    second = picture.get_attribute("src")
    widget.get_by_role("checkbox", name="green").uncheck()
    expect(picture).not_to_have_attribute("src", second)
    widget.get_by_label("Class", exact=True).select_option("Nucleoli")
    expect(widget.get_by_role("status")).to_contain_text("samples fit")


def test_interrupted_training_says_how_to_go_on_and_goes_on(open_notebook, folders):
    stages = [{"epochs": 8, "learning_rate": 1e-4, "backbone_rate": 1.0}]
    page = open_notebook("3_train_vgg", **smoke("3_train_vgg", stages=stages))
    run_all(page)
    wait_until(page, lambda: page.locator(".jp-OutputArea-output progress").count())
    wait_until(page, lambda: len(epochs(folders)) >= 2)
    choose(page, "Kernel", "Interrupt Kernel")
    said = page.locator(".jp-OutputArea-output", has_text="Run all cells again")
    said.wait_for(timeout=MINUTES)
    folder, manifest = only_manifest(folders, "3_train_vgg")
    assert manifest["status"] == "interrupted"
    assert (folder / runs.STATE).is_file()
    begun = len(epochs(folders))
    assert 2 <= begun < 8

    run_all(page)
    wait_for_end(page)
    _, manifest = only_manifest(folders, "3_train_vgg")
    assert manifest["status"] == "complete"
    assert len(manifest["earlier_attempts"]) == 1
    assert epochs(folders) == list(range(1, 9))
    assert f"after epoch {begun}" in page.locator(".jp-Notebook").text_content()
