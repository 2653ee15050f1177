"""Read run folders as reports show them: manifest, headline figures, training history."""

import csv
import unicodedata
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from nbconvert.filters import strip_ansi

from hpa_lib import report_text, run_digests
from hpa_lib.errors import HpaError
from hpa_lib.files import digest_file, read_json
from hpa_lib.report_privacy import Concealer, conceal_all

STATUSES: dict[str, tuple[str, str]] = {
    "complete": ("Complete", "All cells ran and the metrics are on disk."),
    "failed": ("Failed", "The run stopped with an error. What it had produced is shown below."),
    "interrupted": (
        "Interrupted",
        "The run was stopped before its end. What it had produced is shown below.",
    ),
    "running": ("Running", "The run has not finished. Publish again to see its end."),
}
"""Status of a run: word and explanation. An unknown status is shown as failed."""

DOWNLOADS: dict[str, str] = {
    "notebook.ipynb": "Executed notebook",
    "params.yaml": "Parameters",
    "metrics.json": "Metrics",
    "manifest.json": "Manifest",
    "predictions.csv": "Predictions",
    "history.csv": "Training history",
}
"""Files of a run that lie beside its page, with what they are called there."""

RESERVED_NAMES: tuple[str, ...] = ("index.html", "runs.json", "README.md")
"""Files in the reports folder, whose names no run can have."""

