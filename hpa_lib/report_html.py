"""Make HTML from notebooks safe to publish, and its tables fit to read.

Bleach keeps what an allow list names: no script, style or handler survives, and nothing that a
browser would fetch. Pictures from elsewhere become links. Each table gets a box that scrolls,
``scope`` on its headers, and a class on its columns of numbers.

Tables as pandas writes them are most of what a page holds, and bleach's parser would take most of
the time of a publication for them. `_plain_tables` reads them with the parser of XML, which is
some ten times faster, and takes nothing but table elements; all else goes to bleach. What becomes
of the cells is the same for both.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from typing import Any
from xml.etree import ElementTree

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
_PLAIN_CHILDREN: dict[str, tuple[str, ...]] = {
    "div": ("div", "table"),
    "table": ("thead", "tbody", "tfoot"),
    "thead": ("tr",),
    "tbody": ("tr",),
    "tfoot": ("tr",),
    "tr": ("th", "td"),
    "th": (),
    "td": (),
}
_MOST_BOXES = 20  # a limit for the recursion in `_is_plain`
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
    prose = _NO_PROSE.sub("", html)
    plain = _plain_tables(prose)
    safe = _cleaner().clean(prose) if plain is None else plain
    return Markup(_INDEX_NAMES.sub(_move_names, safe))


def _plain_tables(html: str) -> str | None:
    """What bleach makes of tables that hold nothing but text; None for any other HTML."""
    if "<table" not in html or html.count("<div") > _MOST_BOXES:
        return None
    try:
        root = ElementTree.fromstring(f"<div>{html}</div>")
    except ElementTree.ParseError:
        return None
    return "".join(map(_written, root)) if _is_plain(root) else None


def _is_plain(element: ElementTree.Element) -> bool:
    """Whether an element holds what tables of text hold, and nothing else."""
    children = _PLAIN_CHILDREN[element.tag]
    if not children:
        return not len(element)
    if element.text and not element.text.isspace():
        return False
    return all(
        child.tag in children and (not child.tail or child.tail.isspace()) and _is_plain(child)
        for child in element
    )


def _written(element: ElementTree.Element) -> str:
    """A plain table, or a box with such tables, as HTML."""
    if element.tag == "div":
        return _enclosed("div", _allowed(element), "".join(map(_written, element)))
    places, groups = _Places(), []
    for group in element:
        groups.append((group.tag, [_plain_cells(row, group.tag, places) for row in group]))
    _describe([cell for _, rows in groups for row in rows for cell in row])
    html = "".join(_enclosed(name, {}, "".join(map(_written_row, rows))) for name, rows in groups)
    return _enclosed("div", _SCROLL, _enclosed("table", {}, html))


def _plain_cells(row: ElementTree.Element, group: str, places: "_Places") -> list["_Cell"]:
    places.next_row()
    cells = []
    for cell in row:
        attributes = _allowed(cell)
        column = places.take(attributes)
        cells.append(_Cell(cell.tag, attributes, column, group == "thead", cell.text or ""))
    return cells


def _allowed(element: ElementTree.Element) -> dict[str, str]:
    return {name: value for name, value in element.items() if _is_allowed(element.tag, name, value)}


def _written_row(cells: list["_Cell"]) -> str:
    html = [_enclosed(cell.name, cell.attributes, escape(cell.text, quote=False)) for cell in cells]
    return _enclosed("tr", {}, "".join(html))


def _enclosed(name: str, attributes: Mapping[str, str], html: str) -> str:
    """An element that holds a piece of HTML."""
    written = "".join([f' {key}="{escape(value)}"' for key, value in attributes.items()])
    return f"<{name}{written}>{html}</{name}>\n"


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


@dataclass(slots=True)
class _Cell:
    """A cell of a table: its element, the column that it begins in, its text."""

    name: str
    attributes: dict[str, str]
    column: int
    in_head: bool
    text: str


class _Places:
    """Counts the columns of a table's cells."""

    def __init__(self) -> None:
        self._row, self._column = 0, 0
        self._covered: dict[int, int] = {}  # column → last row that a cell reaches

    def next_row(self) -> None:
        self._row, self._column = self._row + 1, 0

    def take(self, attributes: Mapping[str, str]) -> int:
        """The column in which the row's next cell begins, given its attributes."""
        while self._covered.get(self._column, 0) >= self._row:
            self._column += 1
        begin = self._column
        self._column += _span(attributes, "colspan")
        rows = _span(attributes, "rowspan")
        if rows > 1:
            self._covered |= dict.fromkeys(range(begin, self._column), self._row + rows - 1)
        return begin


def _span(attributes: Mapping[str, str], name: str) -> int:
    return min(max(int(attributes[name]), 1), 1000) if name in attributes else 1


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
        found = list(_token_cells(table))
        _describe([cell for _, _, cell in found])
        for start, end, cell in found:
            start["name"] = end["name"] = cell.name
            start["data"] = _data(cell.attributes)
        yield from (_start("div", _SCROLL), *table, _end("div"))


def _token_cells(table: list[_Token]) -> Iterator[tuple[_Token, _Token, _Cell]]:
    """The cells of a table, each with its first and its last token."""
    in_head, places = False, _Places()
    start, texts = {}, []
    for token in table:
        match token["type"], token.get("name"):
            case (("Characters" | "SpaceCharacters"), _):
                texts.append(token["data"])
            case "StartTag", ("td" | "th"):
                start, texts = token, []
            case "EndTag", ("td" | "th"):
                attributes = {name: value for (_, name), value in start["data"].items()}
                column = places.take(attributes)
                text = "".join(texts)
                yield start, token, _Cell(start["name"], attributes, column, in_head, text)
            case "StartTag", "tr":
                places.next_row()
            case ("StartTag" | "EndTag") as kind, "thead":
                in_head = kind == "StartTag"


def _describe(cells: list[_Cell]) -> None:
    """Give headers their scope, and mark the columns that hold nothing but numbers."""
    columns = defaultdict(list)
    for cell in cells:
        columns[cell.column].append(cell)
        if cell.name == "th" and cell.text.strip():
            cell.attributes["scope"] = "col" if cell.in_head else "row"
        else:
            # A header without text says nothing: an ordinary cell keeps the table in shape.
            cell.name = "td"
    for column in columns.values():
        texts = [cell.text.strip() for cell in column if cell.name == "td"]
        if any(texts) and all(map(_NUMBER.fullmatch, texts)):
            for cell in column:
                if cell.attributes.get("scope") != "row":
                    cell.attributes["class"] = "number"


def _move_names(head: re.Match[str]) -> str:
    if head["empty"].count("<td") != head["names"].count("<th"):
        return head[0]
    return head["head"] + head["names"] + head["columns"] + head["end"]


def _opens(token: _Token, *names: str) -> bool:
    return token["type"] == "StartTag" and token["name"] in names


def _closes(token: _Token, *names: str) -> bool:
    return token["type"] == "EndTag" and token["name"] in names


def _start(name: str, attributes: Mapping[str, str]) -> _Token:
    return {"type": "StartTag", "name": name, "namespace": None, "data": _data(attributes)}


def _data(attributes: Mapping[str, str]) -> dict[tuple[None, str], str]:
    """Attributes as a token holds them."""
    return {(None, key): value for key, value in attributes.items()}


def _end(name: str) -> _Token:
    return {"type": "EndTag", "name": name, "namespace": None, "data": {}}
