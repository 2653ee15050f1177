"""Claim: a pipeline killed again and again ends with the results of one that was left alone.

A clone of the present commit runs the pipeline once undisturbed. Then, in several rounds, it begins
from nothing, is killed at one moment after the other with all its processes, and started again by
the same command, until in the end it may finish. After each kill everything that looks finished
must be what the undisturbed run has left: datasets, caches, complete runs, published pages. At the
end of a round all results must be there and the same, with no process and no file left over.

Moments are random, half of them spread over the whole time, and the others over the stages, so
that short ones get some too. With SIGTERM or SIGINT, as Ctrl+C sends it, the pipeline must end by
itself within a minute, fail, and say how to go on.

    python benchmarks/kill_pipeline.py [--kills 25] [--rounds 5] [--signal KILL]
"""

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from same_numbers import contents

from hpa_lib import files, paths, runs

COMMAND = (
    "make",
    "run",
    "PRESET=smoke",
    "CORES=2",
    "CONFIG=synthetic_samples=40 synthetic_size=64",
)
COMMANDS = {"hpa data embedded": "data", "hpa execute": "notebook", "hpa publish": "publishing"}
STAGES = ("data", "caching", "1_explore", "training", "evaluation", "4_compare", "publishing")
GOES_ON = "the same command goes on"
SECONDS_TO_END = 60
MARK = "KILLED_PIPELINE"
RUN_NAME = re.compile(r"smoke-(\w+)-[0-9a-f]{8}(-\d+)?\b")

Found = dict[str, set[str]]


class Pipeline:
    """The pipeline in a clone.

    Args:
        folder: The clone, with its environment.
        output: Where the pipeline's messages go.
    """

    def __init__(self, folder: Path, output: Path) -> None:
        mark = uuid.uuid4().hex
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HPA_", "MAKE")) and name != "VIRTUAL_ENV"
        }
        self.folder, self._mark = folder, mark
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                COMMAND, cwd=folder, env=inherited | {MARK: mark}, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream, start_new_session=True,
                # Programs in a shell's background ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """All processes that it has started and that are there, the eldest first."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
            except psutil.Error:  # it ended meanwhile
                continue
        return sorted(found, key=lambda one: one.create_time())

    def stages(self) -> set[str]:
        """What is under way."""
        found = set()
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue
            for text, stage in COMMANDS.items():
                if text in command and "/bin/bash" not in command:
                    found.add(self._part(command) if stage == "notebook" else stage)
        if any(self.folder.glob("data/cache/*.unfinished")):
            found.add("caching")
        return found

    def _part(self, command: str) -> str:
        notebook = command.partition("hpa execute ")[2].split()[0]
        if "train" not in notebook:
            return notebook
        [*folders] = self.folder.glob(f"runs/*{notebook}-*")
        trained = any((folder / "history.csv").is_file() for folder in folders)
        return "evaluation" if trained else "training"

    def kill(self) -> None:
        """End all processes at once."""
        while found := self.processes():
            for process in found:
                process.kill()
            self.process.poll()
        self.process.wait()


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a stage has begun, even if it ends before."""

    when: float
    stage: str
    offset: float


def undisturbed(folder: Path, output: Path) -> list[tuple[float, set[str]]]:
    """Run the pipeline to its end; what was under way at which second."""
    pipeline, started = Pipeline(folder, output), time.monotonic()
    seen = []
    while pipeline.process.poll() is None:
        seen.append((time.monotonic() - started, pipeline.stages()))
        time.sleep(0.2)
    require(pipeline, output)
    return seen


def require(pipeline: Pipeline, output: Path) -> None:
    """Refuse a pipeline that failed."""
    if pipeline.process.wait():
        raise SystemExit(f"The pipeline failed:\n{output.read_text(errors='replace')[-4000:]}")


def moments(
    seen: list[tuple[float, set[str]]], number: int, generator: np.random.Generator
) -> list[Moment]:
    """Random moments, half of them spread over all the time and the others over the stages."""
    spans: dict[str, list[float]] = defaultdict(list)
    for when, stages in seen:
        for stage in stages or {"start"}:
            spans[stage].append(when)
    times = generator.uniform(0, seen[-1][0], number - number // 2)
    drawn = [min(seen, key=lambda one, at=at: abs(one[0] - at)) for at in times]
    chosen = [(when, min(stages or {"start"})) for when, stages in drawn]
    stages = [stage for stage in STAGES if stage in spans]
    for index in range(number // 2):
        stage = stages[index % len(stages)]
        chosen.append((float(generator.choice(spans[stage])), stage))
    return [
        Moment(when, stage, sum(at < when for at in spans[stage]) * seen[-1][0] / len(seen))
        for when, stage in sorted(chosen)
    ]


def wait_for(pipeline: Pipeline, moment: Moment) -> set[str] | None:
    """Wait for a moment; what is then under way, None if the pipeline ended before."""
    begun = None
    while pipeline.process.poll() is None:
        stages = pipeline.stages()
        now = time.monotonic()
        if moment.stage in (stages or {"start"}):
            begun = begun or now
        if begun and now - begun >= moment.offset:
            return stages
        time.sleep(0.05)
    return None


def portable(text: str) -> str:
    """A text with notebooks' names for those of their runs: a repeated run has another name."""
    return RUN_NAME.sub(r"\1", text)


