"""Turn run folders into web pages that open from disk with the network off.

`publish` writes one page a run, the files to download beside it, ``index.html`` with all runs side
by side, and ``runs.json`` with the same facts for programs. A page is one file: style, script and
pictures are inside, and nothing is fetched from anywhere.

Pages come from nbconvert with the template ``templates/hpa``, a child of nbconvert's ``base``. All
text from notebooks, manifests and folder names is escaped; HTML in notebook outputs passes through
an allow list of elements and attributes.
"""

import base64
import csv
import json
import math
import re
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import nbconvert
import nbformat
from markupsafe import Markup
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML, strip_ansi
from nbformat import NotebookNode
from traitlets.config import Config

from hpa_lib import __version__
from hpa_lib.errors import HpaError
from hpa_lib.files import (
    digest_bytes,
    digest_file,
    digest_json,
    read_json,
    replacing,
    write_json,
    write_text,
)

TEMPLATES = Path(__file__).parent / "templates"

DOWNLOADS: dict[str, str] = {
    "notebook.ipynb": "Executed notebook",
    "params.yaml": "Parameters",
    "metrics.json": "Metrics",
    "manifest.json": "Manifest",
    "predictions.csv": "Predictions",
    "history.csv": "Training history",
}
"""Files of a run folder that are copied beside its page, with what they are called there."""

STATUSES: dict[str, tuple[str, str]] = {
    "complete": ("Complete", "All cells ran and the metrics are on disk."),
    "failed": ("Failed", "The run stopped with an error. What it had produced is shown below."),
    "interrupted": (
        "Interrupted",
        "The run was stopped before its end. What it had produced is shown below.",
    ),
    "running": ("Running", "The run has not finished. Publish again to see its end."),
}
"""Status of a run: word and explanation. An unknown status is shown as failed."""

_PAGE_RECORD = ".page.json"
_RESERVED_NAMES = ("index.html", "runs.json", "README.md")

_MIME_PRIORITY = (
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/html",
    "text/markdown",
    "text/latex",
    "text/plain",
)
_IMAGE_TYPES = ("image/svg+xml", "image/png", "image/jpeg")
_WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
_PAPERMILL_MARKER = "papermill-error-cell-tag"
_PARAMETER_TAGS = {
    "parameters": "Default parameters",
    "injected-parameters": "Parameters of this run",
}


# ---------------------------------------------------------------------------------------------
# Public functions


def publish(runs_folder: Path, reports_folder: Path) -> list[Path]:
    """Write a page for each run, the index and ``runs.json``.

    A page is built again only when a file of its run, the template, the library or nbconvert
    changed; the digest of all of them lies in ``.page.json`` beside the page. Pages of runs that
    are gone are removed. Hidden folders and folders without ``manifest.json`` are no runs.

    Args:
        runs_folder: Folder with one folder a run. It may be missing: the index is then empty.
        reports_folder: Folder to write to: ``index.html``, ``runs.json`` and ``<run>/index.html``.

    Returns:
        The run pages that were built or built again, in the order of their names.

    Raises:
        HpaError: If a run has the name of a file that lies in the reports folder.
    """
    runs_folder, reports_folder = Path(runs_folder), Path(reports_folder)
    runs = _read_runs(runs_folder)
    names = {run.name for run in runs}
    _remove_stale_pages(reports_folder, names)
    built = [page for run in runs if (page := _publish_run(run, reports_folder / run.name, names))]
    newest_first = sorted(runs, key=lambda run: (run.text("started"), run.name), reverse=True)
    write_json(
        reports_folder / "runs.json",
        [
            {**run.manifest, "run": run.name, "page": run.address, "headline": run.headline}
            for run in newest_first
        ],
    )
    write_text(reports_folder / "index.html", _render_index(newest_first))
    return built


