"""Claim: both locks fit Python 3.11, 3.12 and 3.13, and the smoke run gives the same numbers.

For each interpreter that is found, a clone of the present commit sets itself up from
requirements.lock, hashes checked, and runs the four notebooks, each by that interpreter. The
results are compared with those of the first interpreter as `same_numbers.py` compares them.

With uv on the path, requirements-gpu.lock is resolved for each version on Linux, too: each
package must be there in the locked version, with the files that the lock knows by their digest.
Nothing of it is installed.

    python benchmarks/python_versions.py [python3.11 python3.12 python3.13]
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
from same_numbers import contents

from hpa_lib import files, paths

PYTHONS = ("python3.11", "python3.12", "python3.13")
GPU_LOCK = paths.PROJECT_ROOT / "requirements-gpu.lock"


def find(python: str) -> tuple[str, str] | None:
    """Version and path of an interpreter; None where it doesn't run."""
    code = "import platform, sys; print(platform.python_version(), sys.executable)"
    try:
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    version, path = answer.stdout.strip().split(" ", 1)
    return version, path


def make(clone: Path, *arguments: str) -> float | None:
    """Seconds that a target of the Makefile takes in a clone; None, and its last words, if not."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HPA_", "MAKE")) and name not in ("VIRTUAL_ENV", "PYTHONPATH")
    }
    started = time.monotonic()
    ended = subprocess.run(
        ["make", *arguments], cwd=clone, env=inherited, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        print(*(ended.stdout + ended.stderr).splitlines()[-20:], sep="\n")
        return None
    return time.monotonic() - started


def git_clone(source: Path, clone: Path) -> None:
    """Clone the present commit of a checkout."""
    subprocess.run(["git", "clone", "--quiet", str(source), str(clone)], check=True)


def complete_runs(clone: Path, version: str) -> str:
    """How many of the notebooks are complete, run by a Python version."""
    found = [files.read_json(path) for path in clone.glob("runs/*/manifest.json")]
    count = sum(one["status"] == "complete" and one["python"] == version for one in found)
    return f"{count} of {len(paths.PIPELINE_NOTEBOOKS)}"


def measure(python: str, version: str, clone: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What the table tells of an interpreter, and the results of the smoke run by their names."""
    installed = make(clone, f"PYTHON={python}", ".venv/.installed")
    ran = installed and make(clone, f"PYTHON={python}", "PRESET=smoke", "run")
    row = {
        "python": version,
        "install s": f"{installed:.0f}" if installed else "fails",
        "smoke run s": f"{ran:.0f}" if ran else "fails",
        "complete runs": complete_runs(clone, version),
        "GPU lock": resolved_for_gpus(version),
    }
    return row, contents(clone)


def digests(lock: str) -> dict[str, set[str]]:
    """What a lock pins, and the digests of its files."""
    blocks = re.split(r"^(?=[A-Za-z])", lock, flags=re.MULTILINE)[1:]
    return {block.split()[0]: set(re.findall(r"sha256:(\w+)", block)) for block in blocks}


def resolved_for_gpus(version: str) -> str:
    """How many packages of the GPU lock a Python version needs, and how many are as locked."""
    uv = shutil.which("uv")
    if uv is None:
        return "no uv"
    answer = subprocess.run(
        [
            uv, "pip", "compile", str(GPU_LOCK), "--quiet", "--generate-hashes",
            "--no-header", "--no-annotate", "--no-emit-index-url",
            "--python-version", version, "--python-platform", "x86_64-manylinux_2_28",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode:
        print(*answer.stderr.splitlines()[-20:], sep="\n")
        return "fails"
    locked, found = digests(GPU_LOCK.read_text("utf-8")), digests(answer.stdout)
    same = sum(bool(locked.get(pin)) and locked[pin] <= found[pin] for pin in found)
    return f"{same} of {len(found)} as locked"


def main() -> None:
    """Measure with each interpreter, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="*", default=PYTHONS, metavar="PYTHON")
    rows, first = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        git_clone(paths.PROJECT_ROOT, folder / "source")  # commits may follow meanwhile
        for python in parser.parse_args().pythons:
            found = find(python)
            if found is None:
                rows.append({"python": f"{python} isn't there"})
                continue
            version, path = found
            git_clone(folder / "source", folder / "clone")
            row, results = measure(path, version, folder / "clone")
            shutil.rmtree(folder / "clone")
            expected = first or results
            names = sorted({*expected, *results})
            differ = [name for name in names if expected.get(name) != results.get(name)]
            same = f"{len(names) - len(differ)} of {len(names)}"
            row["same as the first"] = same if first else ""
            first = expected
            rows.append(row)
            print(row, *(f"another {name}" for name in differ), sep="\n", flush=True)
    print(pd.DataFrame(rows).to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
