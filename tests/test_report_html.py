import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_site import Page, assert_offline

from hpa_lib import report_html
from hpa_lib.report_html import safe_html

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//example.org/x.js></SCRIPT>alert",
    "<img src=x onerror=alert(1)>",
    "<img src='//example.org/a.png'>",
    "<img src='data:text/html;base64,AAAA'>",
    "<img srcset='https://example.org/a.png 2x'>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table>",
    "<a href='javascript:alert(1)'>go</a>",
    "<a href=' java\nscript:alert(1)'>go</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>go</a>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<p style='background: url(https://example.org/a)'>x</p>",
    "<link rel=stylesheet href=//example.org/a.css><base href=//example.org>",
    "<form action=//example.org><input autofocus onfocus=alert(1)></form>",
    "<meta http-equiv=refresh content='0;url=//example.org'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<span title='\"><img src=x onerror=alert(1)>'>x</span>",
    "<h2 id=comparison-data onclick=alert(1)>x</h2>",
    "<td title='<table><tr><th>'>x",
]


@pytest.mark.parametrize("html", HOSTILE)
def test_nothing_runs_and_nothing_is_fetched(html):
    safe = safe_html(html)
    assert_offline(safe)
    page = Page(safe)
    for tag, attributes in page.elements:
        assert tag not in ("script", "style", "svg", "math", "link", "meta", "form", "input"), safe
        assert not any(name.startswith("on") for name in attributes), safe
        assert not {"style", "id", "srcdoc"} & attributes.keys(), safe
        assert (attributes.get("href") or "https:").startswith("https:"), safe


def test_the_text_of_styles_and_scripts_is_no_text_of_the_page():
    html = "<p>before</p><style>td {color: red}</style><script>let x = 1 < 2</script><p>after</p>"
    assert safe_html(html) == "<p>before</p><p>after</p>"


def test_pictures_from_elsewhere_become_links():
    assert safe_html('<img src="https://example.org/a.png" alt="A cell">') == (
        '<a href="https://example.org/a.png">A cell</a>'
    )
    embedded = '<img alt="A cell" src="data:image/png;base64,AAAA">'
    assert safe_html(embedded) == embedded
    assert safe_html("<img src='file:///etc/passwd' alt='A <b>'>") == "A &lt;b&gt;"


def test_every_element_is_closed_and_text_is_escaped():
    assert safe_html("<p>1 < 2 & <b>bold<i>both</b></p><td>") == (
        "<p>1 &lt; 2 &amp; <b>bold<i>both</i></b></p>"
    )


def cells(html):
    return [
        (name, a.get("class"), a.get("scope"))
        for name, a in Page(safe_html(html)).elements
        if name in ("td", "th")
    ]


def test_columns_of_numbers_are_marked_with_their_headers():
    frame = pd.DataFrame(
        {
            "count": ["12,885", "-3"],
            "share": ["1.5e-3", "12 %"],
            "indices": ["0 21 25", "7"],
            "gap": ["nan", "0.5"],
            "empty": ["", ""],
        }
    )
    head = cells(frame.to_html())[:6]
    assert [(name, kind) for name, kind, _ in head] == [
        ("td", None),
        ("th", "number"),
        ("th", "number"),
        ("th", None),
        ("th", "number"),
        ("th", None),
    ]


def test_cells_that_span_rows_or_columns_keep_columns_apart():
    html = (
        "<table><thead><tr><th colspan=2>Run</th><th>F1</th></tr></thead><tbody>"
        "<tr><th rowspan=2>a</th><td>x</td><td>0.1</td></tr><tr><td>y</td><td>0.2</td></tr>"
        "</tbody></table>"
    )
    assert cells(html) == [
        ("th", None, "col"),
        ("th", "number", "col"),
        ("th", None, "row"),
        ("td", None, None),
        ("td", "number", None),
        ("td", None, None),
        ("td", "number", None),
    ]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["a"], name="class <name>"),
        pd.MultiIndex.from_tuples([("a", "b")], names=["network", "quantity"]),
    ],
)
def test_the_names_of_a_pandas_index_stand_above_the_index(index):
    safe = safe_html(pd.DataFrame({"F1": [0.5]}, index=index).to_html())
    head = safe.split("<thead>")[1].split("</thead>")[0]
    assert head.count("<tr") == 1
    assert " ".join(Page(head).text.split()) == " ".join([*index.names, "F1"])


def test_the_name_of_the_columns_is_kept():
    frame = pd.DataFrame({"F1": [0.5]}, index=pd.Index(["a"], name="class"))
    frame.columns.name = "metric"
    safe = safe_html(frame.to_html())
    assert safe.count("<tr") == 3
    assert "metric" in safe


def test_a_table_scrolls_by_itself():
    page = Page(safe_html("<table><tr><td>1</td></tr></table>"))
    assert page.elements[0] == (
        "div",
        {"class": "scroll", "role": "group", "tabindex": "0", "aria-label": "Table, may scroll"},
    )


TEXTS = st.sampled_from(
    [*HOSTILE, "a & b", "&lt;b&gt;", "&nbsp;x", "0.5", "", " \n", "é µ", '"']
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def meaning(html):
    """Elements with their attributes, and the text of each cell without space at its ends."""
    page = Page(html)
    texts = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", str(html), re.DOTALL)
    return page.elements, [Page(text).text.strip() for text in texts]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), st.booleans(), TEXTS)
def test_tables_of_text_are_read_as_bleach_reads_them(rows, escape, name):
    frame = pd.DataFrame(rows, columns=["class", name]).set_index("class")
    html = frame.to_html(escape=escape, notebook=True)
    fast = safe_html.__wrapped__(html)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_html, "_plain_tables", lambda html: None)
        slow = safe_html.__wrapped__(html)
    assert meaning(fast) == meaning(slow)


def test_pandas_tables_take_the_fast_way_and_others_do_not():
    frame = pd.DataFrame({"a": ["<script>"]}, pd.MultiIndex.from_tuples([("x", "<b>")]))
    for html in (frame.to_html(), frame.to_html(border=2)):
        assert "&lt;script&gt;" in report_html._plain_tables(html)
    spoiled = frame.to_html().replace("&lt;script&gt;", "{}")
    for inside in ("<img src='x'/>", "<script>x</script>", "<a href='#b'>b</a>", "&nbsp;", "<br>"):
        assert report_html._plain_tables(spoiled.format(inside)) is None
    for html in ("text<table/>", "<table/>text", "<table>text</table>", "<table><tr/></table>"):
        assert report_html._plain_tables(html) is None
