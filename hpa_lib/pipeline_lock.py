"""Tell a pipeline that is at work from one that was killed.

Snakemake's locks are files. They stay behind when it is killed, and then it refuses to start. So a
pipeline also holds a lock of the operating system, which ends with its process: whoever finds
that nobody holds it knows that Snakemake's locks are left over.
"""

import contextlib
import fcntl
import shutil
import sys
from pathlib import Path

_held = []


def hold(folder: Path) -> None:
    """Hold the lock of a pipeline's working folder until this process ends.

    Several pipelines may hold it at a time, since Snakemake's own locks keep them apart. The
    first one removes what killed ones have left of these. A file system without locks changes
    nothing: then Snakemake's locks stay.

    Args:
        folder: The working folder, in which Snakemake keeps ``.snakemake``.
    """
    state = folder / ".snakemake"
    state.mkdir(exist_ok=True)
    stream = (state / "pipeline.lock").open("a")
    _held.append(stream)
    with contextlib.suppress(OSError):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(state / "locks", ignore_errors=True)
        fcntl.flock(stream, fcntl.LOCK_SH)


def hold_alone(folder: Path) -> None:
    """Hold the folder that a pipeline's steps are written to, until this process ends.

    A pipeline that was started in another working folder may write to the same one, and Snakemake
    removes what a step is about to write. So the second one waits until the first has ended, and
    then finds its steps done.

    Args:
        folder: The folder; it is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = (folder / ".lock").open("a")
    _held.append(stream)
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another pipeline writes to {folder}; waiting for it.", file=sys.stderr)
            fcntl.flock(stream, fcntl.LOCK_EX)
