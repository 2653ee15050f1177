import base64
import io
import json
import re
import shutil
import subprocess
from html import escape
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from PIL import Image
from report_site import Page

from hpa_lib import embedding_map, labels, neighbours, plots_embeddings, report_notebook
from hpa_lib.embeddings import EmbeddedPart

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def part_of(array_source):
    """Function that makes a part of random pixels, features and labels."""

    def part(samples, size=75, channels=3, ids=None):
        random = np.random.default_rng(0)
        truth = (random.random((samples, 28)) < 0.06).astype(np.uint8)
        pixels = random.integers(0, 256, (samples + 5, size, size, channels), np.uint8)
        rows = random.permutation(samples + 5)[:samples]
        ids = ids or tuple(f"sample-{number}" for number in range(samples))
        features = random.random((samples, 12)) + truth[:, :12]
        return EmbeddedPart(features, truth, ids, rows, array_source(pixels))

    return part


def show(part):
    return plots_embeddings.embedding_map(embedding_map.place(part.features), part)


def test_each_spot_lies_on_its_marker(part_of):
    picture = show(part_of(30))
    root = ElementTree.fromstring(picture.bundle()[0]["image/svg+xml"])
    _, _, width, height = map(float, root.get("viewBox").split())
    legend = next(one for one in root.iter(f"{SVG}g") if one.get("id") == "legend_1")
    in_legend = {id(use) for use in legend.iter(f"{SVG}use")}
    markers = [
        (float(use.get("x")), float(use.get("y")))
        for use in root.iter(f"{SVG}use")
        if id(use) not in in_legend
    ]
    spots = [(spot.left * width, spot.top * height) for spot in picture.spots]
    np.testing.assert_allclose(sorted(markers), sorted(spots), atol=0.01)


def test_a_spot_shows_its_own_sample(part_of):
    part = part_of(20, size=16, channels=4)
    placed = embedding_map.place(part.features)
    for spot, row in zip(show(part).spots, placed.rows, strict=True):
        assert spot.identifier == part.ids[row]
        assert spot.name == labels.class_names(np.flatnonzero(part.truth[row]))
        shown = Image.open(io.BytesIO(base64.b64decode(spot.thumbnail.split(",")[1])))
        wanted = part.picture(row).astype(float)
        assert np.abs(np.asarray(shown) - wanted).mean() < 0.8 * wanted.std()


def test_three_hundred_pictures_of_noise_stay_within_their_budget(part_of):
    data, _ = show(part_of(300)).bundle()
    assert sum(map(len, data.values())) < 600_000


def test_the_report_shows_the_drawing_and_its_table(part_of):
    picture = show(part_of(40))
    data, metadata = picture.bundle()
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    report_notebook.NotebookContent(notebook, "title")
    figure = notebook.cells[0].outputs[0].metadata["figure"]
    assert figure["source"].startswith("data:image/svg+xml;base64,")
    assert (figure["alt"], figure["caption"]) == (picture.alt, picture.caption)
    assert picture.table["samples"].sum() == 40
    assert picture.table.index[-1] == "other labels"


def test_groups_are_rarest_labels_and_their_neighbours_are_counted(part_of):
    part = part_of(12)
    part.truth[:] = 0
    part.truth[:, 0] = 1  # everything has the commonest label, half of it a rarer one, too
    part.truth[6:, 7] = 1
    part.features[:] = np.repeat(np.eye(12)[:2], 6, axis=0) + 0.01 * part.features
    table = show(part).table
    assert table["samples"].to_dict() == {"Nucleoplasm": 6, "Golgi apparatus": 6}
    # 10 of 11 others are neighbours: the 5 of the own group and 5 of the other.
    assert table.iloc[:, 1].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(table["by chance"], 5 / 11)


def test_names_from_files_stay_text(part_of):
    hostile = "\"><script>alert('1')</script>"
    html = show(part_of(3, ids=("a", hostile, "c"))).bundle()[0]["text/html"]
    assert "<script" not in html
    assert html.count(escape(hostile)) == 2


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples_have_a_map(part_of, samples):
    picture = show(part_of(samples))
    assert len(picture.spots) == samples
    assert all(0 <= spot.left <= 1 and 0 <= spot.top <= 1 for spot in picture.spots)
    assert len(Page(picture.bundle()[0]["text/html"]).elements) > samples


def test_what_styles_would_show_is_hidden_without_them(part_of):
    html = show(part_of(10)).bundle()[0]["text/html"]
    elements = Page(html).elements
    cards = [given for _, given in elements if given.get("class") == "hpa-map-card"]
    assert len(cards) == 10
    assert all("hidden" in given for given in cards)
    spots = [given for _, given in elements if "hpa-map-point" in (given.get("class") or "")]
    assert all(given["tabindex"] == "0" and given["aria-label"] for given in spots)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_focus_shows_one_picture_and_skipping_leads_behind(part_of, tmp_path):
    html = show(part_of(10)).bundle()[0]["text/html"]
    script = """<script>
      const cards = [...document.querySelectorAll(".hpa-map-card")];
      const shown = () => cards.filter(card => card.checkVisibility()).length;
      setTimeout(() => {
        const seen = [shown()];
        for (const card of cards.slice(0, 2)) { card.parentElement.focus(); seen.push(shown()); }
        seen.push(cards[1].checkVisibility());
        seen.push(document.querySelector(document.querySelector("a").hash).textContent.length > 9);
        document.title = JSON.stringify(seen);
      }, 500);
    </script>"""
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><title></title>{html}{script}")
    finished = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(re.search("<title>(.*?)</title>", finished.stdout)[1]) == [
        0,
        1,
        1,
        True,
        True,
    ]


def test_queries_are_followed_by_their_neighbours(part_of):
    part = part_of(9, size=20)
    near = neighbours.find(part.features, 3)
    picture = plots_embeddings.neighbour_pictures(part, near, {"best": 4, "doubtful": 1})
    table = picture.table
    assert len(table) == 8
    for reason, query in {"best": 4, "doubtful": 1}.items():
        rows = table.loc[reason]
        assert rows["Id"].tolist() == [part.ids[row] for row in (query, *near.rows[query])]
        for row, shares in zip(near.rows[query], rows["shares a label"][1:], strict=True):
            assert shares == ("yes" if (part.truth[query] & part.truth[row]).any() else "no")
    assert picture.photograph
    assert "best; doubtful" in picture.caption