UNPUBLISHED: tuple[str, ...] = ("host", "process")
"""Fields of the manifest that say where a run is computed. Reports leave them out."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    "dataset": (dict, type(None)), "inputs": list, "parameters": dict, "preset_parameters": dict,
}  # fmt: skip
_TRAINING_NOTEBOOKS = ("2_", "3_")


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """What pages and index show of a run folder.

    Attributes:
        folder: The run folder.
        manifest: Content of ``manifest.json`` without the fields `UNPUBLISHED`, concealed.
        conceal: Leaves out of the run's texts what isn't published; see `report_privacy`.
        has_manifest: Whether ``manifest.json`` could be read.
        headline: Readable name → figure, in the order of ``metrics.json``.
        history: Column → cells as text, from ``history.csv``; empty without that file.
        digests: SHA-256 of each file that is there of those in `DOWNLOADS`, by its name.
    """

    folder: Path
    manifest: dict[str, Any]
    conceal: Concealer
    has_manifest: bool
    headline: dict[str, float]
    history: dict[str, tuple[str, ...]]
    digests: dict[str, str]

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReportedRun":
        # Nothing changes a run; nbconvert copies all that it renders.
        return self

    @property
    def name(self) -> str:
        """Name of the run, which is that of its folder."""
        return self.folder.name

    @property
    def title(self) -> str:
        """Heading of the run's page."""
        return self.text("title") or self.text("notebook") or self.name

    @property
    def status(self) -> str:
        """A key of `STATUSES`."""
        status = self.text("status")
        return status if status in STATUSES else "failed"

    @property
    def reason(self) -> str:
        """Why the run did not finish; empty if it did."""
        return strip_ansi(self.text("reason")).strip()

    @property
    def is_training(self) -> bool:
        """Whether the run trains a network."""
        return bool(self.history) or self.text("notebook").startswith(_TRAINING_NOTEBOOKS)

    @property
    def dataset_name(self) -> str:
        """Name of the dataset; empty if the run opened none."""
        return str((self.manifest.get("dataset") or {}).get("name") or "")

    @property
    def dataset_key(self) -> str:
        """Identifies the data: metrics of runs are compared only where it is equal."""
        dataset = self.manifest.get("dataset") or {}
        return str(dataset.get("fingerprint") or dataset.get("name") or "")

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the run, in the order of the notebook."""
        return self.manifest.get("parameters") or {}

    @property
    def inputs(self) -> list[str]:
        """Names of the runs that this one reads."""
        return [str(name) for name in self.manifest.get("inputs") or []]

    def text(self, key: str) -> str:
        """A field of the manifest as text; empty where it is missing or null."""
        value = self.manifest.get(key)
        return "" if value is None else str(value)

    def provenance(self) -> list[tuple[str, str]]:
        """Where the run comes from, as pairs of label and text; empty facts are left out."""
        manifest, dataset = self.manifest, self.manifest.get("dataset") or {}
        commit = self.text("commit")
        if commit and manifest.get("dirty"):
            commit += ", with uncommitted changes"
        samples = dataset.get("samples")
        counted = f", {samples:,} samples" if report_text.is_number(samples) else ""
        facts = [
            ("Run", self.name),
            ("Notebook", self.text("notebook")),
            ("Preset", self.text("preset")),
            ("Dataset", self.dataset_name + counted),
            ("Dataset fingerprint", str(dataset.get("fingerprint") or "")),
            ("Seed", self.text("seed")),
            ("Device", self.text("device")),
            ("Python", self.text("python")),
            ("Commit", commit),
            ("Code digest", self.text("code_digest")),
            ("Started", report_text.moment(self.text("started"))),
            ("Finished", report_text.moment(self.text("finished"))),
            ("Duration", report_text.duration(manifest.get("seconds"))),
        ]
        return [(label, text) for label, text in facts if text]


def read_runs(runs_folder: Path) -> list[ReportedRun]:
    """Read all runs of a folder in the order of their names.

    Hidden folders and folders without ``manifest.json`` are no runs.

    Args:
        runs_folder: Folder with one folder a run. It may be missing.

    Raises:
        HpaError: If a run has the name of a file that lies in the reports folder, or of another
            run. Names that differ only in case or in the form of their accents are one name to
            macOS and Windows, where a published folder may be unpacked.
    """
    if not runs_folder.is_dir():
        return []
    runs = []
    taken = {_folded(name): f"a file in the reports folder, {name}" for name in RESERVED_NAMES}
    for folder in sorted(runs_folder.iterdir()):
        run = None if folder.name.startswith(".") else read_run(folder)
        if run is None:
            continue
        other = taken.get(_folded(run.name))
        if other:
            raise HpaError(
                f"Run folder {folder} has, on computers that don't tell upper from lower case, "
                f"the name of {other}.",
                "Rename the run folder, or move it elsewhere.",
            )
        taken[_folded(run.name)] = f"run folder {folder}"
        runs.append(run)
    return runs


def _folded(name: str) -> str:
    """What file systems that ignore case and the form of accents take a name for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def read_run(folder: Path) -> ReportedRun | None:
    """Read a run; None if it has no manifest. A damaged file costs only what it tells.

    A run with a file that has changed since its end is shown as failed.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    manifest = read_mapping(path)
    told = {
        key: value
        for key, value in manifest.items()
        if key not in UNPUBLISHED and isinstance(value, _KINDS.get(key, object))
    } or {"status": "failed", "reason": "manifest.json can't be read."}
    digests = {name: digest_file(folder / name) for name in DOWNLOADS if (folder / name).is_file()}
    if told.get("status") == "complete" and (changed := run_digests.changed(folder, digests)):
        words = f"{', '.join(changed)} changed since the run ended; see {run_digests.FILE}."
        told |= {"status": "failed", "reason": words}
    conceal = Concealer(_data(told))
    headline = read_mapping(folder / "metrics.json").get("headline")
    headline = headline if isinstance(headline, dict) else {}
    return ReportedRun(
        folder=folder,
        manifest=conceal_all(told, conceal),
        conceal=conceal,
        has_manifest=bool(manifest),
        headline={
            label: value for label, value in headline.items() if report_text.is_number(value)
        },
        history=_read_history(folder / "history.csv"),
        digests=digests,
    )


def _data(manifest: dict[str, Any]) -> str:
    """The data folder that a run was given; empty where the manifest doesn't say."""
    data = manifest.get("parameters", {}).get("data")
    return data if isinstance(data, str) else ""


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing, damaged, or holds something else."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _read_history(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            names, *rows = csv.reader(stream)
    except (OSError, ValueError, csv.Error):
        return {}
    return dict(zip(names, zip_longest(*rows, fillvalue=""), strict=False)) if rows else {}