def render_notebook(notebook: Path, run_folder: Path | None) -> str:
    """Render an executed notebook as one HTML page without network references.

    Args:
        notebook: Notebook file. It need not exist if `run_folder` is given: the page then says
            that the run left none.
        run_folder: Folder of the run that produced it, with ``manifest.json``; the page then
            shows status, parameters, key metrics and provenance. None for the notebook alone.

    Returns:
        The page as HTML text.

    Raises:
        HpaError: If the notebook is missing or no notebook, or the folder has no manifest.
    """
    run = None
    if run_folder is not None:
        run = _read_run(Path(run_folder))
        if run is None:
            raise HpaError(
                f"Run folder {run_folder} has no manifest.json.",
                "Name a folder that a run has written, such as one below runs/.",
            )
    return _render_page(Path(notebook), run, known_runs=None, downloads=())


# ---------------------------------------------------------------------------------------------
# Runs


@dataclass(frozen=True, eq=False)
class _Run:
    """What a page and the index need to know of a run folder."""

    folder: Path
    manifest: dict[str, Any]
    headline: dict[str, float]
    history: dict[str, list[float | str]]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def address(self) -> str:
        """Address of the page relative to the index."""
        return quote(self.name, safe="") + "/index.html"

    @property
    def title(self) -> str:
        return self.text("title") or self.text("notebook") or self.name

    @property
    def status(self) -> str:
        status = self.text("status")
        return status if status in STATUSES else "failed"

    @property
    def reason(self) -> str:
        return strip_ansi(self.text("reason")).strip()

    @property
    def dataset_name(self) -> str:
        return str((self.manifest.get("dataset") or {}).get("name") or "")

    @property
    def dataset_key(self) -> str:
        """Identifies the data: metrics of runs are compared only where it is equal."""
        dataset = self.manifest.get("dataset") or {}
        return str(dataset.get("fingerprint") or dataset.get("name") or "")

    def text(self, key: str) -> str:
        value = self.manifest.get(key)
        return "" if value is None else str(value)


