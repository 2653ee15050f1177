"""One GPU for each of several processes on a machine.

A process takes the lock of a GPU that it may see, and waits while others hold them all. The locks
lie with the runs, where all jobs of a machine find them whatever their scratch folders are, and
are named after host and GPU. The system releases the lock of a process that ends, however it ends.
A scheduler that gives each job devices of its own leaves one to choose from.
"""

import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from hpa_lib import files, paths

log = logging.getLogger(__name__)

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable that names the devices that a process sees."""

_SECONDS_BETWEEN_TRIES = 5.0


def visible() -> list[str]:
    """Identities of the GPUs that this process may use, as `VARIABLE` takes them.

    Empty without NVIDIA's driver. A number in `VARIABLE` counts the GPUs that the driver lists.
    """
    allowed = os.environ.get(VARIABLE)
    named = None if allowed is None else [one.strip() for one in allowed.split(",") if one.strip()]
    if named is not None and all(not one.isdigit() for one in named):
        return named
    listed = _listed()
    if named is None:
        return listed
    return [
        listed[int(one)] if one.isdigit() else one
        for one in named
        if not one.isdigit() or int(one) < len(listed)
    ]


@contextmanager
def one_gpu() -> Iterator[str]:
    """Reserve a GPU for a block, and let this process and its children see it alone.

    Yields:
        The GPU's identity; empty where there is none, and nothing is changed.
    """
    candidates = visible()
    if not candidates:
        yield ""
        return
    gpu, lock = _first_free(candidates)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = gpu
    try:
        yield gpu
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        lock.release()


def _first_free(candidates: list[str]) -> tuple[str, FileLock]:
    folder = paths.runs_folder() / ".pipeline" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        for gpu in candidates:
            name = re.sub(r"[^A-Za-z0-9.]+", "-", gpu)
            lock = FileLock(folder / f"{files.host_digest()}-{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return gpu, lock
        if not waited:
            log.info("All %d GPUs are in use; waiting for one.", len(candidates))
            waited = True
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _listed() -> list[str]:
    """UUIDs of the GPUs that NVIDIA's driver lists, in its order."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    finished = subprocess.run(query, capture_output=True, text=True, check=False)
    if finished.returncode:
        return []
    return [line.strip() for line in finished.stdout.splitlines() if line.strip()]
