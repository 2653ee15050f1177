"""The index of all runs: the page with its table, comparison and curves, and ``runs.json``."""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hpa_lib import report_templates, report_text
from hpa_lib.files import write_json, write_text
from hpa_lib.report_curves import learning_curves
from hpa_lib.report_runs import STATUSES, ReportedRun

_KINDS = ("Parameter", "Metric", "Provenance")


def write_index(runs: Iterable[ReportedRun], reports_folder: Path) -> None:
    """Write ``index.html`` and ``runs.json``, the newest run first."""
    newest_first = sorted(runs, key=lambda run: (run.text("started"), run.name), reverse=True)
    write_json(reports_folder / "runs.json", [_record(run) for run in newest_first])
    write_text(reports_folder / "index.html", _render(newest_first))


def metric_columns(runs: Iterable[ReportedRun]) -> list[str]:
    """Headline figures that have a column in the shared table: those of training runs.

    They stand in the order in which the runs name them.
    """
    return list(dict.fromkeys(label for run in runs if run.is_training for label in run.headline))


def best_runs(runs: Iterable[ReportedRun], labels: Iterable[str]) -> set[tuple[str, str]]:
    """Pairs (run, metric) with the best value among complete runs on the same dataset.

    A metric is marked only where at least two runs on one dataset differ in it, and only if its
    name tells whether more or less of it is better.
    """
    best = set()
    complete = [run for run in runs if run.status == "complete"]
    for label in labels:
        groups: dict[str, list[ReportedRun]] = {}
        for run in complete:
            if label in run.headline:
                groups.setdefault(run.dataset_key, []).append(run)
        for group in groups.values():
            values = [run.headline[label] * _direction(label) for run in group]
            if min(values) < max(values):
                best.update(
                    (run.name, label)
                    for run, value in zip(group, values, strict=True)
                    if value == max(values)
                )
    return best


def _record(run: ReportedRun) -> dict[str, Any]:
    """The facts of a run for programs."""
    page = report_templates.page_address(run.name)
    return {**run.manifest, "run": run.name, "page": page, "headline": run.headline}


@cache
def _template() -> jinja2.Template:
    folders = [report_templates.TEMPLATES, report_templates.TEMPLATES / "hpa"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), trim_blocks=True, lstrip_blocks=True
    )
    report_templates.configure(environment)
    environment.filters["page_address"] = report_templates.page_address
    return environment.get_template("reports_index.html.j2")


def _render(runs: list[ReportedRun]) -> str:
    labels = metric_columns(runs)
    trained = [run for run in runs if run.status == "complete" and run.is_training]
    newest: dict[str, ReportedRun] = {}
    for run in runs:
        if run.status == "complete":
            newest.setdefault(run.text("notebook"), run)
    return _template().render(
        css=report_templates.asset("hpa/report.css"),
        js=report_templates.asset("reports_index.js"),
        runs=runs,
        statuses=STATUSES,
        labels=labels,
        best=best_runs(runs, labels),
        newest=[newest[notebook] for notebook in sorted(newest)],
        unfinished=[run for run in runs if run.status in ("failed", "interrupted")],
        compared=[run.name for run in dict.fromkeys((*trained, *runs))][:2],
        curves=learning_curves(runs),
        comparison=Markup(_script_json(_comparison(runs))),
    )


def _comparison(runs: list[ReportedRun]) -> dict[str, Any]:
    """All facts of all runs in a form that stays small, as runs share most of them.

    Returns:
        ``runs`` (their names) and ``facts``. A fact has ``kind``, ``name``, ``texts`` (each
        different one once) and ``choice`` (for each run the index of its text; null without).
    """
    facts: dict[tuple[str, str], list[str | None]] = {}
    for row, run in enumerate(runs):
        for kind, named in _comparable(run).items():
            for name, text in named.items():
                facts.setdefault((kind, name), [None] * len(runs))[row] = text
    described = []
    for (kind, name), texts in sorted(facts.items(), key=lambda fact: _KINDS.index(fact[0][0])):
        different = dict.fromkeys(text for text in texts if text is not None)
        index = {text: number for number, text in enumerate(different)}
        choice = [index.get(text) for text in texts]
        described.append({"kind": kind, "name": name, "texts": list(index), "choice": choice})
    return {"runs": [run.name for run in runs], "facts": described}


def _comparable(run: ReportedRun) -> dict[str, Any]:
    """Facts of a run that the index compares, as group → name → text."""
    own = ("Run", "Started", "Finished")
    parameters = {name: report_text.parameter(value) for name, value in run.parameters.items()}
    metrics = {label: report_text.metric(value) for label, value in run.headline.items()}
    provenance = {label: text for label, text in run.provenance() if label not in own}
    return dict(zip(_KINDS, (parameters, metrics, provenance), strict=True))


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: no character there can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _direction(label: str) -> int:
    """Whether more of a metric is better (1), less is better (-1), or neither is known (0)."""
    words = label.lower()
    if re.search(r"\b(loss|error|cross-entropy)\b", words):
        return -1
    if re.search(r"\b(f1|accuracy|precision|recall|auc|jaccard)\b", words):
        return 1
    return 0
