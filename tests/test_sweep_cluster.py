"""Sweeps on Snakemake: jobs as processes with their own scratch folders, and what befalls them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hpa_lib import paths

pytestmark = pytest.mark.pipeline

ROOT = paths.PROJECT_ROOT
PROFILE = ROOT / "profiles" / "local-submit"


def environment(folder, **more):
    """Folders for a test's data, runs, reports and jobs, and this environment's programs."""
    own = {f"HPA_{name.upper()}": str(folder / name) for name in ("data", "runs", "reports")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | own | {"PATH": path, "HPA_LOCAL_JOBS": str(folder / "jobs")} | more


def snakemake(folder, env, *arguments):
    finished = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "sweep.smk"),
         "--directory", str(folder), "--nocolor", *arguments],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return finished.returncode, finished.stdout + finished.stderr


def manifests(folder, notebook):
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/manifest.json")]
    return [one for one in found if one["notebook"] == notebook]


def metrics_of(folder, run):
    return json.loads((folder / "runs" / run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A folder with a sweep of four trainings that learn nothing, and faults for three of them."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    folder = tmp_path_factory.mktemp("cluster")
    programs = folder / "programs"
    programs.mkdir()
    hpa = programs / "hpa"
    hpa.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests" / "fake_training.py"}" "$@"\n'
    )
    # A scheduler that starts one job twice, and tells of the second alone.
    twice = programs / "submit-twice"
    twice.write_text(
        "#!/bin/sh\n"
        f'grep -q fold-1-of-2-seed-1 "$1" && "{PROFILE}/submit" "$1" >> "{folder}/ghosts"\n'
        f'"{PROFILE}/submit" "$1"\n'
    )
    for program in (hpa, twice):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    faults = folder / "faults"
    faults.mkdir()
    (faults / "1-0").write_text("kill-elsewhere lose-log")
    (faults / "1-1").write_text("slow")
    (faults / "2-0").write_text("fail fail fail")
    (faults / "2-1").write_text("kill slow")
    return folder


@pytest.fixture(scope="module")
def env(cluster):
    own = environment(cluster, HPA_FAULTS=str(cluster / "faults"))
    return own | {"PATH": f"{cluster / 'programs'}{os.pathsep}{own['PATH']}"}


PROFILE_OPTIONS = [
    "--workflow-profile", str(PROFILE), "--config", "sweep=smoke",
    # From another folder than the checkout, the profile's commands aren't where it says.
    *(word for name in ("submit", "status", "cancel")
      for word in (f"--cluster-generic-{name}-cmd", str(PROFILE / name))),
]  # fmt: skip


@pytest.fixture(scope="module")
def first(cluster, env):
    """Exit status and output of the first call, with a scheduler that starts one job twice."""
    submit = ("--cluster-generic-submit-cmd", str(cluster / "programs" / "submit-twice"))
    return snakemake(cluster, env, *PROFILE_OPTIONS, *submit)


def attempts(folder):
    lines = (folder / "faults" / "attempts").read_text().splitlines()
    found = {}
    for one in map(json.loads, lines):
        found.setdefault(one["member"], []).append(one)
    return found


def test_killed_delayed_and_doubled_jobs_end_with_one_run_each(cluster, first):
    status, output = first
    assert status != 0, output  # a member is missing
    assert (cluster / "faults" / "attempts").is_file(), output
    found = attempts(cluster)
    assert (cluster / "ghosts").read_text().count("job-") == 1
    assert [one["fault"] for one in found["1-1"]] == ["slow"]
    assert [one["fault"] for one in found["1-0"]] == ["kill-elsewhere", "lose-log"]
    assert [one["fault"] for one in found["2-1"]] == ["kill", "slow"]
    complete = [one for one in manifests(cluster, "3_train_vgg") if one["status"] == "complete"]
    assert len(complete) == 3
    for member in ("1-0", "2-1"):  # the second attempt takes up what the first had begun
        killed, went_on = found[member]
        assert killed["run"] == went_on["run"]
        assert went_on["going_on"]


def test_data_are_made_once_before_any_training_and_scratch_folders_are_each_job_s_own(
    cluster, first
):
    everything = [one for found in attempts(cluster).values() for one in found]
    assert all(one["decoded"] for one in everything)
    scratch = [one["scratch"] for one in everything]
    assert len(set(scratch)) == len(scratch)
    assert all(str(cluster / "jobs") in one for one in scratch)


def test_a_failing_member_stops_none_and_the_report_names_it(cluster, first):
    [aggregated] = manifests(cluster, "5_sweep")
    assert aggregated["status"] == "complete"
    found = metrics_of(cluster, aggregated["run"])
    assert found["members"] == {"complete": 3, "failed": 1}
    assert found["folds"] == [1, 2]
    page = (cluster / "reports" / aggregated["run"] / "index.html").read_text()
    assert "1 of the 4 members of the sweep are missing" in page
    assert "seed 0 is failed: HpaError: The disk is full." in page
    assert "failed" in first[1]  # the command's own list


def test_the_same_command_trains_what_is_missing_and_nothing_else(cluster, env, first):
    before = {one["run"]: one for one in manifests(cluster, "3_train_vgg")}
    status, output = snakemake(cluster, env, *PROFILE_OPTIONS)
    assert status == 0, output
    found = attempts(cluster)
    assert {name: len(ones) for name, ones in found.items() if name != "2-0"} == {
        "1-0": 2, "1-1": 1, "2-1": 2,
    }  # fmt: skip
    assert found["2-0"][-1]["fault"] == ""
    after = {one["run"]: one for one in manifests(cluster, "3_train_vgg")}
    assert {one["status"] for one in after.values()} == {"complete"}
    assert all(after[run] == one for run, one in before.items() if one["status"] == "complete")
    newest = max(manifests(cluster, "5_sweep"), key=lambda one: one["finished"])
    assert metrics_of(cluster, newest["run"])["members"] == {"complete": 4}
    again, output = snakemake(cluster, env, *PROFILE_OPTIONS)
    assert again == 0
    assert "Nothing to be done" in output


# --- For real


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two folds, trained side by side by the local executor."""
    folder = tmp_path_factory.mktemp("sweep")
    path = folder / "two.yaml"
    path.write_text("preset: smoke\nfolds: 2\ngrid: {backbone: [VGG16]}\n", encoding="utf-8")
    options = (
        "--cores",
        "2",
        "--resources",
        "gpu=2",
        "--retries",
        "0",
        "--config",
        f"sweep={path}",
    )
    status, output = snakemake(folder, environment(folder), *options)
    assert status == 0, output
    return folder


