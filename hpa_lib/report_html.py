"""Make HTML from notebooks safe to publish, and its tables fit to read.

Bleach keeps what an allow list names: no script, style or handler survives, and nothing that a
browser would fetch. Pictures from elsewhere become links. Each table gets a box that scrolls,
``scope`` on its headers, and a class on its columns of numbers.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from bleach.sanitizer import Cleaner
from markupsafe import Markup

from hpa_lib.report_text import slug

_Token = dict[str, Any]

_ELEMENT_NAMES = """
a abbr b blockquote br caption code col colgroup dd del details dfn div dl dt em h1 h2 h3 h4 h5 h6
hr i img kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th
thead time tr u ul var
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_PROTOCOLS = frozenset({"http", "https", "mailto", "data"})
_LINK = re.compile(r"https?://|mailto:|#", re.IGNORECASE)
_REMOTE_IMAGE = re.compile(r"https?://", re.IGNORECASE)
_EMBEDDED_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*\Z")
_HIGHLIGHT = re.compile(r"highlight|[a-z][a-z0-9]{0,2}")  # Pygments' classes

# Bleach drops the tags of elements that aren't allowed and keeps their text. The text of these is
# no prose.
_NO_PROSE = re.compile(
    r"<(script|style|iframe|object|template|noscript|textarea|title|select|svg|math)\b.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_NUMBER = re.compile(
    r"[-+−]?(\d+|\d{1,3}([,   ]\d{3})+)(\.\d*)?(e[-+]?\d+)?\s*%?|nan|[–—-]|", re.IGNORECASE
)
# pandas gives the names of the index a row of their own; they belong above the index.
_INDEX_NAMES = re.compile(
    r"(?P<head><thead>\s*<tr>)(?P<empty>(?:\s*<td[^>]*></td>)+)(?P<columns>(?:(?!</tr>).)*</tr>)"
    r'\s*<tr>(?P<names>(?:\s*<th scope="col">[^<]*</th>)+)(?:\s*<td[^>]*></td>)+\s*</tr>'
    r"(?P<end>\s*</thead>)",
    re.DOTALL,
)
_SCROLL = {"class": "scroll", "role": "group", "tabindex": "0", "aria-label": "Table, may scroll"}


@lru_cache(maxsize=512)
def safe_html(html: str) -> Markup:
    """Return what a page may show of a piece of HTML.

    Args:
        html: Any text; broken HTML is mended as browsers do.

    Returns:
        Well-formed HTML of known elements and attributes. Headings carry no identifier; links
        within the page lead to `report_text.slug` of their target.
    """
    return Markup(_INDEX_NAMES.sub(_move_names, _cleaner().clean(_NO_PROSE.sub("", html))))


@cache
def _cleaner() -> Cleaner:
    return Cleaner(
        tags=_ELEMENTS,
        attributes=_is_allowed,
        protocols=_PROTOCOLS,
        strip=True,
        filters=[_pictures_and_links, _tables],
    )


def _is_allowed(element: str, name: str, value: str) -> bool:
    match name:
        case "href":
            return element == "a" and bool(_LINK.match(value))
        case "src":
            return element == "img" and bool(
                _EMBEDDED_IMAGE.match(value) or _REMOTE_IMAGE.match(value)
            )
        case "alt":
            return element == "img"
        case "class":
            return element in ("div", "span") and bool(_HIGHLIGHT.fullmatch(value.strip()))
        case "colspan" | "rowspan":
            return element in ("td", "th") and value.isdecimal()
        case "title":
            return element in ("abbr", "dfn", "span")
        case "start" | "datetime":
            return element in ("ol", "time")
    return False


