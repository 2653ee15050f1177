import datetime
import hashlib
import os
import platform
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hpa_lib import code_digest, files, parameters, paths, run_digests, runs
from hpa_lib.errors import HpaError

DATASET = {"name": "tiny", "samples": 24, "fingerprint": "a" * 64}


@pytest.fixture(autouse=True)
def same_code(monkeypatch):
    """Someone may edit the library while its tests run."""
    monkeypatch.setattr(code_digest, "of_notebook", lambda _: "c" * 64)


def open_run(notebook="2_train_resnet", dataset=DATASET, inputs=(), **values):
    checked = parameters.validate(notebook, {"preset": "smoke", **values})
    return runs.Run(notebook, checked, "Title", dataset, inputs)


def finished(backbone="VGG16", notebook="3_train_vgg", **options):
    run = open_run(notebook, **options)
    run.write_metrics({"backbone": backbone})
    run.finish()
    return run


def edit(run, **entries):
    (run.folder / run_digests.FILE).unlink(missing_ok=True)
    path = run.folder / runs.MANIFEST
    files.write_json(path, files.read_json(path) | entries)


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_manifest_says_what_the_result_depends_on():
    run = open_run(seed=7, inputs=("other",))
    manifest = runs.read_manifest(run.folder)
    assert run.folder == paths.runs_folder() / run.name
    wanted = {
        "run": run.name, "notebook": "2_train_resnet", "title": "Title", "preset": "smoke",
        "status": "running", "seed": 7, "dataset": DATASET, "inputs": ["other"],
        "process": os.getpid(), "finished": None, "seconds": None,
    }  # fmt: skip
    assert {name: manifest[name] for name in wanted} == wanted
    assert manifest["parameters"]["seed"] == 7
    assert manifest["packages"]["numpy"] == np.__version__
    assert len(manifest["code_digest"]) == 64
    assert {"commit", "dirty", "python", "device", "started", "host"} <= set(manifest)
    assert str(run.folder / "params.yaml").endswith(manifest["command"].split()[-1])
    assert not any(str(paths.PROJECT_ROOT) in str(value) for value in manifest.values())


def test_manifest_holds_this_and_nothing_else():
    run = open_run(seed=7)
    manifest = runs.read_manifest(run.folder)
    assert manifest["identity"][:8] == run.name[-8:]
    assert len(manifest["identity"]) == 64
    started = datetime.datetime.fromisoformat(manifest["started"])
    assert abs((datetime.datetime.now(datetime.UTC) - started).total_seconds()) < 60
    assert set(manifest["packages"]) == {
        "tensorflow", "keras", "numpy", "pandas", "opencv-python", "scikit-learn",
    }  # fmt: skip
    wanted = {
        "reason": None, "files": {}, "earlier_attempts": [], "inputs": [], "device": None,
        "python": platform.python_version(), "code_digest": "c" * 64, "host": files.host_digest(),
        "command": "papermill notebooks/2_train_resnet.ipynb out.ipynb "
        f"-f runs/{run.name}/params.yaml",
    }  # fmt: skip
    assert {name: manifest[name] for name in wanted} == wanted
    assert set(manifest) - set(wanted) == {
        "run", "notebook", "identity", "title", "preset", "status", "parameters", "commit",
        "dirty", "preset_parameters", "packages", "seed", "dataset", "process", "started",
        "finished", "seconds",
    }  # fmt: skip


def test_files_have_the_names_by_which_runs_of_earlier_versions_are_read():
    assert (runs.MANIFEST, runs.METRICS, runs.STATE) == (
        "manifest.json", "metrics.json", "state.npz",
    )  # fmt: skip
    assert runs.EVALUATED_WEIGHTS == {"best": "best.weights.h5", "last": "last.weights.h5"}


