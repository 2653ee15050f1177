"""Render the page of one run: status, figures, the executed notebook, parameters, provenance.

Pages come from nbconvert with the template ``templates/hpa``, a child of nbconvert's ``base``.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from traitlets.config import Config

from hpa_lib import report_templates, report_text
from hpa_lib.errors import HpaError
from hpa_lib.files import read_text
from hpa_lib.report_notebook import MIME_PRIORITY, NotebookContent
from hpa_lib.report_privacy import Concealer
from hpa_lib.report_runs import DOWNLOADS, STATUSES, ReportedRun

_STREAMS = CoalesceStreamsPreprocessor()  # called here: an exporter would also validate


def render_page(
    notebook: Path,
    run: ReportedRun | None,
    known_runs: set[str] | None = None,
    downloads: Sequence[Path] = (),
    concealed: bool = False,
) -> str:
    """Render a notebook as one HTML page without network references.

    Args:
        notebook: The executed notebook. It may be missing or damaged where there is a run: the
            page then says that the run left none.
        run: The run it belongs to, or None for the notebook alone.
        known_runs: Names of runs that have a page beside this one; None if the page stands alone
            and links to no other.
        downloads: Files that lie beside the page, of those in `DOWNLOADS`.
        concealed: Whether the notebook's file already leaves out what isn't published.

    Returns:
        The page as HTML text.

    Raises:
        HpaError: If there is no run and the notebook is missing or no notebook.
    """
    conceal = str if concealed else run.conceal if run else Concealer()
    source = _read_notebook(notebook, conceal, required=run is None)
    shown, _ = _STREAMS.preprocess(_Shown(source or nbformat.v4.new_notebook()), {})
    content = NotebookContent(shown, run.title if run else None)
    resources = {
        "css": report_templates.asset("hpa/report.css"),
        "js": report_templates.asset("hpa/report.js"),
        "title": content.title or notebook.stem,
        "content": content,
        "has_notebook": source is not None,
        "in_site": known_runs is not None,
        "run": run,
    }
    if run:
        resources |= {
            "status": STATUSES[run.status],
            "parameters": _parameter_rows(run),
            "facts": run.provenance(),
            "inputs": _inputs(run, known_runs),
            "downloads": [
                (path.name, DOWNLOADS[path.name], report_text.file_size(path.stat().st_size))
                for path in downloads
            ],
        }
    # HTMLExporter's own method would parse the whole page again to add text alternatives.
    html, _ = TemplateExporter.from_notebook_node(_exporter(), shown, resources=resources)
    return html


class _Shown(NotebookNode):
    """A notebook that nbconvert renders as it is, rather than a copy of a copy."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shown":
        return self


def _read_notebook(
    path: Path, conceal: Callable[[str], str], required: bool
) -> NotebookNode | None:
    if not path.is_file():
        if required:
            raise HpaError(f"Notebook {path} is missing.", "Name a file that exists.")
        return None
    try:
        # nbformat.reads would also validate it, and merely log what it finds.
        return nbformat.convert(nbformat.reader.reads(conceal(read_text(path))), 4)
    except Exception as error:  # nbformat raises many types for a damaged file
        if required:
            raise HpaError(
                f"{path} can't be read as a notebook ({error}).",
                "Name a Jupyter notebook (.ipynb).",
            ) from error
        return None


@cache
def _exporter() -> nbconvert.HTMLExporter:
    """The exporter with the project's template, blind to the user's nbconvert settings."""
    exporter = nbconvert.HTMLExporter(
        config=Config(
            {
                "HTMLExporter": {
                    "template_name": "hpa",
                    "extra_template_basedirs": [str(report_templates.TEMPLATES)],
                    "default_preprocessors": [],
                },
                "NbConvertBase": {"display_data_priority": list(MIME_PRIORITY)},
            }
        )
    )
    exporter.register_filter("highlight_code", _highlighted)
    report_templates.configure(exporter.environment)
    return exporter


@lru_cache(maxsize=512)
def _highlighted(source: str) -> str:
    """Code with its colours as HTML; runs of one notebook share most of their cells."""
    return Highlight2HTML()(source)


def _parameter_rows(run: ReportedRun) -> list[dict[str, Any]]:
    """Parameters in the order of the notebook, those changed from the preset marked."""
    preset = run.manifest.get("preset_parameters") or {}
    return [
        {
            "name": name,
            "value": value,
            "changed": name in preset and preset[name] != value,
            "preset": preset.get(name),
        }
        for name, value in run.parameters.items()
    ]


def _inputs(run: ReportedRun, known_runs: set[str] | None) -> list[tuple[str, str | None]]:
    """Names of the runs that this one reads, each with the address of its page if it has one."""
    if known_runs is None:
        return []
    return [
        (name, "../" + report_templates.page_address(name) if name in known_runs else None)
        for name in run.inputs
    ]
