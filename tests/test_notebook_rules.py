"""The rules for notebooks: thin, told as a story, without outputs, one source of parameters."""

import ast
import itertools
import re
import statistics
from typing import Literal, get_origin

import nbformat
import pytest

from hpa_lib import notebook as notebooks
from hpa_lib import parameters, paths

LONGEST_CELL = 25
LARGEST_MEDIAN = 4

ALL = pytest.mark.parametrize("name", paths.NOTEBOOK_NAMES)


def read(name):
    return nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def test_the_folder_holds_the_notebooks_and_nothing_else():
    assert {path.stem for path in paths.NOTEBOOKS.glob("*.ipynb")} == set(paths.NOTEBOOK_NAMES)


@ALL
def test_notebook_is_valid_and_without_outputs(name):
    content = read(name)
    nbformat.validate(content)
    assert content.nbformat == 4
    assert content.nbformat_minor >= 5
    for cell in content.cells:
        assert not cell.get("outputs"), f"cell {cell.id} has outputs"
        assert cell.get("execution_count") is None, f"cell {cell.id} has been run"


@ALL
def test_metadata_is_reduced_to_what_is_needed(name):
    content = read(name)
    assert content.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in content.cells:
        wanted = {"tags": ["parameters"]} if cell.id == "parameters" else {}
        assert cell.metadata == wanted


@ALL
def test_title_then_parameters_then_strict_alternation(name):
    cells = read(name).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.splitlines()[0] == f"# {notebooks.TITLES[name]}"
    assert cells[1].id == "parameters"
    assert cells[3].id == "setup"
    kinds = [cell.cell_type for cell in cells]
    assert kinds == ["markdown", "code"] * (len(cells) // 2)


@ALL
def test_one_first_heading_and_no_skipped_level(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


@ALL
def test_code_is_thin(name):
    cells = [cell for cell in code_cells(name) if cell.id != "parameters"]
    sources = [re.sub(r"from hpa_lib import \([^)]*\)\n", "", cell.source) for cell in cells]
    lengths = [len(source.splitlines()) for source in sources]
    assert max(lengths) <= LONGEST_CELL
    assert statistics.median(lengths) <= LARGEST_MEDIAN
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While), (
                f"cell {cell.id} holds logic"
            )


@ALL
def test_imports_stand_in_the_setup_cell_alone(name):
    for cell in code_cells(name):
        imports = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert bool(imports) == (cell.id == "setup"), f"cell {cell.id}"


@ALL
def test_last_cell_checks_and_finishes(name):
    last = read(name).cells[-1].source
    assert "assert " in last or "check(" in last
    assert last.splitlines()[-1] == "run.finish()"


@ALL
def test_parameters_cell_repeats_the_model(name):
    lines = next(cell for cell in code_cells(name) if cell.id == "parameters").source.splitlines()
    fields = parameters.MODELS[name].model_fields
    assert len(lines) == len(fields)
    for line, (field_name, field) in zip(lines, fields.items(), strict=True):
        assignment = ast.parse(line).body[0]
        assert isinstance(assignment, ast.AnnAssign)
        assert assignment.target.id == field_name
        assert ast.literal_eval(assignment.value) == field.default
        origin = get_origin(field.annotation) or field.annotation
        kind = "str" if origin is Literal else origin.__name__
        assert assignment.annotation.id == kind
        assert line.split("  # ", maxsplit=1)[1] == field.description
        assert line.count("=") == 1, "papermill's help can't read a second equals sign"


@ALL
def test_defaults_are_the_quick_preset(name):
    quick = parameters.read_preset(paths.PRESETS / "quick.yaml")
    assert parameters.validate(name, quick) == parameters.MODELS[name]()


@pytest.mark.parametrize("preset", sorted(path.stem for path in paths.PRESETS.glob("*.yaml")))
def test_preset_names_itself_and_leaves_no_protocol_open(preset):
    values = parameters.read_preset(paths.PRESETS / f"{preset}.yaml")
    assert values["preset"] == preset
    chosen_by_users = {
        "data",
        "leave_out",
        "sample",
        "run_a",
        "run_b",
        "backbone",
        "sweep",
        "overrides",
    }
    assert set(values) | chosen_by_users == parameters.KNOWN_NAMES


def test_no_parameter_hides_a_module():
    modules = {path.stem for path in (paths.PROJECT_ROOT / "hpa_lib").glob("*.py")}
    assert not modules & parameters.KNOWN_NAMES
