"""Claim: 500 runs are published in under 10 s, and their index answers within 200 ms.

Within 200 ms from an action to the next picture is what Web Vitals call a good response.

Run folders are those that quick training leaves: an executed notebook with an image of a batch,
two drawings and six tables, metrics, the history of 12 epochs, and predictions. Everything in them
differs between runs but the code and the text. Times in Chromium end with the frame that shows the
result. Processor time includes that of helping processes; wall time depends on what else the
machine does.

    python benchmarks/reports.py [--runs 500]
"""

import argparse
import base64
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from playwright.sync_api import Page, sync_playwright

from hpa_lib import labels, reports, run_digests
from hpa_lib.files import write_json

EPOCHS, CODE_CELLS, TABLE_COLUMNS, REPETITIONS = 12, 12, (1, 3, 8, 2, 10, 3), 5
PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
ACTIONS = {
    "sort by a metric": "document.querySelector('#runs th.metric button').click()",
    "sort by name": "document.querySelector('#runs th button').click()",
    "filter": "type('vgg')",
    "end the filter": "type('')",
    "compare two runs": """{
        const choice = document.getElementById("compare-1");
        choice.selectedIndex = (choice.selectedIndex + 1) % choice.length;
        choice.dispatchEvent(new Event("change"));
    }""",
}
TYPE = """(text) => {
    const filter = document.getElementById("filter");
    filter.value = text;
    filter.dispatchEvent(new Event("input"));
}"""


def executed_notebook(seed: int) -> nbformat.NotebookNode:
    """A notebook of the size and the kinds of output that quick training leaves."""
    random = np.random.default_rng(seed)

    def cell(source: str, *data: dict[str, str]) -> nbformat.NotebookNode:
        outputs = [nbformat.v4.new_output("display_data", data=each) for each in data]
        return nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=1)

    batch = cv2.resize(random.integers(0, 256, (75, 150, 3), np.uint8), (1200, 600))
    batch_jpeg = base64.b64encode(cv2.imencode(".jpg", batch)[1]).decode()
    path = " ".join(f"L{x:.3f} {y:.3f}" for x, y in random.uniform(0, 400, (2000, 2)))
    box = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400"'
    drawing = f'<svg {box}><path d="M0 0 {path}"/></svg>'
    parameters = "\n".join(f"parameter_{row} = {row * (seed + 1)}" for row in range(50))
    cells = [
        nbformat.v4.new_markdown_cell("# Train a network"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["injected-parameters"]}),
        cell("show(batch)", {"image/jpeg": batch_jpeg, "text/plain": "<Figure>"}),
        *(cell("draw(curves)", {"image/svg+xml": drawing, "text/plain": ""}) for _ in range(2)),
    ]
    for columns in TABLE_COLUMNS:
        index = pd.Index(labels.CLASS_NAMES, name="class")
        names = [f"quantity {column}" for column in range(columns)]
        table = pd.DataFrame(random.random((len(index), columns)).round(4), index, names)
        cells.append(cell("table", {"text/html": table.to_html(notebook=True), "text/plain": ""}))
    for number in range(CODE_CELLS):
        lines = "\n".join(f"value_{row} = compute({number}, scale={row})" for row in range(12))
        cells += [nbformat.v4.new_markdown_cell(f"## Part {number}\n\nWhat it does."), cell(lines)]
    return nbformat.v4.new_notebook(cells=cells)


