"""The reports in a real browser, from file:// and with the network off."""

import re
import shutil

import nbformat
import pytest
from report_site import HOSTILE_TEXT, code, display, png_output, svg_output, table_output, write_run

from hpa_lib import reports

pytest.importorskip("playwright", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

FAILED = HOSTILE_TEXT.replace("/", "∕")
SCHEMES = ("light", "dark")
WIDTHS = (320, 390, 820, 1440)
PAGES = ["index.html", "a/index.html", "failed", "compare/index.html", "bare/index.html"]


def failure():
    trace = ["\x1b[0;31mValueError\x1b[0m: no <weights>", "\x1b[38;5;28;01mfor\x1b[39;00m x in y"]
    return nbformat.v4.new_output("error", ename="ValueError", evalue="<b>no", traceback=trace)


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
        FAILED,
        status="failed",
        reason="HpaError: <b>no</b> weights",
        headline={},
        started="2026-11-03T00:00:00+00:00",
        notebook_cells=[code("x = 1\n" * 30, [png_output()]), code("fail()", [failure()])],
    )
    wide = "<table><tr><th>run</th>" + "<th>a metric of many words</th><td>0.123</td>" * 8
    write_run(
        runs,
        "compare",
        notebook="4_compare",
        title="Compare both networks",
        started="2026-10-31T00:00:00+00:00",
        headline={"Macro F1 difference": 0.05},
        inputs=["a", "b", "gone"],
        notebook_cells=[
            code("compare(" + "a_long_argument, " * 30 + ")", [svg_output(), table_output()]),
            code("wide", [display({"text/html": wide + "</tr></table>"})]),
        ],
        without=["history.csv"],
    )
    write_run(
        runs,
        "bare",
        notebook="1_explore",
        status="interrupted",
        headline={},
        parameters={},
        started="2026-10-30T00:00:00+00:00",
        without=["notebook.ipynb", "history.csv", "metrics.json", "predictions.csv"],
    )
    reports.publish(runs, root / "reports")
    return root / "reports"


@pytest.fixture(scope="module")
def no_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("empty")
    reports.publish(root / "runs", root / "reports")
    return root / "reports"


@pytest.fixture
def visit(browser):
    """Open a page in a browser of its own; anything that the page complains of fails the test."""
    complaints, contexts = [], []

    def visit(file, width=1440, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(("console", message.text)))
        page.on("pageerror", lambda error: complaints.append(("error", str(error))))
        page.on("requestfailed", lambda request: complaints.append(("failed", request.url)))
        page.on("dialog", lambda dialog: (complaints.append(("dialog", "")), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:"))
                or complaints.append(("request", request.url))
            ),
        )
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def file_of(site, name):
    return site / FAILED / "index.html" if name == "failed" else site / name


def names(page):
    return page.eval_on_selector_all(
        "#runs tbody tr:not([hidden])", "rows => rows.map((row) => row.dataset.run)"
    )


def test_a_complaint_of_a_page_is_noticed(browser, tmp_path):
    # The fixture `visit` would be worthless if it saw none of these.
    page = browser.new_page()
    seen = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("requestfailed", lambda request: seen.append(request.url))
    (tmp_path / "page.html").write_text(
        '<img src="https://example.org/a.png"><script>console.log("said")</script><p>grey'
    )
    page.goto((tmp_path / "page.html").as_uri())
    assert {"said", "https://example.org/a.png"} <= set(seen)
    assert axe.Axe().run(page).violations_count > 0
    page.close()


@pytest.mark.parametrize("name", [*PAGES, "no runs"])
def test_axe_finds_no_violation_and_no_page_scrolls_sideways(site, no_runs, visit, name):
    page = visit(no_runs / "index.html" if name == "no runs" else file_of(site, name))
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            if width == 390:  # between two widths that axe sees
                continue
            found = axe.Axe().run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


