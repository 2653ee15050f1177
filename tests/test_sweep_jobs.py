import json
import os
import threading
import time

import pytest

from hpa_lib import execution, files, gpu_pool, paths, runs, sweep_jobs, sweeps
from hpa_lib.errors import HpaError


@pytest.fixture
def sweep(tmp_path, tiny_dataset):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: smoke\nfolds: 2\ngrid: {backbone: [VGG16]}\n", encoding="utf-8")
    return sweeps.read(str(path), {"data": str(tiny_dataset), "device": "cpu"})


@pytest.fixture
def trainings(monkeypatch, tiny):
    """Trainings that take a moment and learn nothing; what they were asked for."""
    asked = []

    def execute(notebook, output, preset, overrides):
        asked.append((notebook, preset, overrides, os.environ.get(gpu_pool.VARIABLE)))
        values = one_member.values
        run = runs.Run(notebook, values, "Title", tiny.description())
        time.sleep(0.3)
        run.write_metrics({"backbone": "VGG16"})
        run.finish()
        return run.folder

    one_member = None

    def of(member):
        nonlocal one_member
        one_member = member
        return asked

    monkeypatch.setattr(execution, "execute", execute)
    return of


def leave_running(member, dataset, **changed):
    """A run of a member whose job has ended without a word."""
    run = runs.Run(member.notebook, member.values, "Title", dataset.description())
    (run.folder / runs.STATE).write_bytes(b"an epoch")
    path = run.folder / runs.MANIFEST
    files.write_json(path, files.read_json(path) | changed)
    return run


def test_a_member_is_trained_with_its_parameters_and_its_run_is_written_down(
    sweep, trainings, tmp_path
):
    member = sweep.members[1]
    asked = trainings(member)
    output = tmp_path / "members" / "one.run"
    run = sweep_jobs.train(sweep, member.name, output)
    [(notebook, preset, overrides, _)] = asked
    assert (notebook, preset) == ("3_train_vgg", paths.PRESETS / "smoke.yaml")
    assert overrides == sweep.overrides | {"split": "fold 2 of 2", "backbone": "VGG16"}
    assert sweep_jobs.finished_run(output) == paths.runs_folder() / run
    output.write_text("gone\n")
    assert sweep_jobs.finished_run(output) is None


def test_what_is_finished_is_not_trained_again_even_without_its_marker(sweep, trainings, tmp_path):
    member = sweep.members[0]
    asked = trainings(member)
    first = sweep_jobs.train(sweep, member.name, tmp_path / "a.run")
    assert sweep_jobs.train(sweep, member.name, tmp_path / "b.run") == first
    assert len(asked) == 1
    assert (tmp_path / "b.run").read_text() == f"{first}\n"


def test_two_jobs_of_one_member_train_it_once(sweep, trainings, tmp_path):
    member = sweep.members[0]
    asked = trainings(member)
    output = tmp_path / "one.run"
    found = []
    jobs = [
        threading.Thread(target=lambda: found.append(sweep_jobs.train(sweep, member.name, output)))
        for _ in range(2)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(asked) == 1
    assert len(found) == 2
    assert len(set(found)) == 1


def test_a_run_that_another_machine_left_is_taken_up_in_its_folder(
    sweep, trainings, tiny, tmp_path
):
    member = sweep.members[0]
    trainings(member)
    left = leave_running(member, tiny, host="elsewhere")
    run = sweep_jobs.train(sweep, member.name, tmp_path / "one.run")
    assert run == left.name
    manifest = json.loads((left.folder / runs.MANIFEST).read_text())
    assert [one["status"] for one in manifest["earlier_attempts"]] == ["interrupted"]


def test_a_training_that_is_alive_on_this_machine_is_left_alone(
    sweep, trainings, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(sweep_jobs, "_SECONDS_FOR_ORPHANS", 0.1)
    member = sweep.members[0]
    asked = trainings(member)
    leave_running(member, tiny)
    with pytest.raises(HpaError, match=f"being trained by process {os.getpid()}"):
        sweep_jobs.train(sweep, member.name, tmp_path / "one.run")
    assert not asked


def test_a_training_sees_its_own_gpu_alone(sweep, trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_pool, "visible", lambda: ["GPU-a"])
    path = tmp_path / "mine.yaml"
    with_gpu = sweeps.read(str(path), sweep.overrides | {"device": "auto"})
    for one, expected in ((sweep, os.environ.get(gpu_pool.VARIABLE)), (with_gpu, "GPU-a")):
        member = one.members[0]
        asked = trainings(member)
        sweep_jobs.train(one, member.name, tmp_path / "one.run")
        assert asked[-1][3] == expected
