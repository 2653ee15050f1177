"""The jobs of a sweep, as a scheduler starts them: prepare the data once, train one member.

A scheduler may start a job twice, kill it, or start it anew on another machine while the run still
says that it is running. So a job holds a lock on its member while it works, which the system
releases when it ends; the second job of a member waits, and then finds the work done. Whoever
holds the lock knows that a run of the member that says "running" isn't: it is marked as
interrupted, so that its training goes on after its last finished epoch. The file system must pass
locks on between machines, as NFS 4 and Lustre (mounted with ``flock``) do.
"""

import logging
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from hpa_lib import execution, files, gpu_pool, notebook, paths, runs, sweeps
from hpa_lib.errors import HpaError
from hpa_lib.sweeps import COMPLETE, Member, Sweep

log = logging.getLogger(__name__)

# An orphaned kernel ends within seconds of the process that started it.
_SECONDS_FOR_ORPHANS = 60.0


def prepare(sweep: Sweep, output: Path) -> dict[str, Any]:
    """Make once what all members share, and count what each takes.

    Synthetic images, near-duplicates and decoded caches are those of ``hpa data prepare``. What is
    there already is left alone.

    Args:
        sweep: The sweep.
        output: JSON file to write: the dataset's fingerprint and samples, and for each member
            the fields of `sweep_resources.Resources`.

    Returns:
        What is written.
    """
    from hpa_lib import cache, near_duplicates, sweep_resources  # TensorFlow takes seconds

    first = sweep.members[0].values
    dataset = notebook.open_dataset(first)
    near_duplicates.find(dataset)
    cached = [one.values for one in sweep.members if one.values.image_source == "cache"]
    for image in sorted({(one.image_size, one.composition, one.interpolation) for one in cached}):
        cache.open_cache(dataset, *image)
    counted: dict[str, dict[str, int]] = {}
    for member in sweep.members:
        if member.group not in counted:  # folds and seeds cost alike
            counted[member.group] = asdict(sweep_resources.count(member, len(dataset)))
    content = {
        "dataset": dataset.fingerprint,
        "samples": len(dataset),
        "members": {member.name: counted[member.group] for member in sweep.members},
    }
    files.write_json(output, content)
    return content


def train(sweep: Sweep, name: str, output: Path) -> str:
    """Train one member, unless a run of it is finished with the present code.

    Args:
        sweep: The sweep.
        name: Name of the member.
        output: Text file to write: the name of the run.

    Returns:
        The name of the run.

    Raises:
        HpaError: If the training fails, or its earlier process is alive on this machine.
    """
    member = sweep.member(name)
    fingerprint = notebook.open_dataset(member.values).fingerprint
    with _alone(member, fingerprint):
        run = _finished(sweep, member, fingerprint)
        if run is None:
            _take_over(sweep, member, fingerprint)
            with gpu_pool.one_gpu() if member.gpus else nullcontext(""):
                executed = output.with_suffix(".ipynb")
                given = sweep.overrides | member.given
                run = execution.execute(member.notebook, executed, sweep.preset, given).name
        else:
            log.info("%s is finished: %s", name, run)
        files.write_text(output, run + "\n")
    return run


def finished_run(output: Path) -> Path | None:
    """The run folder that `train` has written down; None if it is no longer there.

    Raises:
        OSError: If there is no such file.
    """
    folder = paths.runs_folder() / output.read_text(encoding="utf-8").strip()
    return folder if (folder / runs.MANIFEST).is_file() else None


def _alone(member: Member, fingerprint: str) -> FileLock:
    """The lock of a member; it lies with the runs, where the jobs of all machines find it."""
    folder = paths.runs_folder() / ".pipeline" / "members"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{files.digest_json([member.identity, fingerprint])[:16]}.lock")


def _standing(sweep: Sweep, member: Member, fingerprint: str) -> sweeps.Standing:
    standings = sweeps.look_up(sweep, fingerprint, any_code=False)
    return next(one for one in standings if one.member == member)


def _finished(sweep: Sweep, member: Member, fingerprint: str) -> str | None:
    found = _standing(sweep, member, fingerprint)
    return found.run if found.status == COMPLETE else None


def _take_over(sweep: Sweep, member: Member, fingerprint: str) -> None:
    """Mark the member's run that says "running" as interrupted.

    Its process may outlive the job that it belonged to for a moment, on this machine.
    """
    deadline = time.monotonic() + _SECONDS_FOR_ORPHANS
    while (found := _standing(sweep, member, fingerprint)).status == "running":
        folder = paths.runs_folder() / found.run
        manifest = files.read_json(folder / runs.MANIFEST)
        if manifest["host"] != files.host_digest():
            reason = "Its job ended without a word."
            files.write_json(
                folder / runs.MANIFEST, manifest | {"status": "interrupted", "reason": reason}
            )
        elif time.monotonic() > deadline:
            raise HpaError(
                f"Run {found.run} is being trained by process {manifest['process']}.",
                "Wait for it, or end it.",
            )
        else:
            time.sleep(1)