def test_a_sweep_trains_its_folds_and_reports_each_sample_once(trained):
    [aggregated] = manifests(trained, "5_sweep")
    found = metrics_of(trained, aggregated["run"])
    assert found["members"] == {"complete": 2}
    assert (found["samples"], found["folds"]) == (60, [1, 2])
    folder = trained / "runs" / aggregated["run"]
    lines = (folder / "out_of_fold.csv").read_text().splitlines()
    ids = [line.split(",")[1] for line in lines[1:]]
    assert len(ids) == len(set(ids)) == 60
    assert (trained / "reports" / aggregated["run"] / "index.html").is_file()


def test_two_trainings_side_by_side_give_the_numbers_of_one_alone(trained, tmp_path):
    side_by_side = manifests(trained, "3_train_vgg")
    assert len(side_by_side) == 2
    first, second = sorted(side_by_side, key=lambda one: one["started"])
    assert second["started"] < first["finished"]
    alone = environment(trained) | {"HPA_RUNS": str(tmp_path / "runs")}
    sweep = str(trained / "two.yaml")
    hpa = [sys.executable, "-m", "hpa_lib.cli", "sweep"]
    listed = subprocess.run(
        [*hpa, "list", sweep, "--json"], env=alone, capture_output=True, text=True, check=False
    )
    member = json.loads(listed.stdout)[0]["member"]
    assert listed.returncode == 1
    output = tmp_path / "member.run"
    subprocess.run([*hpa, "train", sweep, member, "--output", str(output)], env=alone, check=True)
    run = output.read_text().strip()
    for name in ("predictions.csv", "predictions_one_view.csv", "history.csv", "split.csv"):
        one, other = (folder / run / name for folder in (tmp_path / "runs", trained / "runs"))
        assert one.read_bytes() == other.read_bytes(), name
