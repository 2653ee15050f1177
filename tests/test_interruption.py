"""Processes are killed while notebooks run: what is left tells the truth, and the same goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hpa_lib import execution, files, parameters, paths, processes, runs, synthetic

NOTEBOOK = "3_train_vgg"
SMALL = ("-p", "synthetic_samples", "40", "-p", "synthetic_size", "64")
RESULTS = ("metrics.json", "predictions.csv", "history.csv", "split.csv", runs.BEST_WEIGHTS)
SECONDS_TO_BEGIN = 600


class Execution:
    """`hpa execute` of a small training, with runs of its own and the data of all."""

    def __init__(self, folder, data):
        self.folder, self.output = folder, folder / "executed.ipynb"
        command = [
            sys.executable, "-m", "hpa_lib.cli", "execute", NOTEBOOK, "--output", str(self.output),
            "--preset", str(paths.PRESETS / "smoke.yaml"), *SMALL,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"HPA_DATA": str(data), "HPA_RUNS": str(folder / "runs")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Where the tests run in a shell's background, they ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    @property
    def run(self):
        [folder] = (self.folder / "runs").glob(f"smoke-{NOTEBOOK}-*")
        return folder

    def wait_for_an_epoch(self):
        """Wait until the first epoch is done and the second begins; the kernel's process."""
        deadline = time.monotonic() + SECONDS_TO_BEGIN
        while not any((self.folder / "runs").glob(f"*/{runs.STATE}")):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return files.read_json(self.run / runs.MANIFEST)["process"]

    def end(self):
        """Exit status and messages."""
        _, messages = self.process.communicate(timeout=SECONDS_TO_BEGIN)
        return self.process.returncode, messages


def gone(process, seconds):
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while processes.is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes.is_alive(process)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data):
    """The run folder of a training that was left alone."""
    alone = Execution(tmp_path_factory.mktemp("undisturbed"), data)
    status, messages = alone.end()
    assert status == 0, messages
    return alone.run