def finished(folder: Path) -> Found:
    """What looks finished in a clone: digests, or texts, by name."""
    found: Found = defaultdict(set)
    complete = [
        path
        for path, manifest in runs.readable(folder / "runs")
        if manifest["status"] == "complete"
    ]
    for name, value in contents(folder).items():
        path = folder / "runs" / name
        if path.parent in complete:
            found[f"runs/{portable(name)}"].add(portable(_result(path, value)))
    for name in ("*.npy", "*.bin"):
        for path in folder.glob(f"data/cache/*/{name}"):
            if path.parent.suffix != ".unfinished":
                found[f"cache/{path.parent.name}/{path.name}"].add(files.digest_file(path))
    for table in folder.glob("data/synthetic-*/train.csv"):
        images = sorted(table.parent.glob("train/*.png"))
        digests = [files.digest_file(path) for path in (table, *images)]
        found[f"data/{table.parent.name}"].add(files.digest_json(digests))
    for path in complete:
        page = folder / "reports" / path.name
        if _page_status(page) == "complete":
            found[f"reports/{portable(path.name)}"].add(_page(page))
    return found


def _result(path: Path, value: str) -> str:
    """What two runs must have in common; the training's log says where it was taken up."""
    if path.suffix in (".json", ".yaml"):
        return path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return value
    cells = json.loads(value)
    kept = [
        [source, [one for one in told if one["output_type"] != "stream"]] for source, told in cells
    ]
    return json.dumps(kept)


def _page_status(page: Path) -> str | None:
    try:
        return files.read_json(page / "manifest.json")["status"]
    except (OSError, ValueError):
        return None


def _page(page: Path) -> str:
    """Whether the files of a page have the sizes that it has written down."""
    sizes = files.read_json(page / ".page.json")["sizes"]
    whole = all((page / name).stat().st_size == size for name, size in sizes.items())
    ended = (page / "index.html").read_text("utf-8").rstrip().endswith("</html>")
    return f"{sorted(sizes)} whole: {whole and ended}"


def names(folder: Path) -> set[str]:
    """All files of a clone's data, runs and reports."""
    return {
        portable(str(path.relative_to(folder)))
        for part in ("data", "runs", "reports")
        for path in (folder / part).rglob("*")
    }


def differing(found: Found, wanted: Found) -> list[str]:
    """Names of what isn't as it should be."""
    return [name for name, values in found.items() if values != wanted.get(name)]


