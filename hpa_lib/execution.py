"""Run a notebook headless with papermill and keep the executed notebook with its run.

``papermill`` by hand does the same; this adds what a pipeline needs: parameters are checked
before a kernel starts, only declared ones are passed, and the executed notebook is stored in
the run folder whether or not it succeeded.
"""

import contextlib
import itertools
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError

from hpa_lib import files, parameters, paths, run_digests, runs
from hpa_lib.errors import HpaError
from hpa_lib.notebook import RUN_METADATA_KEY, open_dataset

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
        HpaError: If a parameter is refused; if the notebook fails, and the message is its own; or
            if its kernel dies.
        KeyboardInterrupt: After Ctrl+C or SIGTERM, when the kernel has ended.
    """
    values = (parameters.read_preset(preset) if preset else {}) | (overrides or {})
    checked = parameters.validate(notebook, values)
    parameters.check_files(checked)
    declared = {name: value for name, value in values.items() if hasattr(checked, name)}
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.stem}.unfinished.ipynb")
    # A process may have outlived the pipeline that started it, and write to the same file.
    lock = output.with_name(f".{output.stem}.lock")
    waiting = f"Another process executes the notebook for {output}"
    with files.alone(lock, waiting), _ending_on_sigterm(), files.naming_full_disk(output):
        if not _has_ended(notebook, checked, draft):
            draft.unlink(missing_ok=True)
            _execute(notebook, draft, declared)
        folder = store(draft)
        if folder is None:
            raise HpaError(f"Notebook {notebook} opened no run folder.", "Restore the notebook.")
        draft.replace(output)
    return folder


def _execute(notebook: str, draft: Path, declared: dict[str, Any]) -> None:
    """Run a notebook; if it doesn't reach its end, keep what there is in the run folder."""
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
        raise HpaError(
            f"Notebook {notebook} failed in cell {error.exec_count}: {error.ename}: {error.evalue}",
            f"All outputs up to there are in the {_kept(draft)}.",
        ) from error
    except DeadKernelError as error:
        kept = _kept(draft)
        runs.settle(paths.runs_folder())
        raise HpaError(
            f"The kernel of notebook {notebook} died: something killed it, as the system does "
            "where memory runs out.",
            "Mend that, then start the same again: a training goes on after its last finished "
            f"epoch. All outputs up to there are in the {kept}.",
        ) from error
    except KeyboardInterrupt:
        # nbclient leaves behind what waited for the kernel, and asyncio would complain of that.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        store(draft)
        runs.settle(paths.runs_folder())
        raise


def _has_ended(notebook: str, values: parameters.Parameters, draft: Path) -> bool:
    """Whether an earlier execution for the same results was killed after its notebook had ended.

    All that is left then is to hand the draft over; to execute it would train once more.
    """
    try:
        folder = run_folder(draft)
        manifest = runs.read_manifest(folder) if folder else {}
    except (FileNotFoundError, HpaError):
        return False
    if manifest.get("status") != "complete" or not _is_executed_to_its_end(draft):
        return False
    if not set(manifest["inputs"]) <= set(map(str, values.model_dump().values())):
        return False  # such as the newest run, which may be another one now
    fingerprint = manifest["dataset"] and manifest["dataset"]["fingerprint"]
    if isinstance(values, parameters.DataParameters):
        fingerprint = open_dataset(values).fingerprint
    same = runs.identity(notebook, values, fingerprint, manifest["inputs"])
    return manifest["identity"] == same


def _is_executed_to_its_end(draft: Path) -> bool:
    cells = nbformat.read(draft, as_version=4).cells
    states = [cell.metadata.get("papermill", {}).get("status") for cell in cells]
    code = [cell.cell_type == "code" for cell in cells]
    return all(state == "completed" for state in itertools.compress(states, code))


def _kept(draft: Path) -> str:
    """Where the outputs of a notebook are that didn't reach its end."""
    folder = store(draft)
    return f"run folder {folder}" if folder else f"executed notebook {draft}"


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl+C does, which ends the kernel first."""
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


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
    run_digests.add(folder / EXECUTED)
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
