"""The main job from a clone: pipeline, reports, what runs again and what doesn't."""

import json
import os
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from hpa_lib import paths

pytestmark = pytest.mark.pipeline


class Links(HTMLParser):
    """Collects what a page fetches by itself."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.fetched += [values[name] for name in ("src", "srcset", "poster") if values.get(name)]
        if tag == "link" and values.get("href"):
            self.fetched.append(values["href"])


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the files that git tracks or would track, with this environment as its .venv."""
    folder = tmp_path_factory.mktemp("clone") / "hpa"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=paths.PROJECT_ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = paths.PROJECT_ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    make(folder, "help")
    return folder


def make(folder, *arguments, check=True):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HPA_DATA", "HPA_RUNS", "HPA_REPORTS", "VIRTUAL_ENV", "MAKEFLAGS")
    }
    finished = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if check:
        assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    return finished


def manifests(folder):
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "runs").glob("*/manifest.json")
    }


@pytest.fixture(scope="module")
def finished(clone):
    """The clone after ``make run PRESET=smoke``."""
    make(clone, "run", "PRESET=smoke")
    return clone


def test_make_run_leaves_four_complete_runs_and_their_pages(finished):
    found = manifests(finished)
    assert sorted(one["notebook"] for one in found.values()) == sorted(paths.PIPELINE_NOTEBOOKS)
    assert {one["status"] for one in found.values()} == {"complete"}
    index = (finished / "reports" / "index.html").read_text(encoding="utf-8")
    for name in found:
        assert f"{name}/index.html" in index
        assert (finished / "reports" / name / "index.html").is_file()


def test_pages_fetch_nothing_from_the_network_and_stay_small(finished):
    pages = list((finished / "reports").glob("**/*.html"))
    assert len(pages) == 1 + len(paths.PIPELINE_NOTEBOOKS)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        links = Links()
        links.feed(text)
        assert not [link for link in links.fetched if "//" in link.split(",")[0]], page
        assert "@import" not in text
        assert len(text) < 3_000_000


def test_comparison_names_the_two_trainings(finished):
    found = manifests(finished)
    by_notebook = {one["notebook"]: name for name, one in found.items()}
    compared = found[by_notebook["4_compare"]]["inputs"]
    assert compared == [by_notebook["2_train_resnet"], by_notebook["3_train_vgg"]]


def test_nothing_runs_again_without_a_change(finished):
    before = manifests(finished)
    make(finished, "run", "PRESET=smoke")
    assert manifests(finished) == before


def test_a_changed_parameter_runs_only_what_depends_on_it(finished):
    before = manifests(finished)
    make(finished, "run", "PRESET=smoke", "CONFIG=replicates=300")
    after = manifests(finished)
    assert before.items() <= after.items()
    assert [after[name]["notebook"] for name in after.keys() - before.keys()] == ["4_compare"]


def test_an_unknown_parameter_stops_the_pipeline_before_anything_runs(finished):
    before = manifests(finished)
    refused = make(finished, "run", "PRESET=smoke", "CONFIG=epochz=3", check=False)
    assert refused.returncode != 0
    assert "Parameter epochz is unknown to every notebook" in refused.stdout + refused.stderr
    assert manifests(finished) == before
