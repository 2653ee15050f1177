"""Benchmarks call the library with arguments that it takes; only `make bench` runs them."""

import ast
import importlib
import inspect

import pytest

from hpa_lib import paths

SCRIPTS = sorted((paths.PROJECT_ROOT / "benchmarks").glob("*.py"))


def imported(tree):
    """Objects of the library by the names that a script gives them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "hpa_lib":
            for alias in node.names:
                try:
                    target = importlib.import_module(f"{node.module}.{alias.name}")
                except ModuleNotFoundError:
                    target = getattr(importlib.import_module(node.module), alias.name)
                found[alias.asname or alias.name] = target
    return found


def called(node, names):
    """The object of the library that a call names, or nothing."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = called(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return None


def starred(node):
    """Whether a call unpacks a sequence, whose length isn't known here."""
    return any(isinstance(argument, ast.Starred) for argument in node.args)


def wrong_calls(text):
    """Calls of the library whose arguments it would refuse."""
    tree = ast.parse(text)
    names, found = imported(tree), []
    for node in ast.walk(tree):
        function = called(node.func, names) if isinstance(node, ast.Call) else None
        keywords = {} if function is None else {key.arg: None for key in node.keywords}
        if function is None or None in keywords or starred(node):
            continue
        try:
            inspect.signature(function).bind(*node.args, **keywords)
        except TypeError as error:
            found.append(f"{ast.unparse(node)}: {error}")
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_call_of_the_library_fits_its_signature(script):
    assert wrong_calls(script.read_text(encoding="utf-8")) == []


def test_a_missing_and_an_unknown_argument_are_found():
    text = "from hpa_lib import schedules as s\ns.learning_rates(0.1)\ns.learning_rates(1, 2, a=3)"
    missing, unknown = wrong_calls(text)
    assert "missing a required argument: 'steps'" in missing
    assert "unexpected keyword argument 'a'" in unknown