def _pictures_and_links(source: Iterable[_Token]) -> Iterator[_Token]:
    """Turn pictures from elsewhere into links; aim links within the page at its identifiers."""
    for token in source:
        attributes = token.get("data")
        if token.get("name") == "img":
            address = attributes.get((None, "src"), "")
            alternative = attributes.get((None, "alt"), "")
            if _EMBEDDED_IMAGE.match(address):
                yield token
            elif address:
                text = {"type": "Characters", "data": alternative or address}
                yield from (_start("a", {"href": address}), text, _end("a"))
            elif alternative:
                yield {"type": "Characters", "data": alternative}
            continue
        if _opens(token, "a") and attributes.get((None, "href"), "").startswith("#"):
            attributes[None, "href"] = "#" + slug(attributes[None, "href"])
        yield token


@dataclass
class _Cell:
    """A cell of a table: its first and last token, its place, its text."""

    start: _Token
    end: _Token
    column: int
    in_head: bool
    text: str


def _tables(source: Iterable[_Token]) -> Iterator[_Token]:
    """Put each table into a box that scrolls; describe its headers and columns."""
    tokens = iter(source)
    for token in tokens:
        if not _opens(token, "table"):
            yield token
            continue
        table, depth = [token], 1
        while depth:
            table.append(next(tokens))
            depth += _opens(table[-1], "table") - _closes(table[-1], "table")
        cells = list(_cells(table))
        _describe_headers(cells)
        _mark_numbers(cells)
        yield from (_start("div", _SCROLL), *table, _end("div"))


def _cells(table: list[_Token]) -> Iterator[_Cell]:
    """The cells of a table with the column that each begins in."""
    in_head, row, column = False, 0, 0
    covered: dict[int, int] = {}  # column → last row that a cell from above or beside reaches
    start, text = {}, ""
    for token in table:
        if _opens(token, "thead") or _closes(token, "thead"):
            in_head = _opens(token, "thead")
        elif _opens(token, "tr"):
            row, column = row + 1, 0
        elif _opens(token, "td", "th"):
            while covered.get(column, 0) >= row:
                column += 1
            start, text = token, ""
        elif _closes(token, "td", "th"):
            yield _Cell(start, token, column, in_head, text.strip())
            width, height = (_span(start, name) for name in ("colspan", "rowspan"))
            covered |= dict.fromkeys(range(column, column + width), row + height - 1)
        elif token["type"] in ("Characters", "SpaceCharacters"):
            text += token["data"]


def _span(cell: _Token, name: str) -> int:
    return min(max(int(cell["data"].get((None, name), 1)), 1), 1000)


def _describe_headers(cells: list[_Cell]) -> None:
    for cell in cells:
        if cell.start["name"] == "th" and cell.text:
            cell.start["data"][None, "scope"] = "col" if cell.in_head else "row"
        else:
            # A header without text says nothing: an ordinary cell keeps the table in shape.
            cell.start["name"] = cell.end["name"] = "td"


def _mark_numbers(cells: list[_Cell]) -> None:
    """Mark the columns that hold nothing but numbers, with their headers."""
    columns = defaultdict(list)
    for cell in cells:
        columns[cell.column].append(cell)
    for column in columns.values():
        texts = [cell.text for cell in column if cell.start["name"] == "td"]
        if any(texts) and all(_NUMBER.fullmatch(text) for text in texts):
            for cell in column:
                if cell.start["data"].get((None, "scope")) != "row":
                    cell.start["data"][None, "class"] = "number"


def _move_names(head: re.Match[str]) -> str:
    if head["empty"].count("<td") != head["names"].count("<th"):
        return head[0]
    return head["head"] + head["names"] + head["columns"] + head["end"]


def _opens(token: _Token, *names: str) -> bool:
    return token["type"] == "StartTag" and token["name"] in names


def _closes(token: _Token, *names: str) -> bool:
    return token["type"] == "EndTag" and token["name"] in names


def _start(name: str, attributes: dict[str, str]) -> _Token:
    data = {(None, key): value for key, value in attributes.items()}
    return {"type": "StartTag", "name": name, "namespace": None, "data": data}


def _end(name: str) -> _Token:
    return {"type": "EndTag", "name": name, "namespace": None, "data": {}}
