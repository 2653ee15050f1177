"""Claim: two clones in different folders, with other numbers of processes, give the same results.

Each clone of the present commit sets itself up and runs the pipeline, the first with one process
and the second with two. Metrics, predictions, histories, splits and weights of all runs must be
the same bytes, and the executed notebooks with the data of their figures must be the same but for
times, durations, paths, and the notice that another process decodes the same images.

    python benchmarks/same_numbers.py [--preset smoke]
"""

import argparse
import difflib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

from hpa_lib import files, paths

PROCESSES = (1, 2)

SAME_BYTES = (".json", ".csv", ".h5", ".yaml")
"""Endings of files that must be the same bytes; the manifest, which holds times, aside."""

VARIES = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:\+00:00|Z)?"  # a moment
    r"|\b\d+(?:\.\d+)? (?:s|ms|min|h)\b(?: \d+ s\b)?"  # a duration
    r"|\b\d+:\d\d(?::\d\d)?\b"  # a time left
)
NOTICE = "Another process decodes the same images"


def run(folder: Path, preset: str, processes: int) -> None:
    """Clone the project into a folder, and run its pipeline there."""
    subprocess.run(["git", "clone", "--quiet", str(paths.PROJECT_ROOT), str(folder)], check=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HPA_", "MAKE")) and name != "VIRTUAL_ENV"
    }
    subprocess.run(
        ["make", "run", f"PRESET={preset}", f"CORES={processes}"],
        cwd=folder, env=inherited, check=True, capture_output=True,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Each result of a clone's runs, without what may vary: its digest, or a notebook's text."""
    found = {}
    for path in sorted(folder.glob("runs/*/*")):
        name = f"{path.parent.name}/{path.name}"
        if path.name == "notebook.ipynb":
            found[name] = _lasting(json.loads(path.read_text("utf-8")), folder)
        elif path.suffix in SAME_BYTES and path.name != "manifest.json":
            found[name] = files.digest_file(path)
    return found


def _lasting(notebook: dict, folder: Path) -> str:
    """Sources and outputs of a notebook, without moments, durations, paths and their metadata."""

    def text(value: object) -> object:
        if isinstance(value, str):
            return VARIES.sub("…", value.replace(str(folder), "…"))
        if isinstance(value, list):
            return [text(entry) for entry in value]
        if isinstance(value, dict):
            return {name: text(entry) for name, entry in value.items()}
        return value

    def lasting(cell: dict) -> list:
        outputs = cell.get("outputs", ())
        told = [each for each in outputs if NOTICE not in "".join(each.get("text", ()))]
        return [cell["source"], told]

    kept = [text(lasting(cell)) for cell in notebook["cells"]]
    return json.dumps(kept, indent=0, ensure_ascii=False)


def main() -> None:
    """Run twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="smoke")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clones = [Path(temporary) / name for name in ("one", "a-longer-name-for-the-other")]
        for clone, processes in zip(clones, PROCESSES, strict=True):
            run(clone, given.preset, processes)
        first, second = map(contents, clones)
    rows = [(name, first.get(name) == second.get(name)) for name in sorted({*first, *second})]
    table = pd.DataFrame(rows, columns=["result", "the same"])
    print(table.to_string(index=False))
    for name in table.loc[~table["the same"], "result"]:
        both = (one.get(name, "").splitlines() for one in (first, second))
        print(name, *difflib.unified_diff(*both, lineterm="", n=0), sep="\n")
    print(f"{table['the same'].sum()} of {len(table)} results are the same (all)")


if __name__ == "__main__":
    main()