def _read_runs(runs_folder: Path) -> list[_Run]:
    if not runs_folder.is_dir():
        return []
    runs = []
    for folder in sorted(runs_folder.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        run = _read_run(folder)
        if run is None:
            continue
        if folder.name in _RESERVED_NAMES:
            raise HpaError(
                f"Run folder {folder} has the name of a file in the reports folder.",
                "Rename the run folder.",
            )
        runs.append(run)
    return runs


def _read_run(folder: Path) -> _Run | None:
    """Read the facts of a run; None if it has no manifest. Damaged files don't stop the others."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    manifest = _read_mapping(path)
    if manifest is None:
        manifest = {"status": "failed", "reason": "manifest.json can't be read."}
    metrics = _read_mapping(folder / "metrics.json") or {}
    headline = metrics.get("headline")
    headline = headline if isinstance(headline, dict) else {}
    return _Run(
        folder=folder,
        manifest=manifest,
        headline={label: value for label, value in headline.items() if _is_number(value)},
        history=_read_history(folder / "history.csv"),
    )


def _read_mapping(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _read_history(path: Path) -> dict[str, list[float | str]]:
    """Read a training history as columns; numbers where a cell holds one, else its text."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = list(rows[0]) if rows else []
    return {
        column: [_number_or_text(row[column]) for row in rows]
        for column in columns
        if column is not None
    }


def _number_or_text(text: str | None) -> float | str:
    try:
        return float(text or "nan")
    except ValueError:
        return str(text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ---------------------------------------------------------------------------------------------
# Pages of runs


def _publish_run(run: _Run, folder: Path, names: set[str]) -> Path | None:
    """Write the page of a run and its downloads; None if they are up to date."""
    known_runs = {name for name in _input_names(run) if name in names}
    files = [name for name in DOWNLOADS if (run.folder / name).is_file()]
    digest = digest_json(
        {
            "template": _template_digest(),
            "known_runs": sorted(known_runs),
            "name": run.name,
            "files": {name: digest_file(run.folder / name) for name in files},
        }
    )
    page, record = folder / "index.html", folder / _PAGE_RECORD
    wanted = {"index.html", _PAGE_RECORD, *files}
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if wanted <= present and (_read_mapping(record) or {}).get("digest") == digest:
        return None
    record.unlink(missing_ok=True)
    for name in sorted((present & set(DOWNLOADS)) - set(files)):
        (folder / name).unlink()
    for name in files:
        with replacing(folder / name) as temporary:
            shutil.copyfile(run.folder / name, temporary)
    notebook = run.folder / "notebook.ipynb"
    write_text(page, _render_page(notebook, run, known_runs, files))
    write_json(record, {"digest": digest})
    return page


def _remove_stale_pages(reports_folder: Path, names: set[str]) -> None:
    """Remove page folders that `publish` wrote and whose run is gone."""
    for record in reports_folder.glob(f"*/{_PAGE_RECORD}"):
        if record.parent.name not in names:
            shutil.rmtree(record.parent)


@cache
def _template_digest() -> str:
    """Digest of everything besides the run that shapes a page."""
    sources = [path for path in sorted(TEMPLATES.rglob("*")) if path.is_file()]
    contents = [path.read_bytes() for path in (*sources, Path(__file__))]
    return digest_bytes(__version__.encode(), nbconvert.__version__.encode(), *contents)


def _input_names(run: _Run) -> list[str]:
    return [str(name) for name in run.manifest.get("inputs") or []]


def _render_page(
    notebook: Path, run: _Run | None, known_runs: set[str] | None, downloads: Sequence[str]
) -> str:
    """Render the page of a notebook.

    Args:
        notebook: The executed notebook; it may be missing where there is a run.
        run: The run it belongs to, or None.
        known_runs: Names of runs that have a page beside this one; None if the page stands alone
            and links to no other.
        downloads: Names of the files that lie beside the page.
    """
    content = _read_notebook(notebook, required=run is None)
    title = run.title if run else None
    page = _PageContent(title)
    if content is not None:
        page.prepare(content)
    exporter = _exporter()
    # HTMLExporter's own method would parse the whole page again to add text alternatives.
    html, _ = TemplateExporter.from_notebook_node(
        exporter,
        content if content is not None else nbformat.v4.new_notebook(),
        resources={
            "css": Markup(_asset("hpa/report.css")),
            "js": Markup(_asset("hpa/report.js")),
            "title": title or page.title or notebook.stem,
            "page": page,
            "run": run,
            "status": STATUSES[run.status] if run else None,
            "parameters": _parameter_rows(run) if run else [],
            "facts": _facts(run) if run else [],
            "inputs": [
                (name, f"../{quote(name, safe='')}/index.html" if name in known_runs else None)
                for name in _input_names(run)
            ]
            if run and known_runs is not None
            else [],
            "in_site": known_runs is not None,
            "downloads": [
                (name, DOWNLOADS[name], _format_bytes((run.folder / name).stat().st_size))
                for name in downloads
            ]
            if run
            else [],
            "has_notebook": content is not None,
        },
    )
    return html


def _read_notebook(path: Path, required: bool) -> NotebookNode | None:
    if not path.is_file():
        if required:
            raise HpaError(f"Notebook {path} is missing.", "Name a file that exists.")
        return None
    try:
        return nbformat.read(path, as_version=4)
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
                    "extra_template_basedirs": [str(TEMPLATES)],
                    "exclude_anchor_links": True,
                },
                "NbConvertBase": {"display_data_priority": list(_MIME_PRIORITY)},
                "CoalesceStreamsPreprocessor": {"enabled": True},
            }
        )
    )
    exporter.register_filter("highlight_code", Highlight2HTML(parent=exporter))
    _configure(exporter.environment)
    return exporter


def _configure(environment: jinja2.Environment) -> None:
    """Escape all values by default and add the filters of the templates."""
    environment.autoescape = True
    environment.filters.update(
        metric=_format_metric,
        moment=_format_moment,
        duration=_format_duration,
        value=_format_value,
        address=lambda name: quote(name, safe=""),
        line_count=lambda text: len(text.strip().splitlines()),
    )


