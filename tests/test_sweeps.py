import json
import textwrap

import pytest

from hpa_lib import code_digest, parameters, paths, runs, sweeps
from hpa_lib.errors import HpaError


@pytest.fixture
def write(tmp_path):
    """Function that writes a sweep file and returns its path as text."""

    def written(text):
        path = tmp_path / "mine.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    return written


BOTH = """
    preset: smoke
    folds: 2
    grid:
      seed: [0, 1]
      backbone: [VGG16, DenseNet121]
      batch_size: [4, 8]
"""


def test_members_are_all_combinations_each_with_its_notebook(write):
    sweep = sweeps.read(write(BOTH))
    assert len(sweep.members) == 16
    assert len({member.name for member in sweep.members}) == 16
    assert sweep.groups == (
        "VGG16, batch_size 4",
        "VGG16, batch_size 8",
        "DenseNet121, batch_size 4",
        "DenseNet121, batch_size 8",
    )
    for member in sweep.members:
        assert (member.notebook == "3_train_vgg") == (member.values.backbone == "VGG16")
        assert member.values.split == f"fold {member.fold} of 2"
        assert member.values.preset == "smoke"
    assert {(m.fold, m.values.seed, m.values.batch_size) for m in sweep.members} == {
        (fold, seed, size) for fold in (1, 2) for seed in (0, 1) for size in (4, 8)
    }


def test_names_of_members_stay_when_the_sweep_grows(write):
    before = {member.name for member in sweeps.read(write(BOTH)).members}
    after = {
        member.name for member in sweeps.read(write(BOTH.replace("[0, 1]", "[2, 0, 1]"))).members
    }
    assert before < after


def test_overrides_reach_all_members_and_another_preset_may_be_named(write):
    path = write("preset: best\nfolds: 2\ngrid: {backbone: [VGG16]}\n")
    sweep = sweeps.read(path, {"preset": "smoke", "image_size": 80, "data": "/x"})
    assert {member.values.image_size for member in sweep.members} == {80}
    assert {member.values.data for member in sweep.members} == {"/x"}
    assert sweep.members[0].values.preset == "smoke"
    assert sweep.preset == paths.PRESETS / "smoke.yaml"


@pytest.mark.parametrize("name", sorted(path.stem for path in paths.SWEEPS.glob("*.yaml")))
def test_sweeps_of_the_project_expand(name):
    sweep = sweeps.read(name)
    assert len({member.name for member in sweep.members}) == len(sweep.members) > 1


