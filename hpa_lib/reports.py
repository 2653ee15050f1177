"""Turn run folders into web pages that open from disk with the network off.

`publish` writes one page a run, the files to download beside it, ``index.html`` with all runs side
by side, and ``runs.json`` with the same facts for programs. A page is one file: style, script and
pictures are inside, and nothing is fetched from anywhere. The folder serves any web server as it
is; ``.nojekyll`` keeps GitHub Pages from leaving out names that begin with an underscore.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from hpa_lib import report_templates
from hpa_lib.errors import HpaError
from hpa_lib.files import digest_json, naming_full_disk
from hpa_lib.report_index import write_index
from hpa_lib.report_page import DOWNLOADS, render_page
from hpa_lib.report_runs import ReportedRun, read_mapping, read_run, read_runs

_PAGE_RECORD = ".page.json"
_PAGES_A_PROCESS = 60  # as many as take the time that a process needs to begin


def publish(runs_folder: Path, reports_folder: Path) -> list[Path]:
    """Write a page for each run, the index and ``runs.json``.

    A page is built again only when a file of its run, the template, the library or nbconvert
    changed, or a file of the page lacks or has another size; ``.page.json`` beside the page
    records both. Pages of runs that are gone are removed. Hidden folders and folders without
    ``manifest.json`` are no runs. What the manifest says of the computer is left out
    (`report_runs.UNPUBLISHED`).

    Args:
        runs_folder: Folder with one folder a run. It may be missing: the index is then empty.
        reports_folder: Folder to write to: ``index.html``, ``runs.json`` and ``<run>/index.html``.

    Returns:
        The run pages that were built or built again, in the order of their names.

    Raises:
        HpaError: If a run has the name of a file that lies in the reports folder, or of another
            run but for upper and lower case.
    """
    runs_folder, reports_folder = Path(runs_folder), Path(reports_folder)
    with _alone(runs_folder):
        runs = read_runs(runs_folder)
        names = {run.name for run in runs}
        _remove_stale_pages(reports_folder, names)
        needed = (_outdated(run, reports_folder, names) for run in runs)
        built = _build_all([page for page in needed if page])
        write_index(runs, reports_folder)
        (reports_folder / ".nojekyll").touch()
    return built


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from publishing a folder of runs.

    The folder itself is locked, which also does where it can't be written. Some network drives
    can't do that; there nothing is kept.
    """
    if not folder.is_dir():
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def render_notebook(notebook: Path, run_folder: Path | None) -> str:
    """Render an executed notebook as one HTML page without network references.

    Args:
        notebook: Notebook file. It need not exist if `run_folder` is given: the page then says
            that the run left none.
        run_folder: Folder of the run that produced it, with ``manifest.json``; the page then
            shows status, parameters, key metrics and provenance. None for the notebook alone.

    Returns:
        The page as HTML text.

    Raises:
        HpaError: If the notebook is missing or no notebook, or the folder has no manifest.
    """
    run = None
    if run_folder is not None:
        run = read_run(Path(run_folder))
        if run is None:
            raise HpaError(
                f"Run folder {run_folder} has no manifest.json.",
                "Name a folder that a run has written, such as one below runs/.",
            )
    return render_page(Path(notebook), run)


def _outdated(run: ReportedRun, reports_folder: Path, names: set[str]) -> "_Page | None":
    """The page that a run needs; None if it is up to date."""
    known_runs = {name for name in run.inputs if name in names}
    digest = digest_json(
        {
            "template": report_templates.digest(),
            "known_runs": sorted(known_runs),
            "name": run.name,
            "files": run.digests,
        }
    )
    folder = reports_folder / run.name
    record = read_mapping(folder / _PAGE_RECORD)
    if record.get("digest") == digest and record.get("sizes") == _sizes(folder):
        return None
    return _Page(run, folder, known_runs, [run.folder / name for name in run.digests], digest)


@dataclass(frozen=True)
class _Page:
    """A page to build.

    Attributes:
        run: Its run.
        folder: Where it goes.
        known_runs: Inputs of the run that have a page of their own.
        files: Files of the run to copy beside the page.
        digest: Identifies everything that shapes the page.
    """

    run: ReportedRun
    folder: Path
    known_runs: set[str]
    files: list[Path]
    digest: str

    def build(self) -> Path:
        """Write the page and its downloads; return the page's path.

        They are made in a hidden folder that replaces the page's as a whole. Files aren't forced
        to the disk one by one, which takes longer than all else: a page that a power cut has
        shortened is told by its sizes and made again.

        Raises:
            HpaError: If the disk is full.
        """
        with naming_full_disk(self.folder):
            return self._build()

    def _build(self) -> Path:
        making = self.folder.with_name(f".{self.run.name}")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        published = [path for path in self.files if _is_published(path, self.run)]
        downloads = [_copied(path, self.run, making) for path in published]
        notebook = making / "notebook.ipynb"
        page = render_page(notebook, self.run, self.known_runs, downloads, concealed=True)
        (making / "index.html").write_text(page, encoding="utf-8")
        _write_json(making / _PAGE_RECORD, {"digest": self.digest, "sizes": _sizes(making)})
        shutil.rmtree(self.folder, ignore_errors=True)
        making.rename(self.folder)
        return self.folder / "index.html"


def _build_all(pages: list[_Page]) -> list[Path]:
    """Build pages, many of them on all cores."""
    workers = min(joblib.cpu_count(), len(pages) // _PAGES_A_PROCESS)
    if workers < 2:
        return [page.build() for page in pages]
    return joblib.Parallel(workers)(joblib.delayed(page.build)() for page in pages)


def _is_published(path: Path, run: ReportedRun) -> bool:
    return path.name != "manifest.json" or run.has_manifest


def _copied(path: Path, run: ReportedRun, folder: Path) -> Path:
    """Copy a file of the run for download, without what isn't published; see `report_privacy`."""
    copy = folder / path.name
    if path.name == "manifest.json":
        _write_json(copy, run.manifest)
    elif path.suffix != ".csv":
        text = path.read_text(encoding="utf-8", errors="replace")
        copy.write_text(run.conceal(text), encoding="utf-8")
    else:
        shutil.copyfile(path, copy)
    return copy


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of each published file of a page; empty if there is no page."""
    names = ("index.html", *DOWNLOADS)
    return {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}


def _remove_stale_pages(reports_folder: Path, names: set[str]) -> None:
    """Remove page folders that `publish` wrote and whose run is gone."""
    for record in reports_folder.glob(f"*/{_PAGE_RECORD}"):
        if record.parent.name not in names:
            shutil.rmtree(record.parent)
