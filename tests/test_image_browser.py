import base64
import re

import cv2
import nbformat
import numpy as np
import pytest

from hpa_lib import (
    image_browser,
    images,
    labels,
    plots,
    predictions,
    report_notebook,
    run_digests,
    splits,
)
from hpa_lib.errors import HpaError
from hpa_lib.image_browser import ImageBrowser
from hpa_lib.sample_selection import FALSE, MISSED, RIGHT

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def division(tiny):
    rows = np.arange(len(tiny))
    parts = {"training": rows[:12], "validation": rows[12:14], "report": rows[14:]}
    return splits.Split("file", parts | {"threshold": rows[:0]}, tiny.fingerprint)


@pytest.fixture
def browser(tiny, division):
    return ImageBrowser(tiny, division)


@pytest.fixture
def run(tiny, division, leave_run):
    """Name of a run that gives each validation sample its labels, but 12 a false one, 13 none."""
    left = leave_run()
    rows = division.parts["validation"]
    probability = np.where(tiny.multi_hot[rows] == 1, 0.9, 0.1)
    probability[0, 3], probability[1] = 0.8, 0.2
    probability[1, 9] = 0.4  # never empty: class 9 is given
    table = predictions.table(tiny, {"validation": rows}, {"validation": np.float32(probability)})
    predictions.write(left.folder / predictions.FILE, table)
    run_digests.add(left.folder / predictions.FILE)
    return left.folder.name


def picture(browser):
    """Pixels of the picture, red–green–blue."""
    content = re.search(r"base64,([^\"]+)", browser.texts["picture"])[1]
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def test_first_sample_is_shown_with_exact_pixels(tiny, browser):
    assert (browser.row, browser.position, browser.sample_id) == (0, 1, tiny.ids[0])
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(0)))
    assert f"sample {tiny.ids[0]}" in browser.texts["picture"]
    assert "Nucleoplasm, Rods &amp; rings." in browser.texts["table"]
    assert browser.texts["facts"] == "row 0 · training"
    assert browser.texts["message"] == ""


def test_buttons_step_and_go_round(tiny, browser):
    browser.controls["next"].click()
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(1)))
    for _ in range(2):
        browser.controls["previous"].click()
    assert browser.row == len(tiny) - 1
    browser.controls["next"].click()
    assert browser.row == 0


def test_position_and_id_jump(tiny, browser):
    browser.position = 6
    assert browser.sample_id == tiny.ids[5]
    browser.sample_id = f" {tiny.ids[9]} "
    assert (browser.row, browser.position) == (9, 10)
    browser.sample_id = "nobody"
    assert "no sample &#x27;nobody&#x27;" in browser.texts["message"]
    assert (browser.row, browser.sample_id) == (9, tiny.ids[9])
    browser.controls["next"].click()
    assert browser.texts["message"] == ""


def test_class_and_part_narrow_the_choice_and_keep_the_sample(tiny, browser):
    browser.position = 13
    browser.class_name = labels.CLASS_NAMES[12]
    assert browser.row == 12
    assert browser.texts["summary"].count("1 of 24 samples fit.") == 1
    browser.class_name, browser.part = None, "validation"
    assert browser.selection.rows.tolist() == [12, 13]
    browser.class_name = labels.CLASS_NAMES[0]
    assert browser.row is None
    assert "No sample fits." in browser.texts["picture"]
    assert browser.controls["next"].disabled
    browser.part = None
    assert browser.row == 0
    with pytest.raises(HpaError, match="part is 'test'"):
        browser.part = "test"