def goes_on_to(undisturbed, killed, data):
    """Start the same again: it takes up the run, and ends with the undisturbed results."""
    again = Execution(killed.folder, data)
    status, messages = again.end()
    assert status == 0, messages
    assert again.run.name == undisturbed.name
    manifest = runs.read_manifest(again.run)
    assert manifest["status"] == "complete"
    assert [one["status"] for one in manifest["earlier_attempts"]] == ["interrupted"]
    for name in RESULTS:
        assert (again.run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    left = {path.name for path in again.run.iterdir()}
    assert left == {path.name for path in undisturbed.iterdir()}


@pytest.mark.pipeline
def test_a_killed_kernel_fails_its_notebook_and_the_training_goes_on(undisturbed, data, tmp_path):
    killed = Execution(tmp_path, data)
    os.kill(killed.wait_for_an_epoch(), signal.SIGKILL)
    status, messages = killed.end()
    assert status == 2
    assert f"hpa: The kernel of notebook {NOTEBOOK} died" in messages
    assert "start the same again" in messages
    manifest = files.read_json(killed.run / runs.MANIFEST)
    assert (manifest["status"], manifest["reason"]) == (
        "interrupted", "The process ended before the notebook."
    )  # fmt: skip
    assert not killed.output.exists()
    goes_on_to(undisturbed, killed, data)


@pytest.mark.pipeline
def test_a_kernel_whose_papermill_is_killed_ends_by_itself(undisturbed, data, tmp_path):
    killed = Execution(tmp_path, data)
    kernel = killed.wait_for_an_epoch()
    killed.process.kill()
    assert killed.end()[0] == -signal.SIGKILL
    assert gone(kernel, 15)
    assert runs.read_manifest(killed.run)["status"] == "interrupted"
    assert not (killed.run / runs.METRICS).exists()
    assert not killed.output.exists()
    goes_on_to(undisturbed, killed, data)


@pytest.mark.pipeline
def test_what_was_killed_after_the_end_of_its_notebook_is_not_executed_again(
    undisturbed, data, monkeypatch
):
    folder = undisturbed.parent.parent
    draft = folder / ".executed.unfinished.ipynb"
    (folder / "executed.ipynb").rename(draft)
    before = {path.name: files.digest_file(path) for path in undisturbed.iterdir()}
    monkeypatch.setenv("HPA_DATA", str(data))
    monkeypatch.setenv("HPA_RUNS", str(folder / "runs"))

    def has_ended(**changed):
        preset = parameters.read_preset(paths.PRESETS / "smoke.yaml")
        small = {"synthetic_samples": 40, "synthetic_size": 64}
        values = parameters.validate(NOTEBOOK, preset | small | changed)
        return execution._has_ended(NOTEBOOK, values, draft)

    assert has_ended()
    assert not has_ended(seed=9)
    whole = draft.read_text()
    draft.write_text(whole.replace('"status": "completed"', '"status": "pending"'))
    assert not has_ended()
    draft.write_text(whole[: len(whole) // 2])
    assert not has_ended()
    draft.write_text(whole)
    again = Execution(folder, data)
    status, messages = again.end()
    assert status == 0, messages
    assert again.run == undisturbed
    assert {path.name: files.digest_file(path) for path in undisturbed.iterdir()} == before
    assert again.output.read_text() == whole
    assert not draft.exists()


@pytest.mark.pipeline
@pytest.mark.parametrize("given", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_papermill_and_kernel_and_says_how_to_go_on(data, tmp_path, given):
    killed = Execution(tmp_path, data)
    kernel = killed.wait_for_an_epoch()
    killed.process.send_signal(given)
    started = time.monotonic()
    status, messages = killed.end()
    assert status == 130
    assert messages.rstrip().splitlines()[-1].startswith("hpa: interrupted; the same command goes")
    assert time.monotonic() - started < 60
    assert gone(kernel, 1)
    assert files.read_json(killed.run / runs.MANIFEST)["status"] == "interrupted"
    assert (killed.run / runs.STATE).is_file()
    assert not killed.output.exists()


# --- What killed processes leave behind


def test_a_training_whose_end_was_cut_short_keeps_its_state_until_it_is_complete(monkeypatch):
    values = parameters.validate(NOTEBOOK, {"preset": "smoke"})
    run = runs.Run(NOTEBOOK, values, "Title", {"fingerprint": "f" * 64})
    (run.folder / runs.STATE).touch()
    run.write_metrics({})

    def killed(_):
        raise SystemExit

    with monkeypatch.context() as cut, pytest.raises(SystemExit):
        cut.setattr(runs.Run, "_write_manifest", killed)
        run.finish()
    assert (run.folder / runs.STATE).exists()
    run.finish()
    (run.folder / runs.STATE).touch()  # as if killed before it was removed
    assert runs.read_manifest(run.folder)["status"] == "complete"
    runs.settle(paths.runs_folder())
    assert not (run.folder / runs.STATE).exists()


def holding(folder):
    """A process that holds the lock of a pipeline's folder until its input ends."""
    code = (
        "from pathlib import Path\nfrom hpa_lib import pipeline_lock\n"
        "pipeline_lock.hold(Path())\nprint('held', flush=True)\ninput()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_locks_of_snakemake_are_removed_once_no_pipeline_is_at_work(tmp_path):
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    with holding(tmp_path) as first:
        lock.parent.mkdir()
        lock.touch()
        with holding(tmp_path) as second:
            assert lock.exists()
            second.kill()
        first.kill()
    with holding(tmp_path) as third:
        assert not lock.exists()
        third.kill()


def leave_behind(path, text="half"):
    """A temporary file of `files.replacing` whose process was killed."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom hpa_lib import files\n"
        "with files.replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text(sys.argv[2])\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path), text], check=False)
    [left] = path.parent.glob(f".*-{path.name}")
    return left


def test_leftovers_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    left = leave_behind(tmp_path / "metrics-1.json")
    with files.replacing(tmp_path / "metrics-1.json") as temporary:
        files.remove_leftovers(tmp_path, tmp_path / "missing")
        assert (left.exists(), temporary.exists()) == (False, True)


def test_publishing_removes_leftovers(tmp_path):
    folder = paths.runs_folder() / "run"
    left = [
        leave_behind(parent / "file.json")
        for parent in (paths.reports_folder(), folder, paths.data_folder() / "cache")
    ]
    subprocess.run([sys.executable, "-m", "hpa_lib.cli", "publish"], check=True)
    assert not any(path.exists() for path in left)


def test_processes_that_draw_images_end_when_the_one_that_waits_for_them_is_killed(tmp_path):
    command = [sys.executable, "-m", "hpa_lib.cli", "data", "synth", str(tmp_path / "many")]
    with subprocess.Popen([*command, "--samples", "5000", "--workers", "2"]) as process:
        while not any(tmp_path.glob("many/train/*.png")):
            assert process.poll() is None
            time.sleep(0.05)
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert len(workers) >= 2
    assert all(gone(worker.pid, 15) for worker in workers)


def test_a_synthetic_dataset_killed_before_its_first_file_is_whole_is_begun_again(tmp_path):
    folder = Path(tmp_path / "dataset")
    left = leave_behind(folder / "synthetic.json")
    synthetic.write_dataset(folder, 1, size=64, progress=False)
    assert (folder / "train.csv").is_file()
    assert not left.exists()