@cache
def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _parameter_rows(run: _Run) -> list[dict[str, Any]]:
    """Parameters in the order of the notebook, those changed from the preset marked."""
    preset = run.manifest.get("preset_parameters") or {}
    return [
        {
            "name": name,
            "value": value,
            "changed": name in preset and preset[name] != value,
            "preset": preset.get(name),
        }
        for name, value in (run.manifest.get("parameters") or {}).items()
    ]


def _facts(run: _Run) -> list[tuple[str, str]]:
    """The provenance of a run as pairs of label and text."""
    manifest, dataset = run.manifest, run.manifest.get("dataset") or {}
    commit = run.text("commit")
    if commit and manifest.get("dirty"):
        commit += ", with uncommitted changes"
    samples = dataset.get("samples")
    facts = [
        ("Run", run.name),
        ("Notebook", run.text("notebook")),
        ("Preset", run.text("preset")),
        ("Dataset", run.dataset_name + (f", {samples:,} samples" if _is_number(samples) else "")),
        ("Dataset fingerprint", str(dataset.get("fingerprint") or "")),
        ("Seed", run.text("seed")),
        ("Device", run.text("device")),
        ("Python", run.text("python")),
        ("Commit", commit),
        ("Code digest", run.text("code_digest")),
        ("Started", _format_moment(run.text("started"))),
        ("Finished", _format_moment(run.text("finished"))),
        ("Duration", _format_duration(manifest.get("seconds"))),
    ]
    return [(label, text) for label, text in facts if text]


# ---------------------------------------------------------------------------------------------
# Notebook content


class _PageContent:
    """Prepares a notebook for the template: safe HTML, figure numbers, table of contents.

    Args:
        title: Title of the page. A first heading that repeats it is left out of the content.
            None to take the first heading as the title.
    """

    def __init__(self, title: str | None) -> None:
        self.title = title
        self.contents: list[tuple[int, str, str]] = []
        self.failed_cell = False
        self._identifiers: set[str] = set()
        self._figures = 0

    def prepare(self, notebook: NotebookNode) -> None:
        """Add to cells and outputs, in place, what the template shows.

        Markdown cells get ``metadata.html``; image outputs get ``metadata.figure``; HTML outputs
        are replaced by safe HTML; papermill's own error banners are removed.
        """
        notebook.cells = [
            cell
            for cell in notebook.cells
            if _PAPERMILL_MARKER not in cell.metadata.get("tags", [])
        ]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.metadata["html"] = self._markdown(cell.source, cell)
            elif cell.cell_type == "code":
                self._prepare_code(cell)

    def _prepare_code(self, cell: NotebookNode) -> None:
        tags = cell.metadata.get("tags", [])
        cell.metadata["label"] = next(
            (label for tag, label in _PARAMETER_TAGS.items() if tag in tags), "Code"
        )
        follows_figure = False
        for output in cell.outputs:
            if output.output_type == "error":
                output["first"], self.failed_cell = not self.failed_cell, True
            if output.output_type not in ("display_data", "execute_result"):
                follows_figure = False
                continue
            output.metadata["widget"] = _WIDGET_TYPE in output.data
            kind = next((kind for kind in _MIME_PRIORITY if kind in output.data), None)
            if kind == "text/html":
                output.metadata["html"] = _safe_html(output.data[kind])
                output.metadata["follows_figure"] = follows_figure
            elif kind == "text/markdown":
                output.metadata["html"] = self._markdown(output.data[kind], cell)
            elif kind in _IMAGE_TYPES:
                output.metadata["figure"] = self._figure(output, kind)
            follows_figure = kind in _IMAGE_TYPES

    def _markdown(self, source: str, cell: NotebookNode) -> Markup:
        """Render Markdown; collect its headings for the table of contents."""
        html = _exporter().markdown2html({"cell": cell, "resources": {}}, source)
        parser = _SafeHtml(heading_identifier=self._heading_identifier, title=self._take_title)
        return parser.convert(html)

    def _take_title(self, heading: str) -> bool:
        """Whether a heading of level 1 is the page's title rather than part of its content."""
        if self.contents or (self.title is not None and heading.strip() != self.title.strip()):
            return False
        self.title = heading
        return True

    def _heading_identifier(self, level: int, text: str) -> str:
        base = _slug(text) or "section"
        identifier, number = base, 1
        while identifier in self._identifiers:
            number += 1
            identifier = f"{base}-{number}"
        self._identifiers.add(identifier)
        if level <= 3:
            self.contents.append((level, identifier, text))
        return identifier

    def _figure(self, output: NotebookNode, kind: str) -> dict[str, Any]:
        """Describe an image output: address, number, text alternative, caption, size."""
        self._figures += 1
        data = output.data[kind]
        if kind == "image/svg+xml":
            data = base64.b64encode(data.encode()).decode()
        described = output.metadata.get(kind)
        described = described if isinstance(described, dict) else {}
        section = f" in the section “{self.contents[-1][2]}”" if self.contents else ""
        return {
            "source": Markup(f"data:{kind};base64,{escape(''.join(data.split()))}"),
            "number": self._figures,
            "alt": described.get("alt") or f"Figure {self._figures}{section}, without description",
            "caption": described.get("caption"),
            "size": _png_size(data) if kind == "image/png" else None,
        }


