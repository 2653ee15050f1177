"""Run folders as finished runs leave them, and readers of the pages made from them."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hpa_lib.files import write_json

HOSTILE_TEXT = (
    "</script><script>document.title='broken';alert(1)</script><img src=x onerror=alert(2)>\"'&"
)
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
        "host": "a1b2c3d4e5f6",
        "process": 4711,
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
            "stage": ["stage 1", "stage 1", "stage 2"],
            "loss": [0.5, 0.3, 0.2],
            "batch_averaged_f1": [0.1, 0.2, 0.3],
            "val_loss": [0.6, 0.4, 0.5],
            "val_macro_f1": [0.1, 0.4, 0.25],
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
        self.feed(str(html))

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
