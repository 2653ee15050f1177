"""The notebooks run: under nbval with the smoke preset, and by hand with papermill."""

import os
import subprocess
import sys

import deprecations
import nbformat
import papermill
import pytest

from hpa_lib import paths, runs

pytestmark = pytest.mark.pipeline

SMOKE = paths.PRESETS / "smoke.yaml"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One data, runs and reports folder for the notebooks, which build on each other."""
    base = tmp_path_factory.mktemp("notebooks")
    return {
        "HPA_DATA": str(base / "data"),
        "HPA_RUNS": str(base / "runs"),
        "HPA_REPORTS": str(base / "reports"),
        **deprecations.environment(),
    }


def papermill_command(folder, folders, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "papermill", *arguments],
        cwd=folder,
        env=os.environ | folders,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_notebooks_pass_nbval_with_the_smoke_preset(folders, tmp_path):
    prepared = []
    for name in paths.PIPELINE_NOTEBOOKS:
        prepared.append(tmp_path / f"{name}.ipynb")
        papermill.execute_notebook(
            paths.NOTEBOOKS / f"{name}.ipynb",
            prepared[-1],
            parameters=runs.preset_parameters("smoke", name),
            prepare_only=True,
            progress_bar=False,
        )
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=900", "-q", "-x",
         "-p", "no:cacheprovider", *map(str, prepared)],
        cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[-5000:] + finished.stderr[-2000:]
    cells = sum(
        cell.cell_type == "code"
        for path in prepared
        for cell in nbformat.read(path, as_version=4).cells
    )
    assert f"{cells} passed" in finished.stdout


def test_papermill_by_hand_from_another_folder(folders, tmp_path):
    notebook = paths.NOTEBOOKS / "1_explore.ipynb"
    finished = papermill_command(
        tmp_path, folders, str(notebook), "out.ipynb", "-f", str(SMOKE), "-p", "sample", "3"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    published = subprocess.run(
        [sys.executable, "-m", "hpa_lib.cli", "publish", str(tmp_path / "out.ipynb")],
        env=os.environ | folders, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "index.html" in published.stdout


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("batch_size", "many", "Parameter batch_size received 'many'"),
        ("epochz", "3", "Parameter epochz is unknown"),
        ("image_size", "16", "Parameter image_size received 16"),
        ("data", "/nowhere", "Data folder /nowhere"),
    ],
)
def test_wrong_parameter_ends_the_notebook_before_training(
    folders, tmp_path, option, value, expected
):
    notebook = paths.NOTEBOOKS / "3_train_vgg.ipynb"
    finished = papermill_command(
        tmp_path, folders, str(notebook), "out.ipynb", "-f", str(SMOKE), "-p", option, value
    )
    assert finished.returncode != 0
    assert expected in finished.stderr
    assert "What to do:" in finished.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    training = next(cell for cell in executed.cells if cell.id == "training")
    assert training.execution_count is None


@pytest.mark.parametrize("name", paths.NOTEBOOK_NAMES)
def test_help_lists_every_parameter(name, tmp_path):
    finished = papermill_command(
        tmp_path, {}, "--help-notebook", str(paths.NOTEBOOKS / f"{name}.ipynb")
    )
    assert finished.returncode == 0
    for parameter in runs.preset_parameters("quick", name):
        assert f"  {parameter}: " in finished.stdout
    assert "Unknown type" not in finished.stdout