def _png_size(data: str) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a PNG in base64; None if it is damaged."""
    try:
        header = base64.b64decode(data[:64])
        return struct.unpack(">II", header[16:24])
    except (ValueError, struct.error):
        return None


def _slug(text: str) -> str:
    """Turn a heading into an identifier: lower case, words joined by hyphens."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")


def _safe_html(html: str) -> Markup:
    """Keep of a piece of HTML what the allow list names; the rest is dropped or shown as text."""
    return _SafeHtml().convert(html)


class _SafeHtml(HTMLParser):
    """Rewrites HTML from an allow list, so that no script, style or network reference survives.

    Everything is written anew: known elements with known attributes, text escaped, every element
    closed. Pictures from elsewhere become links. Tables get a box that scrolls, ``scope`` on their
    headers, and their columns of numbers marked.

    Args:
        heading_identifier: Called with level and text of each heading; returns its identifier.
        title: Called with the text of each first-level heading; true if it shall be left out.
    """

    _ELEMENTS = re.compile(
        r"(a|abbr|b|blockquote|br|caption|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|hr|i|"
        r"kbd|li|mark|ol|p|pre|q|s|samp|small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|"
        r"thead|time|tr|u|ul|var|h[1-6])\Z"
    )
    _VOID = frozenset({"br", "hr", "col"})
    _DROPPED = re.compile(
        r"(script|style|iframe|object|template|noscript|textarea|title|select|svg|math)\Z"
    )
    _HEADING = re.compile(r"h[1-6]\Z")
    _ATTRIBUTES = frozenset({"colspan", "rowspan", "title", "start", "datetime"})
    _LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
    _IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*\Z")
    _NUMBER = re.compile(r"\s*[-+−]?[\d.,  ]*\d(e[-+]?\d+)?\s*%?\s*\Z|\s*(nan|–|—|-)?\s*\Z", re.I)
    # pandas gives the name of the index a row of its own; it belongs above the index.
    _INDEX_NAME = re.compile(
        r"(<thead>\s*<tr>\s*)<td[^>]*></td>((?:(?!</tr>).)*</tr>)"
        r'\s*<tr>\s*(<th scope="col">[^<]*</th>)(?:\s*<td[^>]*></td>)+\s*</tr>(\s*</thead>)',
        re.DOTALL,
    )
    _HIGHLIGHT = re.compile(r"(highlight|[a-z][a-z0-9]{0,2})\Z")

    def __init__(
        self,
        heading_identifier: Callable[[int, str], str] | None = None,
        title: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(convert_charrefs=True)
        self._heading_identifier = heading_identifier
        self._title = title
        self._parts: list[str] = []
        self._open: list[tuple[str, int]] = []
        self._text: list[str] = []
        self._dropping: list[str] = []
        self._cells: list[tuple[str, int, int, str]] = []
        self._column = 0

    def convert(self, html: str) -> Markup:
        """Return the safe form of `html`."""
        self.feed(html)
        self.close()
        while self._open:
            self._close_one()
        return Markup(self._INDEX_NAME.sub(r"\1\3\2\4", "".join(self._parts)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Write an allowed element with its allowed attributes."""
        attributes = {name: value or "" for name, value in attrs}
        if self._dropping or self._DROPPED.match(tag):
            if self._DROPPED.match(tag):
                self._dropping.append(tag)
            return
        if tag == "img":
            self._parts.append(self._picture(attributes))
            return
        if not self._ELEMENTS.match(tag):
            return
        kept = {name: value for name, value in attributes.items() if name in self._ATTRIBUTES}
        if tag == "a" and (target := self._target(attributes.get("href", ""))):
            kept["href"] = target
        if tag in ("div", "span") and self._HIGHLIGHT.match(attributes.get("class", "").strip()):
            kept["class"] = attributes["class"].strip()
        if tag == "table":
            self._cells = []
            self._parts.append(
                '<div class="scroll" role="group" tabindex="0" aria-label="Table, may scroll">'
            )
        elif tag == "tr":
            self._column = 0
        elif tag == "th":
            in_head = any(name == "thead" for name, _ in self._open)
            kept["scope"] = "col" if in_head else "row"
        if tag in ("td", "th") or self._HEADING.match(tag):
            self._text = []
        if tag not in self._VOID:
            self._open.append((tag, len(self._parts)))
        written = "".join(f' {name}="{escape(value)}"' for name, value in kept.items())
        self._parts.append(f"<{tag}{written}>")

    def handle_endtag(self, tag: str) -> None:
        """Close an element, and those left open inside it."""
        if self._dropping:
            if tag == self._dropping[-1]:
                self._dropping.pop()
            return
        if any(name == tag for name, _ in self._open):
            while self._close_one() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Write text, escaped."""
        if not self._dropping:
            self._text.append(data)
            self._parts.append(escape(data, quote=False))

    def _close_one(self) -> str:
        tag, start = self._open.pop()
        self._parts.append(f"</{tag}>")
        if tag in ("td", "th"):
            text = "".join(self._text)
            self._cells.append((tag, self._column, start, text))
            span = re.search(r'colspan="(\d+)"', self._parts[start])
            self._column += min(int(span.group(1)), 1000) if span else 1
            if not text.strip() and tag == "th":
                # A header without text says nothing: an ordinary cell keeps the table in shape.
                self._parts[start] = "<td" + self._parts[start].removeprefix("<th")
                self._parts[-1] = "</td>"
        elif tag == "table":
            self._mark_numbers()
            self._parts.append("</div>")
        elif self._HEADING.match(tag):
            self._close_heading(int(tag[1]), start)
        return tag

    def _close_heading(self, level: int, start: int) -> None:
        text = " ".join("".join(self._text).split())
        if level == 1 and self._title and self._title(text):
            del self._parts[start:]
            return
        level = max(level, 2)
        identifier = ""
        if self._heading_identifier:
            identifier = f' id="{escape(self._heading_identifier(level, text))}"'
        self._parts[start] = f"<h{level}{identifier}>"
        self._parts[-1] = f"</h{level}>"

    def _mark_numbers(self) -> None:
        """Align the columns of the table that hold nothing but numbers."""
        texts: dict[int, list[str]] = {}
        for tag, column, _, text in self._cells:
            if tag == "td":
                texts.setdefault(column, []).append(text)
        numeric = {
            column
            for column, values in texts.items()
            if all(self._NUMBER.match(text) for text in values)
            and any(text.strip() for text in values)
        }
        for _, column, start, _ in self._cells:
            is_header = ' scope="row"' in self._parts[start]
            if column in numeric and not is_header:
                name = self._parts[start][1:3]
                self._parts[start] = self._parts[start].replace(
                    f"<{name}", f'<{name} class="number"', 1
                )

    def _target(self, address: str) -> str | None:
        """The address of a link if it leads to a heading of the page or to the web."""
        if address.startswith("#"):
            return "#" + _slug(address)
        return address if self._LINK.match(address) else None

    def _picture(self, attributes: dict[str, str]) -> str:
        source, alt = attributes.get("src", ""), attributes.get("alt", "")
        if self._IMAGE.match(source):
            return f'<img src="{escape("".join(source.split()))}" alt="{escape(alt)}">'
        if self._LINK.match(source):
            return f'<a href="{escape(source)}">{escape(alt or source)}</a>'
        return escape(alt)


# ---------------------------------------------------------------------------------------------
# Index


def _render_index(runs: list[_Run]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, TEMPLATES / "hpa"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    _configure(environment)
    measured = Counter(label for run in runs for label in run.headline)
    labels = sorted(measured, key=lambda label: (-measured[label], label))
    trained = [run for run in runs if run.status == "complete" and run.history]
    newest: dict[str, _Run] = {}
    for run in runs:
        if run.status == "complete":
            newest.setdefault(run.text("notebook"), run)
    return environment.get_template("reports_index.html.j2").render(
        css=Markup(_asset("hpa/report.css")),
        js=Markup(_asset("reports_index.js")),
        runs=runs,
        statuses=STATUSES,
        labels=labels,
        best=_best_runs(runs, labels),
        newest=[newest[notebook] for notebook in sorted(newest)],
        unfinished=[run for run in runs if run.status in ("failed", "interrupted")],
        compared=[run.name for run in dict.fromkeys((*trained, *runs))][:2],
        curves=_learning_curves(runs),
        comparison=Markup(_script_json({run.name: _comparable(run) for run in runs})),
    )


def _comparable(run: _Run) -> dict[str, Any]:
    """Facts of a run that the index compares, as group → name → text."""
    return {
        "Parameter": {
            name: _format_value(value)
            for name, value in (run.manifest.get("parameters") or {}).items()
        },
        "Metric": {label: _format_metric(value) for label, value in run.headline.items()},
        "Provenance": {
            label: text
            for label, text in _facts(run)
            if label not in ("Run", "Started", "Finished")
        },
    }


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


def _best_runs(runs: Iterable[_Run], labels: Iterable[str]) -> set[tuple[str, str]]:
    """Pairs (run, metric) with the best value among complete runs on the same dataset.

    A metric is marked only where at least two runs on one dataset differ in it.
    """
    best = set()
    complete = [run for run in runs if run.status == "complete"]
    for label in labels:
        groups: dict[str, list[_Run]] = {}
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


# ---------------------------------------------------------------------------------------------
# Learning curves

_PANELS: tuple[tuple[str, str], ...] = (("loss", "Loss"), ("f1", "Batch F1"))
_PLOT = {"left": 34, "right": 234, "top": 8, "bottom": 84}
_MOST_POINTS = 120


def _learning_curves(runs: Iterable[_Run]) -> list[dict[str, Any]]:
    """Geometry of the small multiples: one entry a run with a history, all on the same y axes.

    Loss is drawn on a logarithmic axis, as it may explode for an epoch; F1 from 0 to 1 or less.
    """
    trained = [run for run in runs if _epoch_count(run) > 0]
    axes = {column: _axis(trained, column) for column, _ in _PANELS}
    return [
        {
            "run": run,
            "epochs": _epoch_count(run),
            "panels": [
                _panel(run, column, label, axes[column])
                for column, label in _PANELS
                if _series(run, column)
            ],
        }
        for run in trained
    ]


def _epoch_count(run: _Run) -> int:
    return max(
        (
            len(run.history.get(name, ()))
            for column, _ in _PANELS
            for name in (column, f"val_{column}")
        ),
        default=0,
    )


def _series(run: _Run, column: str) -> dict[str, list[tuple[int, float]]]:
    """Points (epoch, value) of the training and the validation curve, where they are finite.

    Epochs are counted through both stages.
    """
    series = {}
    for name, key in (("training", column), ("validation", f"val_{column}")):
        points = [
            (epoch, value)
            for epoch, value in enumerate(run.history.get(key, ()), start=1)
            if _is_number(value) and (column != "loss" or value > 0)
        ]
        if points:
            series[name] = points
    return series


@dataclass(frozen=True)
class _Axis:
    """A y axis: its limits, its ticks, and whether it is logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool

    def position(self, value: float) -> float:
        """Vertical position in the drawing, in its own units, cut to the plot."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return _PLOT["bottom"] - share * (_PLOT["bottom"] - _PLOT["top"])


def _axis(runs: Iterable[_Run], column: str) -> _Axis:
    values = [
        value for run in runs for points in _series(run, column).values() for _, value in points
    ]
    if column != "loss":
        high = min(1.0, math.ceil(max(values, default=1.0) * 5) / 5) or 1.0
        return _Axis(0.0, high, (0.0, high / 2, high), logarithmic=False)
    low, high = min(values, default=0.1), max(values, default=1.0)
    steps = [digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5)]
    low = max((step for step in steps if step <= low), default=steps[0])
    high = min((step for step in steps if step >= high and step > low), default=steps[-1])
    inside = [step for step in steps if low <= step <= high]
    stride = max(1, math.ceil((len(inside) - 1) / 3))
    return _Axis(low, high, tuple(inside[::stride]), logarithmic=True)


def _panel(run: _Run, column: str, label: str, axis: _Axis) -> dict[str, Any]:
    series = _series(run, column)
    epochs = _epoch_count(run)
    width = _PLOT["right"] - _PLOT["left"]

    def horizontal(epoch: float) -> float:
        return _PLOT["left"] + width * ((epoch - 1) / (epochs - 1) if epochs > 1 else 0.5)

    def path(points: list[tuple[int, float]]) -> str:
        stride = math.ceil(len(points) / _MOST_POINTS)
        thinned = points[:-1:stride] + points[-1:]
        return " ".join(f"{horizontal(x):.1f},{axis.position(y):.1f}" for x, y in thinned)

    stages = run.history.get("stage", [])
    return {
        "label": label,
        "ticks": [(axis.position(tick), f"{tick:g}") for tick in axis.ticks],
        "lines": {name: path(points) for name, points in series.items()},
        "ends": {
            name: (horizontal(points[-1][0]), axis.position(points[-1][1]))
            for name, points in series.items()
        },
        "stages": [
            horizontal(epoch + 0.5)
            for epoch, (before, after) in enumerate(pairwise(stages), start=1)
            if before != after
        ],
        "epochs": epochs,
        "text": _describe_curves(label, series),
    }


def _describe_curves(label: str, series: dict[str, list[tuple[int, float]]]) -> str:
    """A sentence with where each curve begins, ends and is best."""
    sentences = []
    for name, points in series.items():
        (first, start), (last, end) = points[0], points[-1]
        if first == last:
            sentences.append(f"{name} {_format_metric(end)} at epoch {last}")
            continue
        pick = min if label == "Loss" else max
        epoch, value = pick(points, key=lambda point: point[1])
        verb = "falls" if end < start else "rises" if end > start else "stays"
        sentences.append(
            f"{name} {verb} from {_format_metric(start)} to {_format_metric(end)} over "
            f"{last} epochs, best {_format_metric(value)} at epoch {epoch}"
        )
    return f"{label}: " + "; ".join(sentences) + "."


# ---------------------------------------------------------------------------------------------
# Text forms of values


def _format_metric(value: float) -> str:
    """A metric for reading: whole numbers as they are, others with three decimals."""
    if isinstance(value, int):
        return f"{value:,}"
    if value and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.2e}"
    return f"{value:.3f}"


def _format_value(value: Any) -> str:
    """A parameter as it is written in YAML."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _format_moment(text: str) -> str:
    """A time in ISO 8601 for reading; text in another form stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if moment.tzinfo is not None else ""
    return f"{moment.day} {moment:%b %Y, %H:%M}{zone}"


def _format_duration(seconds: float | None) -> str:
    """A duration given in seconds, in its two largest units."""
    if not _is_number(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _format_bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