FOCUSABLE = """
() => [...document.querySelectorAll(
        "a[href], button, input, select, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
"""
FOCUSED = """
(all) => {
    const focused = document.activeElement;
    const { top, bottom } = focused.getBoundingClientRect();
    const style = getComputedStyle(focused);
    return [all.indexOf(focused), style.outlineStyle !== "none" && style.outlineWidth === "2px",
            bottom > 0 && top < innerHeight];
}
"""


@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_reaches_every_control_in_reading_order(site, visit, name):
    page = visit(file_of(site, name), reduced_motion="reduce")
    controls = page.evaluate_handle(FOCUSABLE)
    count = controls.evaluate("(all) => all.length")
    seen = []
    for _ in range(count):
        page.keyboard.press("Tab")
        seen.append(controls.evaluate(FOCUSED))
    assert seen == [[number, True, True] for number in range(count)]


def test_the_first_stop_leads_past_the_head_of_the_page(site, visit):
    page = visit(site / "a" / "index.html")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    assert page.locator(":focus").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_table_sorts_with_empty_values_last(site, visit):
    page = visit(site / "index.html")
    assert names(page) == [FAILED, "b", "a", "compare", "bare"]
    page.get_by_role("button", name="Macro F1", exact=True).focus()
    page.keyboard.press("Enter")
    header = page.get_by_role("columnheader", name="Macro F1", exact=True)
    assert names(page)[:2] == ["a", "b"]
    assert header.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert names(page)[:2] == ["b", "a"]
    assert header.get_attribute("aria-sort") == "ascending"
    assert page.locator("[aria-sort]").count() == 1


def test_the_filter_keeps_rows_with_all_words_their_curves_and_their_choices(site, visit):
    page = visit(site / "index.html")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("FAILED quick")
    assert names(page) == [FAILED]
    assert page.locator(".curves > li").locator("visible=true").count() == 1
    assert page.locator("#filter-count").inner_text() == "1 of 5 runs"
    shown = "options => options.filter((each) => !each.hidden).map((each) => each.value)"
    assert page.eval_on_selector_all("#compare-1 option", shown) == [FAILED, "b"]
    for _ in range(12):
        page.keyboard.press("Backspace")
    assert len(names(page)) == 5
    assert len(page.eval_on_selector_all("#compare-1 option", shown)) == 5


def test_two_runs_are_compared(site, visit):
    page = visit(site / "index.html")
    rows = page.locator("#comparison tbody tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["Parameter", "epochs", "8", "2"],
        ["Parameter", "cache", "–", "true"],
        ["Metric", "Macro F1", "0.100", "0.200"],
    ]
    page.get_by_label("Second run").focus()
    page.keyboard.press("ArrowUp")
    assert page.locator("#compare-count").inner_text() == "No differences"
    assert not page.locator("#comparison").is_visible()


def test_the_name_of_a_run_stands_on_one_line(site, visit):
    seen = visit(site / "index.html").evaluate(
        """() => {
        const link = document.querySelector("#runs tbody th a");
        const cell = link.parentElement;
        const height = (text) => {
            link.textContent = text;
            return cell.clientHeight;
        };
        const long = "a-name-of-many-parts-".repeat(20);
        return [height("quick-2_train_resnet-edc93253") === height("a"),
            height(long) === height("a"), cell.title.startsWith("<"),
            height(long) && cell.clientWidth < cell.closest("div").clientWidth];
        }"""
    )
    assert seen == [True, True, True, True]


def test_names_of_runs_stay_text(site, visit):
    assert visit(site / "index.html").title() == "Runs · Human Protein Atlas notebooks"
    failed = visit(site / FAILED / "index.html")
    assert failed.title() == f"Train a network · {FAILED}"
    assert failed.locator(".run-name").inner_text() == FAILED
    assert failed.locator("#failed-cell").is_visible()


