"""The templates of report pages: where they lie, what they can call, what they look like."""

from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from hpa_lib import __version__, report_text
from hpa_lib.files import digest_bytes
from hpa_lib.nbconvert_shim import nbconvert

TEMPLATES: Path = Path(__file__).parent / "templates"
"""Folder of the index's template and of ``hpa``, the nbconvert template of run pages."""


def configure(environment: jinja2.Environment) -> None:
    """Escape all values by default and add the filters of the templates."""
    environment.autoescape = True
    environment.filters.update(
        metric=report_text.metric,
        moment=report_text.moment,
        duration=report_text.duration,
        parameter=report_text.parameter,
        line_count=lambda text: len(text.strip().splitlines()),
    )


def page_address(run_name: str) -> str:
    """Address of a run's page relative to the index."""
    return quote(run_name, safe="") + "/index.html"


@cache
def asset(name: str) -> Markup:
    """The text of a style or script in the folder of templates, to be put into a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


@cache
def digest() -> str:
    """SHA-256 of everything besides the run that shapes a page, as hexadecimal text."""
    templates = [path for path in sorted(TEMPLATES.rglob("*")) if path.is_file()]
    modules = sorted(Path(__file__).parent.glob("report*.py"))
    contents = [path.read_bytes() for path in (*templates, *modules)]
    return digest_bytes(__version__.encode(), nbconvert.__version__.encode(), *contents)
