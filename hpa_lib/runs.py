"""The folder that each execution of a notebook leaves behind.

A run folder holds ``manifest.json``, ``params.yaml``, ``metrics.json`` and the notebook's other
results, later also the executed notebook. Its name is the notebook's, the preset's and a digest
of everything that the results depend on: parameters, files that they name, dataset, input runs,
code. A finished run is never written to again; an unfinished one of the same name is taken up,
and where a training was interrupted it goes on from the state that lies there.
"""

import contextlib
import datetime
import importlib.metadata
import logging
import math
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from hpa_lib import code_digest, files, parameters, paths, processes, run_digests
from hpa_lib.errors import HpaError, shown

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
METRICS = "metrics.json"

BEST_WEIGHTS = "best.weights.h5"
"""Weights of the best epoch."""

NEXT_WEIGHTS = "next.weights.h5"
"""Weights of an epoch that may become the best; they do when the state says so."""

LAST_WEIGHTS = "last.weights.h5"
"""Weights of the last epoch, of runs that evaluate these."""

EVALUATED_WEIGHTS = {"best": BEST_WEIGHTS, "last": LAST_WEIGHTS}
"""File with the weights that a run's figures come from, by its parameter ``evaluate``."""

STATE = "state.npz"
"""What an interrupted training goes on from; see `training_state`. A finished run has none."""

PARAMETERS_WITHOUT_INFLUENCE = frozenset({"preset", "data", "tensorboard"})
"""Parameters that results don't depend on; of the data the fingerprint tells."""

_REPORTED_PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "opencv-python", "scikit-learn")