def test_the_sweep_of_the_real_images_is_five_folds_by_three_seeds_by_the_study_s_two_networks():
    sweep = sweeps.read("folds")
    assert (len(sweep.members), sweep.groups) == (30, ("InceptionResNetV2", "VGG16"))


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("- a", "isn't a mapping", "params/sweeps"),
        ("a: [", "isn't YAML", ""),
        ("preset: smoke\nfold: 5", "has the entry 'fold'", "Did you mean folds"),
        ("folds: 5", "names no preset", ""),
        ("preset: smoke\nfolds: 1", "folds is 1", "from 2 to 20"),
        ("preset: smoke\nfolds: true", "folds is True", "from 2 to 20"),
        ("preset: smoke\ngrid: {seed: [0]}", "neither folds nor split", "folds: 5"),
        ("preset: smoke\nfolds: 2\ngrid: {split: [fold 1 of 2]}", "both folds and split", ""),
        ("preset: smoke\ngrid: {split: [stratified]}", "split in grid is", "one cross-validation"),
        ("preset: smoke\ngrid: {split: [fold 1 of 2, fold 1 of 3]}", "split in grid is", ""),
        ("preset: smoke\nfolds: 2\ngrid: [seed]", "grid is ['seed']", "list of values"),
        ("preset: smoke\nfolds: 2\ngrid: {sede: [0]}", "Parameter sede is unknown", "seed"),
        ("preset: smoke\nfolds: 2\ngrid: {replicates: [200]}", "can't differ", ""),
        ("preset: smoke\nfolds: 2\ngrid: {data: [/x]}", "data in grid can't differ", ""),
        ("preset: smoke\nfolds: 2\ngrid: {seed: []}", "seed in grid is []", "at least one"),
        ("preset: smoke\nfolds: 2\ngrid: {seed: 3}", "seed in grid is 3", "list"),
        ("preset: smoke\nfolds: 2\ngrid: {seed: [1, 1]}", "gives 1 twice", "once"),
        ("preset: smoke\nfolds: 2\ngrid: {batch_size: [many]}", "batch_size received 'many'", ""),
        (
            "preset: smoke\nfolds: 2\ngrid: {backbone: [DenseNet121], vgg_cpu_threads: [1, 2]}",
            "the same training",
            "make no difference",
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_entry(write, text, problem, remedy):
    path = write(text)
    with pytest.raises(HpaError) as caught:
        sweeps.read(path)
    assert path in caught.value.problem
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_sweep_that_is_not_there_names_those_that_are():
    with pytest.raises(HpaError, match="smoke"):
        sweeps.read("nothing")


def test_an_axis_is_not_given_on_the_command_line_too(write):
    with pytest.raises(HpaError, match="seed is 5, and an axis"):
        sweeps.read(write(BOTH), {"seed": 5})


def test_an_unknown_member_gets_the_nearest_name(write):
    sweep = sweeps.read(write(BOTH))
    with pytest.raises(HpaError, match=sweep.members[0].name):
        sweep.member(sweep.members[0].name[:-1])


# --- Their runs


@pytest.fixture
def sweep(write, tiny_dataset):
    path = write("preset: smoke\nfolds: 2\ngrid: {seed: [0, 1], backbone: [VGG16]}\n")
    return sweeps.read(path, {"data": str(tiny_dataset)})


def leave(member, dataset, status="complete"):
    """A run of a member, as its notebook would leave it."""
    run = runs.Run(member.notebook, member.values, "Title", dataset.description())
    run.write_metrics({"backbone": "VGG16"})
    if status == "complete":
        run.finish()
    elif status == "failed":
        run.fail("OSError: the disk is full")
    return run


def test_each_member_finds_its_own_run_and_missing_ones_say_why(sweep, tiny):
    found = sweeps.look_up(sweep, tiny.fingerprint)
    assert {one.status for one in found} == {sweeps.ABSENT}
    first, second, third, _ = sweep.members
    complete, _ = leave(first, tiny), leave(second, tiny, "failed")
    running = leave(third, tiny, "running")
    found = sweeps.look_up(sweep, tiny.fingerprint)
    assert [one.status for one in found] == ["complete", "failed", "running", "absent"]
    assert found[0].run == complete.name
    assert found[1].reason == "OSError: the disk is full"
    assert found[2].run == running.name
    told = sweeps.sentences(found)
    assert told[0].startswith("**3 of the 4 members of the sweep are missing**")
    assert "VGG16, fold 1 of 2, seed 1 is failed: OSError: the disk is full" in told[1]
    assert sweeps.counts(found) == {"absent": 1, "complete": 1, "failed": 1, "running": 1}
    assert list(sweeps.table(found)["status"]) == [one.status for one in found]


def test_the_newest_complete_run_counts_even_before_a_later_failure(sweep, tiny):
    member = sweep.members[0]
    complete = leave(member, tiny)
    leave(member, tiny, "failed")
    [found, *_] = sweeps.look_up(sweep, tiny.fingerprint)
    assert (found.status, found.run) == ("complete", complete.name)


def test_runs_of_other_data_or_code_do_not_count(sweep, tiny, monkeypatch):
    member = sweep.members[0]
    run = leave(member, tiny)
    [found, *_] = sweeps.look_up(sweep, "other")
    assert found.status == "absent"
    assert f"{run.name} saw another dataset" in found.reason
    [found, *_] = sweeps.look_up(sweep, tiny.fingerprint, any_code=False)
    assert found.status == "complete"
    monkeypatch.setattr(code_digest, "of_notebook", lambda _: "other")
    [found, *_] = sweeps.look_up(sweep, tiny.fingerprint, any_code=False)
    assert found.status == "absent"
    [found, *_] = sweeps.look_up(sweep, tiny.fingerprint)
    assert found.status == "complete"


def test_a_killed_job_on_another_machine_reads_as_running_with_the_way_out(sweep, tiny):
    run = leave(sweep.members[0], tiny, "running")
    path = run.folder / runs.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"host": "elsewhere"}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    [found, *_] = sweeps.look_up(sweep, tiny.fingerprint)
    assert found.status == "running"
    assert "ended without a word" in found.reason


def test_parameters_of_the_notebook_name_the_sweep(write):
    values = parameters.validate(
        "5_sweep", {"sweep": write(BOTH), "data": "/x", "overrides": {"image_size": 80}}
    )
    [member, *_] = sweeps.of(values).members
    assert (member.values.data, member.values.image_size) == ("/x", 80)
