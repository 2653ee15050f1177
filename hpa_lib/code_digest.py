"""Which modules of the library a notebook's results depend on, and a digest of these.

They are the modules that the notebook imports, and those that these import in turn, within
functions too. So a new report or a mended comparison doesn't make trainings outdated.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hpa_lib import files, paths

_PACKAGE = "hpa_lib"

# Modules that look on: what they show depends on them, results don't.
_WITHOUT_INFLUENCE = re.compile(
    r"decoded_samples|front_end|image_browser|image_view|plots_samples|run_decisions"
    r"|sample_selection|watching"
)


def of_notebook(notebook: str) -> str:
    """SHA-256 over the modules that a notebook's results can depend on, as hexadecimal text.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
    """
    names = sorted(modules(notebook))
    return files.digest_bytes(
        *(part for name in names for part in (name.encode(), _path(name).read_bytes()))
    )


def modules(notebook: str) -> set[str]:
    """Names of the modules that a notebook's results can depend on, without the package's."""
    content = json.loads((paths.NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    code = ("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
    waiting = {name for source in code for name in imported(source)}
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and not _WITHOUT_INFLUENCE.fullmatch(name) and _path(name).is_file():
            found.add(name)
            waiting |= imported(_path(name).read_text(encoding="utf-8"))
    return found


@cache
def imported(source: str) -> frozenset[str]:
    """Names that a source imports from the package when it runs; some may be no modules.

    Args:
        source: Python code. What it imports for type checkers alone doesn't count.
    """
    return frozenset(_names(ast.parse(source)))


def _path(module: str) -> Path:
    return Path(__file__).parent / f"{module}.py"


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.ImportFrom) and node.module:
        package, _, module = node.module.partition(".")
        if package == _PACKAGE:
            yield from [module] if module else [alias.name for alias in node.names]
    for inner in ast.iter_child_nodes(node):
        yield from _names(inner)