class Run:
    """One execution of a notebook, being written.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
        values: The notebook's checked parameters.
        title: The notebook's heading.
        dataset: What the manifest says of the dataset; None where none is opened.
        inputs: Names of the runs that this one reads.
        device: What TensorFlow computes on, in words; None where it isn't used.
    """

    def __init__(
        self,
        notebook: str,
        values: parameters.Parameters,
        title: str,
        dataset: dict[str, Any] | None = None,
        inputs: tuple[str, ...] = (),
        device: str | None = None,
    ) -> None:
        self.notebook = notebook
        self.parameters = values
        self._begun = time.monotonic()  # the time of day may be set back meanwhile
        given = values.model_dump()
        recorded = {k: _portable(v) for k, v in given.items()}
        self._manifest: dict[str, Any] = {
            "notebook": notebook,
            "identity": identity(notebook, values, dataset and dataset["fingerprint"], inputs),
            "title": title,
            "preset": given["preset"],
            "status": "running",
            "reason": None,
            "parameters": recorded,
            "files": file_digests(given),
            "preset_parameters": preset_parameters(given["preset"], notebook),
            **_commit(),
            "code_digest": code_digest.of_notebook(notebook),
            "packages": {name: importlib.metadata.version(name) for name in _REPORTED_PACKAGES},
            "python": platform.python_version(),
            "device": device,
            "seed": given.get("seed"),
            "dataset": dataset,
            "inputs": list(inputs),
            "host": files.host_digest(),
            "process": os.getpid(),
            "started": _now(),
            "finished": None,
            "seconds": None,
        }
        slugs = (_slug(part) for part in (given["preset"], notebook))
        stem = "-".join(slug for slug in slugs if slug)
        paths.require_writable(paths.runs_folder(), "HPA_RUNS")
        with FileLock(paths.runs_folder() / ".claim.lock"):
            self.name = _free_name(f"{stem}-{self._manifest['identity'][:8]}")
            self.folder = paths.runs_folder() / self.name
            self._manifest |= {
                "earlier_attempts": _clear(self.folder, self._manifest["identity"]),
                "run": self.name,
                "command": f"papermill notebooks/{notebook}.ipynb out.ipynb "
                f"-f runs/{self.name}/params.yaml",
            }
            self._write_manifest()
        parameters.write_yaml(self.folder / "params.yaml", recorded)

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write ``metrics.json``; figures that are no number become null.

        The key ``headline`` maps readable names to the figures that reports show first.
        """
        files.write_json(self.folder / METRICS, _without_nan(metrics))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as ``<name>.csv``, floats with nine significant digits."""
        with files.replacing(self.folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")

    def finish(self) -> None:
        """Mark the run as complete: the last act of a notebook, after its checks have passed.

        Raises:
            HpaError: If the metrics are not on disk.
        """
        if not (self.folder / METRICS).is_file():
            raise HpaError(f"Run {self.name} has no {METRICS}.", "Run all cells in their order.")
        self._close("complete", None)
        (self.folder / STATE).unlink(missing_ok=True)  # last: until then a kill costs no training

    def fail(self, reason: str) -> None:
        """Mark the run as failed, with the reason."""
        self._close("failed", reason)

    def interrupt(self, reason: str) -> None:
        """Mark the run as interrupted, with the reason."""
        self._close("interrupted", reason)

    @property
    def status(self) -> str:
        """``running``, ``complete``, ``failed`` or ``interrupted``."""
        return self._manifest["status"]

    def _close(self, status: str, reason: str | None) -> None:
        seconds = time.monotonic() - self._begun
        self._manifest |= {"status": status, "reason": _portable(reason)}
        self._manifest |= {"finished": _now(), "seconds": round(seconds, 1)}
        if status == "complete":
            run_digests.write(self.folder, {MANIFEST: files.json_text(self._manifest)}, {STATE})
        self._write_manifest()

    def _write_manifest(self) -> None:
        files.write_json(self.folder / MANIFEST, self._manifest)


def identity(
    notebook: str, values: parameters.Parameters, fingerprint: str | None, inputs: Sequence[str]
) -> str:
    """SHA-256 of all that a run's results follow from.

    Args:
        notebook: One of `paths.NOTEBOOK_NAMES`.
        values: The notebook's checked parameters.
        fingerprint: That of its dataset; None where none is opened.
        inputs: Names of the runs that it reads.
    """
    given = values.model_dump()
    return files.digest_json(
        {
            "notebook": notebook,
            "parameters": {k: v for k, v in given.items() if k not in PARAMETERS_WITHOUT_INFLUENCE},
            "files": file_digests(given),
            "dataset": fingerprint,
            "inputs": list(inputs),
            "code": code_digest.of_notebook(notebook),
        }
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder.

    A run that says "running" on this computer, but whose process is gone, is given as
    interrupted.

    Raises:
        HpaError: If there is no readable manifest, or that of a complete run has changed since.
    """
    manifest = _read_mapping(folder, MANIFEST, {"status": str, "notebook": str})
    if manifest["status"] == "complete":
        run_digests.checked(folder / MANIFEST)
    here = files.host_digest()
    gone = manifest.get("host") == here and not processes.is_alive(manifest.get("process"))
    if manifest["status"] == "running" and gone:
        manifest |= {"status": "interrupted", "reason": "The process ended before the notebook."}
    return manifest


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read ``metrics.json`` of a training run.

    Raises:
        HpaError: If it can't be read, has changed since the run ended, or the run trained no
            network.
    """
    found = _read_mapping(folder, METRICS, {})
    run_digests.checked(folder / METRICS)
    if not isinstance(found.get("backbone"), str):
        raise HpaError(f"Run {folder} trained no network.", "Name a run of a training notebook.")
    return found


def readable(runs_folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Run folders with their manifests, in the order of their names, but for damaged ones.

    Of each damaged one a warning tells.

    Args:
        runs_folder: Folder with one folder a run.

    Returns:
        Pairs of folder and `read_manifest` of it.
    """
    found = []
    for path in sorted(runs_folder.glob(f"*/{MANIFEST}")):
        try:
            found.append((path.parent, read_manifest(path.parent)))
        except HpaError as error:
            log.warning("A run is passed over: %s", error.problem)
    return found


def settle(runs_folder: Path) -> None:
    """Write down, for all runs in a folder, that those whose process is gone are interrupted.

    A complete run whose process was killed right after its end loses the state of its training.
    """
    for folder, manifest in readable(runs_folder):
        if manifest["status"] == "complete":
            (folder / STATE).unlink(missing_ok=True)
        if manifest["status"] != "interrupted":
            continue
        with contextlib.suppress(HpaError):
            present = _read_mapping(folder, MANIFEST, {"status": str})
            # Another process may have taken the run up since, and even finished it.
            if (present["status"], present.get("process")) == ("running", manifest["process"]):
                files.write_json(folder / MANIFEST, manifest)


def finished() -> list[dict[str, Any]]:
    """Manifests of all complete runs, in the order of their folders' names.

    A run whose manifest is damaged isn't complete.
    """
    return [
        manifest | {"run": folder.name}
        for folder, manifest in readable(paths.runs_folder())
        if manifest["status"] == "complete" and isinstance(manifest.get("finished"), str)
    ]


def find(name_or_path: str, notebook: str) -> Path:
    """Find a finished training run.

    Args:
        name_or_path: Name of a run, path of its folder, or empty for the newest finished run
            of the notebook.
        notebook: One of `paths.NOTEBOOK_NAMES`.

    Raises:
        HpaError: If there is no such run, or it isn't complete, or trained no network.
    """
    folder = paths.runs_folder()
    if not name_or_path:
        candidates = [
            (manifest["finished"], manifest["run"])
            for manifest in finished()
            if manifest["notebook"] == notebook
        ]
        if not candidates:
            raise HpaError(
                f"There is no finished run of {notebook} in {folder}.",
                "Run that notebook first, or name a run folder.",
            )
        return folder / max(candidates)[1]
    path = paths.expanded(name_or_path)
    path = path if os.path.isdir(path) else folder / name_or_path  # noqa: PTH112 - as below
    status = read_manifest(path)["status"]
    if status != "complete":
        raise HpaError(f"Run {path} is {status}, not complete.", "Run its notebook to the end.")
    read_metrics(path)
    return path


def preset_parameters(preset: str, notebook: str) -> dict[str, Any]:
    """What a preset sets for a notebook; empty if there is no preset of that name."""
    path = paths.PRESETS / f"{_slug(preset)}.yaml"
    if not preset or not path.is_file():
        return {}
    return parameters.validate(notebook, parameters.read_preset(path)).model_dump()


def file_digests(values: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that parameters name, by parameter.

    Args:
        values: Parameters by name; a text counts where it names a file.
    """
    named = {
        name: paths.expanded(value)
        for name, value in values.items()
        if isinstance(value, str) and Path(value).suffix
    }
    return {
        name: files.digest_file(path)
        for name, path in named.items()
        if os.path.isfile(path)  # noqa: PTH113 - takes a text too long for a name, as a list of Ids
    }


def data_label(data: str) -> str:
    """A name for a data folder that tells it from others of the same last part."""
    path = paths.expanded(data).absolute()
    return f"{_slug(path.name)}-{files.digest_bytes(str(path).encode())[:6]}"


def _free_name(stem: str) -> str:
    """The first of stem, stem-2, stem-3, … that no finished or running run occupies."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        folder = paths.runs_folder() / name
        if not (folder / MANIFEST).exists():
            return name
        manifest = read_manifest(folder)
        own = manifest["status"] == "running" and manifest["process"] == os.getpid()
        if own or manifest["status"] in ("failed", "interrupted"):
            return name
        number += 1


def _clear(folder: Path, identity: str) -> list[dict[str, Any]]:
    """Empty a folder, but for the state of an interrupted training of the same identity.

    Returns:
        Start, end and status of the attempts whose work is kept.
    """
    attempts: list[dict[str, Any]] = []
    kept: set[str] = set()
    if (folder / STATE).is_file() and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if manifest.get("identity") == identity:
            kept = {STATE, BEST_WEIGHTS, NEXT_WEIGHTS, MANIFEST}  # the last is replaced
            last = {name: manifest[name] for name in ("started", "finished", "status")}
            attempts = [*manifest["earlier_attempts"], last]
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink()
    return attempts


def _read_mapping(folder: Path, name: str, fields: dict[str, type]) -> dict[str, Any]:
    """Read a JSON object of a run folder, with fields of these types."""
    try:
        found = files.read_json(folder / name)
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        for field, kind in fields.items():
            if not isinstance(found.get(field), kind):
                raise ValueError(f"its {field} is {shown(found.get(field))}")
    except (OSError, ValueError) as error:
        raise HpaError(
            f"{folder} isn't a run folder: its {name} can't be read ({error}).",
            "Give the folder of a finished training run.",
        ) from error
    return found


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _portable(value: Any) -> Any:
    """A text without the user's home folder; other values as they are."""
    return paths.portable(value) if isinstance(value, str) else value


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:60]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _commit() -> dict[str, Any]:
    """Commit of the checkout and whether tracked files differ from it; None outside of git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(paths.PROJECT_ROOT), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