def test_channels_gain_and_grey_by_hand(tiny, browser):
    red, green, blue, yellow = np.moveaxis(tiny.read_sample(0).astype(int), -1, 0)
    browser.controls["yellow"].value = browser.controls["green"].value = False
    np.testing.assert_array_equal(picture(browser), np.stack([red, 0 * red, blue], -1))
    browser.controls["blue_gain"].value = 0.0
    browser.controls["red_gain"].value = 2.0
    wanted = np.stack([np.minimum(2 * red, 255), 0 * red, 0 * red], -1)
    np.testing.assert_array_equal(picture(browser), wanted)
    assert "channels: red (microtubules);" in browser.texts["picture"]
    browser.grey_channel = "green"  # switched off in the overlay, and yet shown alone
    np.testing.assert_array_equal(picture(browser), np.repeat(green[..., None], 3, -1))
    browser.controls["reset"].click()
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(0)))
    assert yellow.any()


def test_region_stays_while_stepping(tiny, browser):
    browser.magnification, browser.across, browser.down = 4.0, 100, 0
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(0)[:5, 15:]))
    assert "columns 15 to 19, rows 0 to 4" in browser.texts["caption"]
    browser.controls["next"].click()
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(1)[:5, 15:]))


def test_settings_do_not_decode_again(tiny, browser, monkeypatch):
    monkeypatch.setattr(type(tiny), "read_channels", None)
    browser.gamma = 0.5
    browser.stretch = True
    browser.magnification = 2.0
    assert browser.texts["message"] == ""
    assert "rows 5 to 14" in browser.texts["caption"]


def test_large_images_are_reduced(write_dataset, tmp_path):
    from hpa_lib import dataset

    folder = write_dataset(tmp_path / "large", samples=4, size=1100, label_sets=[(0,)] * 4)
    opened = dataset.load(folder)
    rows = np.arange(4)
    browser = ImageBrowser(opened, splits.Split("file", {"training": rows}, opened.fingerprint))
    assert picture(browser).shape == (512, 512, 3)
    browser.magnification = None
    assert "columns 294 to 805" in browser.texts["caption"]


def test_outcomes_of_a_run(tiny, division, run):
    browser = ImageBrowser(tiny, division)
    assert browser.controls["outcome"].disabled
    browser.run_name = run
    assert "no prediction for 22 samples" in browser.texts["summary"]
    for outcome, rows in ((RIGHT, []), (MISSED, [13]), (FALSE, [12, 13])):
        browser.outcome = outcome
        assert browser.selection.rows.tolist() == rows
    browser.position = 1
    table = browser.texts["table"]
    lines = re.findall(r"<tr><th scope=\"row\"[^>]*>(.*?)</th>(.*?)</tr>", table)
    verdicts = {name: re.sub(r"<[^>]+>", " ", cells).split()[:5] for name, cells in lines}
    assert verdicts[labels.CLASS_NAMES[3]] == ["no", "yes", "0.800", "0.500", "+"]
    assert verdicts[labels.CLASS_NAMES[12]] == ["yes", "yes", "0.900", "0.500", "✓"]
    browser.outcome = MISSED
    assert "− missed" in browser.texts["table"]
    browser.run_name = None
    assert (browser.outcome, len(browser.selection.rows)) == ("any", 24)


def test_sample_that_was_not_predicted_says_so(tiny, division, run):
    browser = ImageBrowser(tiny, division)
    browser.run_name = run
    assert browser.row == 0
    assert "didn't predict it" in browser.texts["table"].replace("&#x27;", "'")


def test_damaged_run_is_reported_and_left(tiny, division, run):
    from hpa_lib import paths

    browser = ImageBrowser(tiny, division)
    (paths.runs_folder() / run / predictions.FILE).write_text("Id\n")
    browser.run_name = run
    assert "predictions.csv" in browser.texts["message"]
    assert browser.run_name is None
    assert "<img" in browser.texts["picture"]


def test_unreadable_image_shows_a_message_and_the_browser_goes_on(tiny, division):
    tiny.paths(1)[2].write_bytes(b"no image <b>")
    browser = ImageBrowser(tiny, division)
    browser.controls["next"].click()
    assert tiny.paths(1)[2].name in browser.texts["message"]
    assert "can&#x27;t be shown" in browser.texts["picture"].replace("'", "&#x27;")
    browser.controls["red_gain"].value = 2.0  # nothing to draw
    browser.controls["reset"].click()
    browser.controls["next"].click()
    assert browser.texts["message"] == ""
    np.testing.assert_array_equal(picture(browser), images.to_display(tiny.read_sample(2)))


