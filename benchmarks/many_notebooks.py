"""Claim: 20 notebooks one after another in one pipeline all end, and leave nothing behind.

A sweep of ten seeds on two folds, each member a training notebook with a kernel of its own,
followed by the notebook that puts them together and by the pages. What is wanted: all are complete
and in the index, the driver's memory grows by less than 10 MB between the second member and the
last, and no process, temporary file or kernel's connection file is left.

    python benchmarks/many_notebooks.py [--members 20]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

from hpa_lib import files, parameters, paths

FOLDS = 2
SMALLEST = {
    "head": "average",
    "steps_per_epoch": 1,
    "reestimation_batches": 0,
    "all_views": False,
    "replicates": 100,
}
"""Parameters that make a training short; it is to learn nothing."""

MOST_GROWTH = 10.0
"""Megabytes by which the driver may grow."""

SECONDS_TO_END = 10.0
"""Time for processes to end after the pipeline."""


def environment(folder: Path) -> dict[str, str]:
    """Own folders for all that is written, whoever writes it, and this environment's programs."""
    own = {f"HPA_{name.upper()}": str(folder / name) for name in ("data", "runs", "reports")}
    own |= {"TMPDIR": str(folder / "temporary"), "JUPYTER_RUNTIME_DIR": str(folder / "kernels")}
    for name in ("temporary", "kernels"):
        (folder / name).mkdir()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | own | {"PATH": programs}


def start(folder: Path, env: dict[str, str], members: int) -> psutil.Popen:
    """The pipeline of a sweep of so many members, one job at a time."""
    sweep = folder / "many.yaml"
    grid = {"seed": list(range(members // FOLDS)), "backbone": ["VGG16"]}
    parameters.write_yaml(sweep, {"preset": "smoke", "folds": FOLDS, "grid": grid})
    given = {"sweep": sweep} | SMALLEST
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(paths.PROJECT_ROOT / "sweep.smk"),
        "--cores", "1", "--directory", str(folder), "--quiet", "all",
        "--config", *(f"{name}={value}" for name, value in given.items()),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        return psutil.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)


def watch(driver: psutil.Popen, folder: Path) -> pd.DataFrame:
    """What the driver holds when another member has ended, a row a member."""
    rows, seen, started = [], 0, time.monotonic()
    while driver.poll() is None:
        ended = len(list(folder.glob("runs/.pipeline/*/*.run")))
        if ended > seen:
            seen = ended
            try:
                with driver.oneshot():
                    rows.append(
                        {
                            "members": ended,
                            "seconds": time.monotonic() - started,
                            "driver MB": driver.memory_info().rss / 1e6,
                            "open files": driver.num_fds(),
                            "threads": driver.num_threads(),
                            "processes": 1 + len(driver.children(recursive=True)),
                        }
                    )
            except psutil.NoSuchProcess:
                break
        time.sleep(0.2)
    return pd.DataFrame(rows)


def left_processes(env: dict[str, str]) -> list[str]:
    """Processes that still have the pipeline's folders in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HPA_RUNS") == env["HPA_RUNS"]:
                found.append(process.name())
        except psutil.Error:
            continue
    return found


def left_files(folder: Path) -> list[str]:
    """Temporary files and kernels' connection files, and those of half-written results."""
    own = [*(folder / "temporary").rglob("*"), *(folder / "kernels").rglob("*")]
    drafts = [path for path in (folder / "runs").glob("[!.]*/.*") if path.is_file()]
    drafts += (folder / "runs").glob(".pipeline/**/.*.unfinished.ipynb")
    return [str(path.relative_to(folder)) for path in own + drafts]


def main() -> None:
    """Run the pipeline, and print what was seen meanwhile and afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=20, help="an even number (%(default)s)")
    members = parser.parse_args().members
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env = environment(folder)
        driver = start(folder, env, members)
        table = watch(driver, folder)
        deadline = time.monotonic() + SECONDS_TO_END
        while (processes := left_processes(env)) and time.monotonic() < deadline:
            time.sleep(0.5)
        manifests = [files.read_json(path) for path in folder.glob("runs/*/manifest.json")]
        complete = [one["run"] for one in manifests if one["status"] == "complete"]
        index = folder / "reports" / "index.html"
        text = index.read_text("utf-8") if index.is_file() else ""
        listed = sum(f"{run}/index.html" in text for run in complete)
        if driver.returncode:
            print(*(folder / "log").read_text("utf-8").splitlines()[-30:], sep="\n")
        print(table.to_string(index=False, float_format="{:.1f}".format))
        print(f"exit status of the pipeline: {driver.returncode} (0)")
        print(f"complete runs: {len(complete)} of {members + 1}, in the index: {listed} (all)")
        grown = table["driver MB"].iloc[-1] - table["driver MB"].iloc[1] if len(table) > 1 else 0
        print(f"driver's memory since the second member: {grown:+.1f} MB (≤ {MOST_GROWTH:.0f})")
        print(f"processes left: {len(processes)} (0)", *processes)
        left = left_files(folder)
        print(f"temporary files left: {len(left)} (0)", *left)


if __name__ == "__main__":
    main()
