"""Make HTML from notebooks safe to publish, and its tables fit to read.

Bleach keeps what an allow list names: no script, style or handler survives, and nothing that a
browser would fetch. Pictures from elsewhere become links. Each table gets a box that scrolls,
``scope`` on its headers, and a class on its columns of numbers.

Tables as pandas writes them are most of what a page holds, and bleach's parser would take most of
the time of a publication for them. `_plain_tables` reads them with the parser of XML, which is
some ten times faster, and takes nothing but table elements; all else goes to bleach.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from xml.etree import ElementTree

from bleach.sanitizer import Cleaner
from markupsafe import Markup, escape

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
_MOST_BOXES = 20  # a limit for the recursion in `_collect`
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
    tokens: list[_Token] = []
    if not _collect(root, tokens):
        return None
    return "".join(map(_written, _tables(tokens[1:-1])))


def _collect(element: ElementTree.Element, tokens: list[_Token]) -> bool:
    """Append an element with all that it holds, without the white space between elements.

    Returns:
        False if an element or a text stands where tables of text have none.
    """
    name, text = element.tag, element.text or ""
    children = _PLAIN_CHILDREN[name]
    kept = {key: value for key, value in element.items() if _is_allowed(name, key, value)}
    tokens.append(_start(name, kept))
    if not children and text:
        tokens.append({"type": "Characters", "data": text})
    elif not text.isspace() and text:
        return False
    for child in element:
        tail = child.tail
        if child.tag not in children or (tail and not tail.isspace()):
            return False
        if not _collect(child, tokens):
            return False
    tokens.append(_end(name))
    return True


def _written(token: _Token) -> str:
    """A token of a plain table as HTML."""
    kind = token["type"]
    if kind == "Characters":
        return escape(token["data"])
    if kind == "EndTag":
        return f"</{token['name']}>\n"
    attributes = [f' {key}="{escape(value)}"' for (_, key), value in token["data"].items()]
    return f"<{token['name']}{''.join(attributes)}>"


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
    start, texts = {}, []
    for token in table:
        match token["type"], token.get("name"):
            case (("Characters" | "SpaceCharacters"), _):
                texts.append(token["data"])
            case "StartTag", ("td" | "th"):
                while covered.get(column, 0) >= row:
                    column += 1
                start, texts = token, []
            case "EndTag", ("td" | "th"):
                yield _Cell(start, token, column, in_head, "".join(texts).strip())
                width, height = (_span(start, name) for name in ("colspan", "rowspan"))
                for each in range(column, column + width):
                    covered[each] = row + height - 1
            case "StartTag", "tr":
                row, column = row + 1, 0
            case ("StartTag" | "EndTag") as kind, "thead":
                in_head = kind == "StartTag"


def _span(cell: _Token, name: str) -> int:
    text = cell["data"].get((None, name))
    return 1 if text is None else min(max(int(text), 1), 1000)


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