def test_manifest_names_the_commit_and_whether_tracked_files_differ(monkeypatch, tmp_path):
    def git(*arguments):
        given = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        found = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    def recorded():
        manifest = runs.read_manifest(open_run().folder)
        return manifest["commit"], manifest["dirty"]

    monkeypatch.setattr(paths, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert recorded() == (None, None)
    git("init", "--quiet")
    (tmp_path / "tracked").write_text("one")
    git("add", "tracked")
    git("commit", "--quiet", "--no-gpg-sign", "--message", "one")
    (tmp_path / "untracked").write_text("two")
    assert recorded() == (git("rev-parse", "HEAD"), False)
    (tmp_path / "tracked").write_text("three")
    assert recorded() == (git("rev-parse", "HEAD"), True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recorded() == (None, None)


def test_manifest_holds_what_the_preset_sets_beside_what_was_given():
    manifest = runs.read_manifest(open_run(image_size=80).folder)
    assert manifest["preset_parameters"]["image_size"] == 75
    assert manifest["parameters"]["image_size"] == 80


def test_a_comparison_has_no_dataset_of_its_own():
    run = open_run("4_compare", dataset=None, inputs=("one", "other"))
    manifest = runs.read_manifest(run.folder)
    assert run.notebook == manifest["notebook"] == "4_compare"
    assert (manifest["dataset"], manifest["inputs"]) == (None, ["one", "other"])


def test_parameters_can_be_read_back():
    run = open_run(seed=7, gradient_clip=0.002)
    values = parameters.read_preset(run.folder / "params.yaml")
    assert parameters.validate("2_train_resnet", values) == run.parameters


def test_name_tells_preset_and_notebook():
    assert open_run().name.startswith("smoke-2_train_resnet-")
    assert open_run(preset="my/own: preset").name.startswith("my-own-preset-2_train_resnet-")
    assert open_run(preset="../..").folder.parent == paths.runs_folder()


def test_name_holds_at_most_60_characters_of_the_preset():
    name = open_run(preset="." + "x" * 100 + "/y").name
    assert name.startswith("x" * 60 + "-2_train_resnet-")


def test_name_depends_on_everything_that_the_result_depends_on(monkeypatch):
    other_dataset = DATASET | {"fingerprint": "b" * 64}
    names = {
        finished().name,
        finished(seed=1).name,
        finished(gradient_clip=0.002).name,
        finished(dataset=other_dataset).name,
        finished(inputs=("run",)).name,
    }
    monkeypatch.setattr(code_digest, "of_notebook", lambda _: "other code")
    names.add(finished().name)
    assert len(names) == 6
    assert not any(name.endswith("-2") for name in names)


def test_name_does_not_depend_on_what_results_do_not_depend_on():
    plain = finished().name
    assert finished(tensorboard=True).name.startswith(plain)


def test_name_depends_on_the_content_of_named_files(tmp_path):
    weights = tmp_path / "backbone.h5"
    weights.write_bytes(b"first")
    first = finished(weights=str(weights))
    digest = hashlib.sha256(b"first").hexdigest()
    assert runs.read_manifest(first.folder)["files"] == {"weights": digest}
    weights.write_bytes(b"second")
    assert finished(weights=str(weights)).name[-8:] != first.name[-8:]
    assert runs.file_digests({"leave_out": "a.b," * 200, "seed": 1, "split": "no.csv"}) == {}


def test_name_depends_neither_on_the_place_nor_on_the_preset_s_name():
    digest = open_run().name[-8:]
    assert open_run(data="/elsewhere").name[-8:] == digest
    assert open_run(preset="quick").name[-8:] == digest


def test_finished_run_is_never_written_to_again():
    first = finished()
    kept = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    second, third = finished(), finished()
    assert second.name == f"{first.name}-2"
    assert third.name == f"{first.name}-3"
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == kept


def test_failed_run_is_taken_up_from_the_start():
    run = open_run()
    (run.folder / "half.txt").write_text("half")
    (run.folder / "folder").mkdir()
    (run.folder / "folder" / "half.txt").write_text("half")
    run.fail("ValueError: too bad")
    manifest = runs.read_manifest(run.folder)
    assert (manifest["status"], manifest["reason"]) == ("failed", "ValueError: too bad")
    again = open_run()
    assert again.name == run.name
    assert {path.name for path in again.folder.iterdir()} == {runs.MANIFEST, "params.yaml"}
    assert runs.read_manifest(again.folder)["reason"] is None


def test_reason_does_not_hold_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = open_run()
    run.fail(f"No such file: {tmp_path}/hpa/train.csv")
    assert str(tmp_path) not in runs.read_manifest(run.folder)["reason"]


def test_interrupted_run_is_taken_up():
    run = open_run()
    run.interrupt("Interrupted by the user.")
    manifest = runs.read_manifest(run.folder)
    assert (manifest["status"], manifest["reason"]) == ("interrupted", "Interrupted by the user.")
    assert 0 <= manifest["seconds"] == round(manifest["seconds"], 1)
    assert open_run().name == run.name


def test_run_of_this_process_is_taken_up_when_its_cell_runs_again():
    assert open_run().name == open_run().name


def test_run_of_another_living_process_is_left_alone():
    run = open_run()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        edit(run, process=process.pid)
        assert runs.read_manifest(run.folder)["status"] == "running"
        assert open_run().name == f"{run.name}-2"
        process.communicate(b"\n")


def test_state_of_an_interrupted_training_is_kept_and_nothing_else():
    first = open_run()
    for name in (runs.STATE, runs.BEST_WEIGHTS, runs.METRICS, "split.csv"):
        (first.folder / name).write_text("{}")
    first.interrupt("Ctrl+C")
    again = open_run()
    assert again.folder == first.folder
    kept = {runs.STATE, runs.BEST_WEIGHTS, runs.MANIFEST, "params.yaml"}
    assert {path.name for path in again.folder.iterdir()} == kept
    earlier = runs.read_manifest(again.folder)["earlier_attempts"]
    assert [attempt["status"] for attempt in earlier] == ["interrupted"]
    assert earlier[0]["started"] <= earlier[0]["finished"]
    (again.folder / runs.STATE).write_text("{}")
    again.fail("ValueError")
    again = open_run()
    earlier = runs.read_manifest(again.folder)["earlier_attempts"]
    assert [attempt["status"] for attempt in earlier] == ["interrupted", "failed"]
    again.write_metrics({"headline": {}})
    again.finish()
    assert not (again.folder / runs.STATE).exists()


def test_state_of_another_identity_is_never_picked_up():
    first = open_run()
    (first.folder / runs.STATE).write_text("{}")
    first.interrupt("Ctrl+C")
    manifest = files.read_json(first.folder / runs.MANIFEST)
    # The same name, since only eight digits of the digest are in it.
    changed = manifest["identity"][:8] + "0" * 56
    files.write_json(first.folder / runs.MANIFEST, manifest | {"identity": changed})
    again = open_run()
    assert again.folder == first.folder
    assert not (again.folder / runs.STATE).exists()
    assert runs.read_manifest(again.folder)["earlier_attempts"] == []


def test_run_whose_process_is_gone_counts_as_interrupted_and_is_taken_up():
    run = open_run()
    edit(run, process=ended_process())
    manifest = runs.read_manifest(run.folder)
    assert manifest["status"] == "interrupted"
    assert manifest["reason"] == "The process ended before the notebook."
    assert manifest["identity"] == files.read_json(run.folder / runs.MANIFEST)["identity"]
    assert open_run().name == run.name


@pytest.mark.parametrize("process", [None, "1", 0, -1, True, 1.0, 2**70])
def test_run_of_what_can_be_no_process_counts_as_interrupted(process):
    run = open_run()
    edit(run, process=process)
    assert runs.read_manifest(run.folder)["status"] == "interrupted"


def test_run_of_another_user_s_process_is_left_alone(monkeypatch):
    def refuse(process, signal):
        assert signal == 0
        raise PermissionError

    run = open_run()
    monkeypatch.setattr(os, "kill", refuse)
    assert runs.read_manifest(run.folder)["status"] == "running"


def test_run_of_another_computer_is_taken_at_its_word():
    run = open_run()
    edit(run, process=ended_process(), host="elsewhere")
    assert runs.read_manifest(run.folder)["status"] == "running"


def test_settle_writes_down_who_is_gone():
    run, alive, done = open_run(), open_run(seed=1), finished(seed=2)
    edit(run, process=ended_process())
    runs.settle(paths.runs_folder())
    status = {
        one.name: files.read_json(one.folder / runs.MANIFEST)["status"]
        for one in (run, alive, done)
    }
    assert list(status.values()) == ["interrupted", "running", "complete"]


def test_finish_records_the_end():
    run = finished()
    manifest = runs.read_manifest(run.folder)
    assert run.status == manifest["status"] == "complete"
    assert manifest["finished"] >= manifest["started"]
    assert 0 <= manifest["seconds"] < 60
    assert manifest["seconds"] == round(manifest["seconds"], 1)
    assert datetime.datetime.fromisoformat(manifest["finished"]).utcoffset() == datetime.timedelta()


def test_finish_without_metrics_is_refused():
    run = open_run()
    with pytest.raises(HpaError, match=r"has no metrics\.json"):
        run.finish()
    assert runs.read_manifest(run.folder)["status"] == "running"


def test_figures_that_are_no_number_become_null():
    run = open_run()
    run.write_metrics({"f1": float("nan"), "list": [1.5, float("inf")], "deep": {0: (np.nan, 2)}})
    assert files.read_json(run.folder / runs.METRICS) == {
        "f1": None, "list": [1.5, None], "deep": {"0": [None, 2]},
    }  # fmt: skip


def test_tables_are_written_with_nine_digits():
    run = open_run()
    run.write_table("history", pd.DataFrame({"epoch": [1], "loss": [1 / 3], "stage": ["ä, b"]}))
    text = (run.folder / "history.csv").read_text(encoding="utf-8")
    assert text == 'epoch,loss,stage\n1,0.333333333,"ä, b"\n'


def test_finished_runs_are_listed_by_name():
    names = {finished(seed=seed).name for seed in range(4)}
    open_run(seed=5)
    assert [manifest["run"] for manifest in runs.finished()] == sorted(names)
    assert [folder.name for folder, _ in runs.readable(paths.runs_folder())] == sorted(
        {*names, open_run(seed=5).name}
    )


def test_find_gives_the_newest_finished_run_of_the_notebook():
    newest, oldest = finished(seed=1), finished(seed=2)
    finished(notebook="2_train_resnet", seed=3)
    open_run(seed=4)
    edit(oldest, finished="2000-01-01T00:00:00.000+00:00")
    assert runs.find("", "3_train_vgg") == newest.folder


def test_find_by_name_and_by_path(monkeypatch):
    run = finished()
    assert runs.find(run.name, "3_train_vgg") == run.folder
    assert runs.find(str(run.folder), "3_train_vgg") == run.folder
    monkeypatch.setenv("HPA_RUNS", "/elsewhere")
    assert runs.find(str(run.folder), "3_train_vgg") == run.folder


def test_find_without_any_finished_run():
    open_run()
    with pytest.raises(HpaError, match="no finished run of 3_train_vgg") as caught:
        runs.find("", "3_train_vgg")
    assert str(paths.runs_folder()) in caught.value.problem


def test_find_refuses_a_folder_that_is_no_run():
    with pytest.raises(HpaError, match="isn't a run folder"):
        runs.find("absent", "3_train_vgg")


def test_find_refuses_an_unfinished_run():
    run = open_run()
    run.fail("boom")
    with pytest.raises(HpaError, match="is failed, not complete"):
        runs.find(run.name, "3_train_vgg")


def test_find_refuses_a_run_that_trained_no_network():
    run = open_run()
    run.write_metrics({})
    run.finish()
    with pytest.raises(HpaError, match="trained no network") as caught:
        runs.find(run.name, "3_train_vgg")
    assert str(run.folder) in caught.value.problem


def test_preset_parameters_are_empty_without_such_a_preset():
    assert runs.preset_parameters("smoke", "1_explore")["image_size"] == 75
    assert runs.preset_parameters("nobody's", "1_explore") == {}
    assert runs.preset_parameters("", "1_explore") == {}


def test_data_label_tells_folders_of_one_name_apart(tmp_path):
    one, other = runs.data_label(str(tmp_path / "a" / "hpa")), runs.data_label("/b/hpa")
    assert one.startswith("hpa-")
    assert other.startswith("hpa-")
    assert one != other
    assert len(one) == len(other) == len("hpa-") + 6
    assert runs.data_label("hpa") == runs.data_label(os.path.abspath("hpa"))  # noqa: PTH100