def write_run(folder: Path, number: int) -> None:
    """Write a run folder, every fifth one of them failed."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(number)
    notebook = ("2_train_resnet", "3_train_vgg")[number % 2]
    preset = {f"parameter_{row}": row for row in range(50)}
    finished = number % 5 > 0
    manifest = {
        "run": folder.name,
        "notebook": notebook,
        "title": f"Train the network of {notebook}",
        "preset": "quick",
        "status": "complete" if finished else "failed",
        "reason": None if finished else "HpaError: the weights are missing.",
        "parameters": preset | {"parameter_3": number, "parameter_7": number % 7},
        "preset_parameters": preset,
        "dataset": {"name": "synthetic", "samples": 1500, "fingerprint": "f" * 64},
        "started": f"2026-11-23T{number // 60 % 24:02}:{number % 60:02}:00+00:00",
        "seconds": float(random.uniform(300, 900)),
        "command": f"papermill notebooks/{notebook}.ipynb out.ipynb -f runs/x/params.yaml",
    }
    write_json(folder / "manifest.json", manifest)
    names = ("Macro F1", "Micro F1", "Macro average precision", "Binary accuracy")
    headline = dict(zip(names, random.random(4).tolist(), strict=True))
    write_json(folder / "metrics.json", {"headline": headline if finished else {}})
    columns = ("loss", "val_loss", "batch_averaged_f1", "val_macro_f1")
    history = pd.DataFrame(random.random((EPOCHS, 4)), columns=columns)
    history.insert(0, "stage", np.where(np.arange(EPOCHS) < 4, "stage 1", "stage 2"))
    history.to_csv(folder / "history.csv", index=False)
    ids = [f"{row:036x}" for row in range(450)]
    pd.DataFrame(random.random((450, 28)).round(5), ids).to_csv(folder / "predictions.csv")
    (folder / "params.yaml").write_text("preset: quick\n")
    nbformat.write(executed_notebook(number), folder / "notebook.ipynb")
    if finished:
        run_digests.write(folder, {})


def measured(work: Callable[[], list[Path]]) -> tuple[int, float, float]:
    """Pages built, wall time and processor time of one publication."""

    def used() -> float:
        get_reusable_executor().shutdown(wait=True)  # the time of processes counts at their end
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in both)

    before, begin = used(), time.perf_counter()
    built = len(work())
    wall = time.perf_counter() - begin
    return built, wall, used() - before


def time_of(page: Page, action: str) -> float:
    """Milliseconds from an action to the frame that shows its result."""
    return page.evaluate(
        f"""async () => {{
            const type = {TYPE};
            await {PAINTED};
            const begin = performance.now();
            {action};
            await {PAINTED};
            return performance.now() - begin;
        }}"""
    )


def measure_index(index: Path) -> dict[str, float]:
    """Milliseconds of loading the index and of each action, medians."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        loads = []
        for _ in range(REPETITIONS):
            begin = time.perf_counter()
            page.goto(index.as_uri())
            page.evaluate(PAINTED)
            loads.append(1000 * (time.perf_counter() - begin))
        times = {"load": statistics.median(loads)}
        rounds = [{name: time_of(page, each) for name, each in ACTIONS.items()} for _ in loads]
        browser.close()
    return times | {name: statistics.median(each[name] for each in rounds) for name in ACTIONS}


def main() -> None:
    """Print the table of publications and that of the index."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        runs, folder = Path(name) / "runs", Path(name) / "reports"
        for number in range(count):
            write_run(runs / f"quick-run-{number:08x}", number)
        print(f"{count} runs\n{'publish':<24} {'pages':>6} {'wall, s':>8} {'processor, s':>13}")
        one = runs / f"quick-run-{count // 2:08x}" / "metrics.json"
        for label in ("from nothing", "nothing changed", "one run changed"):
            if label == "one run changed":
                write_json(one, {**json.loads(one.read_text()), "changed": True})
            built, wall, processor = measured(lambda: reports.publish(runs, folder))
            print(f"{label:<24} {built:>6} {wall:>8.2f} {processor:>13.2f}")
        pages = [path.stat().st_size for path in folder.glob("*/index.html")]
        index = folder / "index.html"
        print(f"a page has {statistics.median(pages) / 1e6:.2f} MB, ", end="")
        print(f"the index {index.stat().st_size / 1e6:.2f} MB")
        print(f"{'index in Chromium':<24} {'ms':>6}")
        for label, milliseconds in measure_index(index).items():
            print(f"{label:<24} {milliseconds:>6.0f}")


if __name__ == "__main__":
    main()