def test_one_switch_shows_all_code(site, visit):
    page = visit(site / "a" / "index.html")
    opened = page.locator("details.code[open]")
    assert opened.count() == 0
    page.get_by_role("button", name="Show all code").focus()
    page.keyboard.press("Enter")
    assert opened.count() == 5
    page.keyboard.press("Enter")
    assert opened.count() == 0


def test_figures_enlarge_in_a_dialog_that_takes_the_focus_and_gives_it_back(site, visit):
    page = visit(site / "a" / "index.html")
    page.locator("a.enlarge").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("button").evaluate("each => each === document.activeElement")
    alternative = page.locator("figure img").first.get_attribute("alt")
    assert dialog.locator("img").get_attribute("alt") == alternative
    assert dialog.locator("p").inner_text() == "Figure 1 F1 by epoch."
    assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "enlarge"
    page.keyboard.press("Enter")
    page.mouse.click(5, 450)
    assert not dialog.is_visible()


@pytest.mark.parametrize("name", PAGES)
def test_paper_gets_all_text_and_no_controls(site, visit, name):
    page = visit(file_of(site, name))
    page.emulate_media(media="print", color_scheme="dark")
    controls = page.locator("button:not(thead button), input, select, .skip, nav, dialog")
    assert controls.locator("visible=true").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 700, "height": 900})  # an A4 sheet between its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    clipped = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((each) =>
            each.checkVisibility() && getComputedStyle(each).overflow !== "visible"
            && !each.closest("svg") && each.tagName !== "IMG"
            && (each.scrollHeight > each.clientHeight + 1
                || each.scrollWidth > each.clientWidth + 1)
        ).map((each) => each.outerHTML.slice(0, 120))"""
    )
    assert clipped == []
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) < 20


@pytest.mark.parametrize("name", PAGES)
def test_without_javascript_all_is_readable_and_no_dead_control_shows(site, visit, name):
    page = visit(file_of(site, name), java_script_enabled=False)
    assert page.locator("button, input, select").locator("visible=true").count() == 0
    if name == "index.html":
        assert page.locator("#runs tbody tr").locator("visible=true").count() == 5
        assert page.get_by_text("Choosing two runs needs JavaScript").is_visible()
        return
    for link in page.locator("nav.contents a").all():
        link.click()
        assert page.locator(":target").is_visible()


def test_without_javascript_the_address_enlarges_a_figure(site, visit):
    page = visit(site / "a" / "index.html", java_script_enabled=False)
    before = page.locator("#figure-2 img").bounding_box()["width"]
    page.locator("#figure-2 a.enlarge").click()
    assert page.locator("#figure-2 img").bounding_box()["width"] > 1.5 * before
    page.locator("#figure-2 a.close").click()
    assert page.locator("#figure-2 img").bounding_box()["width"] == before


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("name", ["index.html", "a/index.html"])
def test_pages_can_be_drawn_in_both_schemes(site, visit, width, name):
    page = visit(site / name, width)
    drawn = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        drawn[scheme] = page.screenshot()
    assert drawn["light"] != drawn["dark"]


def test_the_head_of_a_long_table_stays_in_sight(tmp_path, visit):
    first = write_run(tmp_path / "runs", "run-00", without=["notebook.ipynb", "history.csv"])
    for number in range(1, 30):
        shutil.copytree(first, first.with_name(f"run-{number:02}"))
    reports.publish(tmp_path / "runs", tmp_path / "reports")
    page = visit(tmp_path / "reports" / "index.html", reduced_motion="reduce")
    links = page.locator("#runs tbody a")
    links.nth(29).focus()
    head, box = page.locator("#runs thead th").first, page.locator(".all-runs")
    assert head.bounding_box()["y"] == pytest.approx(box.bounding_box()["y"], abs=1)
    links.nth(15).focus()
    covered = head.bounding_box()
    assert links.nth(15).bounding_box()["y"] >= covered["y"] + covered["height"]
