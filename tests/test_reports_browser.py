"""The reports in a real browser, from file:// and with the network off.

A test appends a script to a copy of a page; the script uses the page and writes what it saw into
the document, which Chromium prints after running it.
"""

import html
import json
import re
import shutil
import subprocess
from urllib.parse import quote

import cv2
import pytest
from report_site import code, png_output, write_run

from hpa_lib import reports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    runs = root / "runs"
    write_run(runs, "a", headline={"Macro F1": 0.2}, started="2026-11-01T00:00:00+00:00")
    write_run(
        runs,
        "b",
        headline={"Macro F1": 0.1},
        started="2026-11-02T00:00:00+00:00",
        parameters={"epochs": 8, "learning_rate": 0.001, "weights": "none"},
    )
    write_run(
        runs,
        "<script>document.title='broken'<x>",
        status="failed",
        reason="HpaError: <b>no</b> weights",
        headline={},
        started="2026-11-03T00:00:00+00:00",
        notebook_cells=[code("x = 1\n" * 30, [png_output()])],
    )
    reports.publish(runs, root / "reports")
    return root / "reports"


@pytest.fixture
def chromium(tmp_path):
    """Run headless Chromium on a file; return its output after checking for complaints."""

    def run(page, *options):
        finished = subprocess.run(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={tmp_path / 'profile'}",
                *options,
                "file://" + quote(str(page)),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        complaints = [line for line in finished.stderr.splitlines() if ":CONSOLE" in line]
        assert complaints == []
        return finished.stdout

    return run


@pytest.fixture
def use(chromium):
    """Run a script on a copy of a page that lies beside it; return the value it computes."""

    def run(page, script):
        copy = page.parent / "under-test.html"
        copy.write_text(
            page.read_text()
            + '<pre id="seen"></pre><script>document.getElementById("seen").textContent = '
            + f"JSON.stringify((() => {{ {script} }})());</script>"
        )
        try:
            document = chromium(copy, "--dump-dom")
        finally:
            copy.unlink()
        return json.loads(html.unescape(re.search(r'id="seen">(.*?)</pre>', document, re.S)[1]))

    return run


NAMES = 'const names = () => [...document.querySelectorAll("#runs tbody tr")]' + (
    ".filter((row) => !row.hidden).map((row) => row.dataset.run);"
)


def test_the_table_sorts_with_empty_values_last(site, use):
    seen = use(
        site / "index.html",
        NAMES
        + """
        const header = [...document.querySelectorAll("#runs thead th")]
            .find((each) => each.textContent === "Macro F1");
        const seen = [names()];
        header.querySelector("button").click();
        seen.push(names(), header.getAttribute("aria-sort"));
        header.querySelector("button").click();
        seen.push(names(), header.getAttribute("aria-sort"));
        return [...seen, document.querySelectorAll("[aria-sort]").length];
        """,
    )
    failed = "<script>document.title='broken'<x>"
    assert seen == [
        [failed, "b", "a"],
        ["a", "b", failed],
        "descending",
        ["b", "a", failed],
        "ascending",
        1,
    ]


def test_the_filter_keeps_rows_with_all_words_and_their_curves(site, use):
    seen = use(
        site / "index.html",
        NAMES
        + """
        const filter = document.getElementById("filter");
        filter.value = "FAILED quick";
        filter.dispatchEvent(new Event("input"));
        const curves = [...document.querySelectorAll(".curves > li")];
        return [names(), curves.filter((each) => !each.hidden).length,
                document.getElementById("filter-count").textContent];
        """,
    )
    assert seen == [["<script>document.title='broken'<x>"], 1, "1 of 3 runs"]


def test_two_runs_are_compared(site, use):
    seen = use(
        site / "index.html",
        """
        const lines = () => [...document.querySelectorAll("#comparison tbody tr")]
            .map((row) => [...row.cells].map((cell) => cell.textContent));
        const before = lines();
        const [first, second] = ["compare-1", "compare-2"].map((id) => document.getElementById(id));
        second.value = first.value;
        second.dispatchEvent(new Event("change"));
        return [first.value, before, document.getElementById("comparison").hidden,
                document.getElementById("compare-count").textContent];
        """,
    )
    assert seen == [
        "b",
        [
            ["Parameter", "epochs", "8", "2"],
            ["Parameter", "cache", "–", "true"],
            ["Metric", "Macro F1", "0.100", "0.200"],
        ],
        True,
        "No differences",
    ]


def test_the_name_of_a_run_stands_on_one_line(site, use):
    seen = use(
        site / "index.html",
        """
        const link = document.querySelector("#runs tbody th a");
        const cell = link.parentElement;
        const height = (text) => {
            link.textContent = text;
            return cell.clientHeight;
        };
        const long = "a-name-of-many-parts-".repeat(20);
        return [height("quick-2_train_resnet-edc93253") === height("a"),
            height(long) === height("a"), cell.title.startsWith("<script>"),
            height(long) && cell.clientWidth < cell.closest("div").clientWidth];
        """,
    )
    assert seen == [True, True, True, True]


def test_names_of_runs_stay_text(site, use):
    assert use(site / "index.html", "return document.title;") == (
        "Runs · Human Protein Atlas notebooks"
    )


def test_one_switch_shows_all_code(site, use):
    seen = use(
        site / "a" / "index.html",
        """
        const open = () => document.querySelectorAll("details.code[open]").length;
        const toggle = document.querySelector("button.all-code");
        const seen = [toggle.hidden, open()];
        toggle.click();
        seen.push(open());
        toggle.click();
        return [...seen, open()];
        """,
    )
    assert seen == [False, 0, 5, 0]


def test_figures_enlarge_in_a_dialog_that_takes_the_focus(site, use):
    seen = use(
        site / "a" / "index.html",
        """
        document.querySelector("a.enlarge").click();
        const dialog = document.querySelector("dialog");
        const seen = [dialog.open, dialog.contains(document.activeElement),
            dialog.querySelector("img").alt === document.querySelector("figure img").alt,
            dialog.querySelector("p").textContent.replace(/\\s+/g, " ").trim()];
        dialog.querySelector("button").click();
        return [...seen, dialog.open];
        """,
    )
    assert seen == [True, True, True, "Figure 1 F1 by epoch.", False]


CONTRAST = """
    // WCAG 2 contrast of every piece of text with the first opaque background behind it.
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = numbers(getComputedStyle(each).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    for (const each of document.querySelectorAll("details")) each.open = true;
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim()) continue;
        if (["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
        const style = getComputedStyle(element);
        const ink = element.closest("svg.curve") ? style.fill : style.color;
        const [a, b] = [light(numbers(ink)), light(behind(element))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) poor.push([walker.currentNode.data.slice(0, 40), contrast]);
    }
    return poor;
"""


@pytest.mark.parametrize("name", ["index.html", "a/index.html"])
@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_wcag_aa(site, use, name, dark):
    # The dark rules are made to apply always: Chromium's switch for it differs between versions.
    text = (site / name).read_text()
    page = (site / name).with_name("contrast.html")
    page.write_text(text.replace("(prefers-color-scheme: dark)", "all") if dark else text)
    try:
        assert use(page, CONTRAST) == []
    finally:
        page.unlink()


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("name", ["index.html", "a/index.html"])
def test_pages_fit_the_screen_and_can_be_drawn(site, chromium, tmp_path, width, name):
    picture = tmp_path / "screen.png"
    chromium(site / name, f"--window-size={width},900", f"--screenshot={picture}")
    drawn = cv2.imread(str(picture))
    assert drawn.shape == (900, width, 3)
    assert len({tuple(colour) for colour in drawn[::9, ::9].reshape(-1, 3).tolist()}) > 10


@pytest.mark.parametrize("name", ["index.html", "a/index.html"])
@pytest.mark.parametrize("width", [320, 390, 820, 1440])
def test_no_page_scrolls_sideways(site, use, name, width):
    # In a frame, since a window of headless Chromium has a least width.
    frame = site / "frame.html"
    frame.write_text("<!DOCTYPE html><title>frame</title>")
    source = json.dumps((site / name).read_text()).replace("</", "<\\/")
    try:
        seen = use(
            frame,
            f"""
            const frame = document.createElement("iframe");
            frame.style.cssText = "border: 0; width: {width}px; height: 900px";
            document.body.append(frame);
            frame.contentDocument.write({source});
            frame.contentDocument.close();
            const root = frame.contentDocument.documentElement;
            return [root.clientWidth, root.scrollWidth];
            """,
        )
    finally:
        frame.unlink()
    assert seen == [width, width]
