"""Prepare an executed notebook for its page: safe HTML, figure numbers, table of contents."""

import base64
import json
import re
import struct
from functools import lru_cache
from html import escape
from typing import Any

from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from hpa_lib.report_html import safe_html
from hpa_lib.report_text import slug

MIME_PRIORITY: tuple[str, ...] = (
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/html",
    "text/markdown",
    "text/latex",
    "text/plain",
)
"""Forms of an output that a page can show, the best first."""

_IMAGE_TYPES = ("image/svg+xml", "image/png", "image/jpeg")
_WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
_PAPERMILL_MARKER = "papermill-error-cell-tag"
_PARAMETER_TAGS = {
    "parameters": "Default parameters",
    "injected-parameters": "Parameters of this run",
}
_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)


class NotebookContent:
    """What the page of a notebook shows.

    Args:
        notebook: The executed notebook. Its cells and outputs are given what the template shows:
            Markdown cells get ``metadata.html``; code cells ``metadata.label`` and
            ``metadata.preview``; image outputs ``metadata.figure``; HTML and Markdown outputs
            ``metadata.html``. Papermill's own error banners are removed.
        title: Title of the page. A first heading that repeats it is left out of the content.
            None to take the first heading as the title.

    Attributes:
        title: The title, or None if none was given and there is no first heading.
        contents: Headings up to level 3, as (level, identifier, text).
        failed_cell: Whether a cell ended with an error.
    """

    def __init__(self, notebook: NotebookNode, title: str | None) -> None:
        self.title = title
        self.contents: list[tuple[int, str, str]] = []
        self.failed_cell = False
        self._identifiers: set[str] = set()
        self._figures = 0
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
        cell.metadata["preview"] = _preview(cell.source)
        follows_figure = False
        for output in cell.outputs:
            if output.output_type == "error":
                output["first"], self.failed_cell = not self.failed_cell, True
            if output.output_type not in ("display_data", "execute_result"):
                follows_figure = False
                continue
            output.metadata["widget"] = _WIDGET_TYPE in output.data
            kind = next((kind for kind in MIME_PRIORITY if kind in output.data), None)
            if kind == "text/html":
                output.metadata["html"] = safe_html(output.data[kind])
                output.metadata["follows_figure"] = follows_figure
            elif kind == "text/markdown":
                output.metadata["html"] = self._markdown(output.data[kind], cell)
            elif kind in _IMAGE_TYPES:
                output.metadata["figure"] = self._figure(output, kind)
            follows_figure = kind in _IMAGE_TYPES

    def _markdown(self, source: str, cell: NotebookNode) -> Markup:
        """Render Markdown; collect its headings for the table of contents."""
        html = _rendered(source, json.dumps(cell.get("attachments", {})))
        return Markup(_HEADING.sub(self._heading, html))

    def _heading(self, match: re.Match[str]) -> str:
        """Give a heading its identifier; leave out the one that is the page's title."""
        level, text = int(match[1]), Markup(match[2]).striptags()
        if level == 1 and not self.contents and self.title in (None, text):
            self.title = text
            return ""
        level = max(level, 2)
        identifier = self._identifier(text)
        if level <= 3:
            self.contents.append((level, identifier, text))
        return f'<h{level} id="{escape(identifier)}">{match[2]}</h{level}>'

    def _identifier(self, text: str) -> str:
        base = slug(text) or "section"
        identifier, number = base, 1
        while identifier in self._identifiers:
            number += 1
            identifier = f"{base}-{number}"
        self._identifiers.add(identifier)
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


@lru_cache(maxsize=512)
def _rendered(source: str, attachments: str) -> Markup:
    """Safe HTML of a Markdown cell; runs of one notebook share most of their cells."""
    renderer = IPythonRenderer(
        escape=False, attachments=json.loads(attachments), exclude_anchor_links=True
    )
    return safe_html(MarkdownWithMath(renderer=renderer).render(source))


def _preview(source: str) -> str:
    """The first line of code that is no comment; an ellipsis shows that its brackets go on."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith("#")]
    first = next(iter(code or lines), "")
    return first + "…" * first.endswith(("(", "[", "{"))


def _png_size(data: str) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a PNG in base64; None if it is damaged."""
    try:
        header = base64.b64decode(data[:64])
        return struct.unpack(">II", header[16:24])
    except (ValueError, struct.error):
        return None