def test_unexpected_failure_is_shown_in_the_widget(browser, monkeypatch, caplog):
    monkeypatch.setattr(image_browser.image_view, "colour", lambda *_: 1 / 0)
    browser.controls["next"].click()
    assert "ZeroDivisionError" in browser.texts["message"]
    assert "image browser has failed" in caplog.text


def test_every_control_is_labelled(browser):
    assert all(control.description for control in browser.controls.values())


def test_text_from_data_is_escaped(tiny, division, monkeypatch):
    from dataclasses import replace

    ids = ("<script>alert(1)</script>", *tiny.ids[1:])
    browser = ImageBrowser(replace(tiny, ids=ids, sources=("<i>",) * len(ids)), division)
    assert "<script" not in "".join(browser.texts.values())
    assert browser.texts["facts"] == "row 0 · training · &lt;i&gt;"


def test_headless_it_is_a_figure_of_the_first_samples(tiny, division, run, monkeypatch):
    monkeypatch.setattr(image_browser, "ImageBrowser", None)  # no widget is even made
    found = image_browser.browse(tiny, division, part="validation", run_name=run)
    assert isinstance(found, plots.Picture)
    assert found.table["Id"].tolist() == [tiny.ids[12], tiny.ids[13]]
    assert found.table["part"].tolist() == ["validation"] * 2
    assert found.table[run].iloc[1] == labels.CLASS_NAMES[9]
    assert tiny.ids[12] in found.alt
    whole = image_browser.browse(tiny, division)
    assert len(whole.table) == image_browser.STATIC_SAMPLES
    nothing = image_browser.browse(tiny, division, part="threshold")
    assert nothing.table.empty
    assert "none fits" in nothing.alt


def test_unreadable_sample_is_counted_in_the_figure(tiny, division):
    tiny.paths(1)[2].write_bytes(b"no image")
    found = image_browser.browse(tiny, division)
    assert "The images of 1 of 6 samples can't be read." in found.caption
    assert len(found.figure.axes) == image_browser.STATIC_SAMPLES - 1


def test_page_of_a_notebook_run_in_a_front_end_shows_the_figure(tiny, division, monkeypatch):
    shown = []
    monkeypatch.setattr(image_browser.front_end, "someone_looks_on", lambda: True)
    monkeypatch.setattr(
        image_browser,
        "display",
        lambda data, metadata=None, raw=None: shown.append((data, metadata)),
    )
    browser = image_browser.browse(tiny, division, part="report")
    assert (browser.part, browser.row) == ("report", 14)
    browser._ipython_display_()
    assert [WIDGET in data for data, _ in shown] == [False, True]
    outputs = [
        nbformat.v4.new_output("display_data", data, metadata=metadata or {})
        for data, metadata in shown
    ]
    cell = nbformat.v4.new_code_cell("browser", outputs=outputs)
    content = nbformat.v4.new_notebook(cells=[cell])
    report_notebook.NotebookContent(content, "Title")
    figure, table = content.cells[0].outputs
    assert tiny.ids[14] in figure.metadata["figure"]["alt"]
    assert table.metadata["follows_figure"]
    assert tiny.ids[14] in table.metadata["html"]
    for output in content.cells[0].outputs:
        best = next(kind for kind in report_notebook.MIME_PRIORITY if kind in output.data)
        assert best in ("image/jpeg", "text/html")


def test_real_images_fit(real_images):
    from hpa_lib import dataset

    opened = dataset.load(real_images)
    browser = ImageBrowser(opened, splits.split(opened, "stratified", 0))
    browser.stretch = True
    browser.controls["next"].click()
    assert browser.texts["message"] == ""
    shape = opened.read_sample(browser.row).shape
    assert f"Image of {shape[1]}×{shape[0]} pixels" in browser.texts["caption"]
