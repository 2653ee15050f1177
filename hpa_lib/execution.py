"""Run a notebook headless with papermill and keep the executed notebook with its run.

``papermill`` by hand does the same; this adds what a pipeline needs: parameters are checked
before a kernel starts, only declared ones are passed, and the executed notebook is stored in
the run folder whether or not it succeeded.
"""

import logging
from pathlib import Path
from typing import Any

import nbformat
import papermill

from hpa_lib import files, parameters, paths
from hpa_lib.errors import HpaError
from hpa_lib.notebook import RUN_METADATA_KEY

EXECUTED = "notebook.ipynb"


def execute(
    notebook: str, output: Path, preset: Path | None = None, overrides: dict[str, Any] | None = None
) -> Path:
    """Run one of the project's notebooks.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
        output: Where the executed notebook is written once it has run to its end.
        preset: YAML file with parameters.
        overrides: Parameters that take precedence over the preset. Relative paths among all
            parameters count from the current folder.

    Returns:
        The run folder.

    Raises:
        HpaError: If a parameter is refused, or the notebook fails; the message is the notebook's.
    """
    values = (parameters.read_preset(preset) if preset else {}) | (overrides or {})
    checked = parameters.validate(notebook, values)
    parameters.check_files(checked)
    declared = {name: value for name, value in values.items() if hasattr(checked, name)}
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.stem}.unfinished.ipynb")
    logging.getLogger("papermill").setLevel(logging.WARNING)
    try:
        papermill.execute_notebook(
            paths.NOTEBOOKS / f"{notebook}.ipynb",
            draft,
            declared,
            kernel_name="python3",
            progress_bar=False,
            log_output=True,
            extra_arguments=["--log-level=ERROR"],
        )
    except papermill.PapermillExecutionError as error:
        folder = store(draft)
        place = f"run folder {folder}" if folder else f"executed notebook {draft}"
        raise HpaError(
            f"Notebook {notebook} failed in cell {error.exec_count}: {error.ename}: {error.evalue}",
            f"All outputs up to there are in the {place}.",
        ) from error
    folder = store(draft)
    if folder is None:
        raise HpaError(f"Notebook {notebook} opened no run folder.", "Restore the notebook.")
    draft.replace(output)
    return folder


def store(executed: Path) -> Path | None:
    """Copy an executed notebook into the folder of its run.

    Args:
        executed: Notebook with outputs, as papermill wrote it.

    Returns:
        The run folder; None if the notebook ended before it opened one.
    """
    if not executed.is_file():
        return None
    folder = run_folder(executed)
    if folder is None:
        return None
    files.write_text(folder / EXECUTED, executed.read_text(encoding="utf-8"))
    return folder


def run_folder(executed: Path) -> Path | None:
    """The run folder of an executed notebook, by the mark that `notebook.open_run` left in it.

    Raises:
        FileNotFoundError: If there is no such file; Snakemake takes this for "not yet".
        HpaError: If the file isn't a notebook.
    """
    try:
        content = nbformat.read(executed, as_version=4)
    except FileNotFoundError:
        raise
    except Exception as error:  # nbformat lets errors of many kinds through
        raise HpaError(
            f"{executed} isn't a notebook ({type(error).__name__}).",
            "Give a notebook that papermill executed.",
        ) from error
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            name = output.get("metadata", {}).get(RUN_METADATA_KEY)
            if name:
                folder = paths.runs_folder() / name
                return folder if folder.is_dir() else None
    return None