def clear(folder: Path) -> None:
    """Bring a clone back to nothing but its environment."""
    command = ["git", "clean", "-ffdxq", "--exclude=.venv", "--exclude=*.egg-info", "."]
    subprocess.run(command, cwd=folder, check=True)


def states(folder: Path) -> str:
    """The runs and their statuses."""
    return ", ".join(
        f"{manifest['notebook']} {manifest['status']}"
        for _, manifest in runs.readable(folder / "runs")
    )


def end(pipeline: Pipeline, given: str) -> tuple[float, int]:
    """Send the signal; seconds until the pipeline has ended, and its exit status."""
    started = time.monotonic()
    if given == "KILL":
        pipeline.kill()
    else:
        os.killpg(pipeline.process.pid, signal.Signals[f"SIG{given}"])
        try:
            pipeline.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            pipeline.kill()
    return time.monotonic() - started, pipeline.process.returncode


def disturb(
    folder: Path, output: Path, moment: Moment, given: str, wanted: Found
) -> dict[str, object] | None:
    """Start the pipeline and end it at a moment; what was found, None if it had ended before."""
    pipeline, started = Pipeline(folder, output), time.monotonic()
    stages = wait_for(pipeline, moment)
    if stages is None:
        require(pipeline, output)
        return None
    after = time.monotonic() - started
    seconds, status = end(pipeline, given)
    time.sleep(2)  # a kernel looks for its parent every second
    left = pipeline.processes()
    pipeline.kill()
    damaged = differing(finished(folder), wanted)
    row = {
        "aim": f"{moment.stage} + {moment.offset:.0f} s",
        "seconds": round(after, 1),
        "under way": " + ".join(sorted(stages)) or "start",
        "runs": states(folder) or "none",
        "processes left": len(left),
        "false": ", ".join(damaged) or "none",
    }
    if given != "KILL":
        told = GOES_ON in output.read_text(errors="replace")
        row |= {"ended after": round(seconds, 1), "exit status": status, "says how to go on": told}
    return row


def main() -> None:
    """Measure the undisturbed pipeline, then disturb it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clone", type=Path, help="a clone with its environment; it is emptied")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, output = given.clone, Path(temporary) / "output.txt"
        if folder is None:
            folder = Path(temporary) / "clone"
            clone = ["git", "clone", "--quiet", str(paths.PROJECT_ROOT), str(folder)]
            subprocess.run(clone, check=True)
            subprocess.run(["make", ".venv/.installed"], cwd=folder, check=True)
        measure(folder, output, given)


def measure(folder: Path, output: Path, given: argparse.Namespace) -> None:
    """Print a line for each kill, and what the rounds have ended with."""
    clear(folder)
    seen = undisturbed(folder, output)
    wanted, whole = finished(folder), names(folder)
    print(f"undisturbed: {seen[-1][0]:.0f} s, {len(wanted)} results", flush=True)
    planned = moments(seen, given.kills, np.random.default_rng(given.seed))
    rows, equal = [], []
    for number in range(given.rounds):
        clear(folder)
        for moment in planned[number :: given.rounds]:
            row = disturb(folder, output, moment, given.signal, wanted)
            if row:
                rows.append({"round": number + 1} | row)
                print(rows[-1], flush=True)
        last = Pipeline(folder, output)
        require(last, output)
        found = finished(folder)
        wrong = differing(wanted | found, found) + differing(found, wanted)
        wrong += sorted(names(folder) - whole) + [str(one) for one in last.processes()]
        equal.append(not wrong)
        print(f"round {number + 1} ended, not as undisturbed: {wrong or 'nothing'}", flush=True)
    table = pd.DataFrame(rows)
    table.index += 1
    print(table.to_string())
    sound = table["false"].eq("none") & table["processes left"].eq(0)
    print(
        f"{len(table)} times SIG{given.signal}: after {sound.sum()} nothing looked finished that "
        f"was not, and no process was left (all); {sum(equal)} of {len(equal)} rounds ended with "
        "the undisturbed results and nothing else (all)"
    )


if __name__ == "__main__":
    main()
