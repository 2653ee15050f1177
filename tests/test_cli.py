import argparse
import contextlib
import importlib.metadata
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from hpa_lib import (
    cache,
    cli,
    doctor,
    embedded,
    execution,
    parameters,
    paths,
    predictions,
    runs,
    splits,
)
from hpa_lib.notebook import RUN_METADATA_KEY


def hpa(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    status = cli.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_command_is_installed_and_explains_itself():
    program = Path(sys.executable).with_name("hpa")
    result = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0
    assert all(
        name in result.stdout for name in ("doctor", "data", "predict", "execute", "publish")
    )


@pytest.mark.parametrize("arguments", [[], ["data"], ["dacotr"], ["execute", "5_more"]])
def test_wrong_usage_is_told_with_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: hpa" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("note", 0), ("error", 1)])
def test_doctor_fails_on_errors_alone(capsys, monkeypatch, level, status):
    finding = doctor.Finding("Disk", level, "1 GiB free", "Free some.")
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("Python", "ok", "3"), finding])
    found, output, _ = hpa(capsys, "doctor")
    assert found == status
    assert f"{level:5}  Disk: 1 GiB free\n       → Free some.\n" in output
    found, output, _ = hpa(capsys, "doctor", "--json")
    assert found == status
    assert json.loads(output)[1] == vars(finding)


def test_check_of_a_sound_dataset(capsys, tiny):
    status, output, _ = hpa(capsys, "data", "check", tiny.folder, "--json")
    assert status == 0
    report = json.loads(output)
    assert (report["fingerprint"], report["findings"]) == (tiny.fingerprint, [])
    status, output, _ = hpa(capsys, "data", "check", tiny.folder)
    assert status == 0
    assert "no findings" in output


def test_check_finds_damage_and_goes_on_without_it(capsys, tiny_dataset):
    path = tiny_dataset / "train" / "sample-07_green.png"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"spoilt" + content[106:])
    (tiny_dataset / "train" / "sample-09_red.png").unlink()
    status, output, error = hpa(capsys, "data", "check", tiny_dataset)
    assert status == 1
    assert f"Image {path} can't be decoded" in output
    assert "--leave-out sample-07,sample-09" in output
    assert "Traceback" not in error
    status, output, _ = hpa(
        capsys, "data", "check", tiny_dataset, "--leave-out", "sample-07,sample-09"
    )
    assert status == 0
    assert "22, 88 images" in output


@pytest.mark.parametrize("others", [True, False])
def test_check_tells_which_rows_cannot_be_left_out(capsys, tiny_dataset, others):
    table = tiny_dataset / "train.csv"
    table.write_text(f'{table.read_text()}\n,5\n"a,b",5\n' + ("sample-99,5\n" if others else ""))
    status, output, _ = hpa(capsys, "data", "check", tiny_dataset)
    assert status == 1
    assert f"{table}, line 27, Id '': " in output
    assert f"{table}, line 28, Id 'a,b': " in output
    assert "Mend the rows of train.csv whose Id can't be named in --leave-out" in output
    assert ("--leave-out sample-99\n" in output) == others
    assert ("go on without them" in output) == others
    report = json.loads(hpa(capsys, "data", "check", "--json", tiny_dataset)[1])
    assert report["can_be_left_out"] == (["sample-99"] if others else [])
    assert report["unusable"] == ["", "a,b", *report["can_be_left_out"]]


@pytest.mark.parametrize("mistake", ["folder", "table", "leave out"])
def test_check_without_a_dataset_names_value_and_remedy(capsys, tiny_dataset, mistake):
    folder, named = tiny_dataset, tiny_dataset / "train.csv"
    if mistake == "folder":
        folder = named = tiny_dataset / "absent"
    elif mistake == "table":
        named.unlink()
    status, _, error = hpa(capsys, "data", "check", folder, "--leave-out", "unknown")
    assert status == 2
    problem, remedy = error.rstrip().split("\n")
    assert problem.startswith("hpa: ")
    assert str(named) in problem
    assert remedy.startswith("     ")
    assert remedy.endswith(".")


def test_unpack_then_check(capsys, tiny_dataset, tmp_path):
    shutil.make_archive(str(tmp_path / "train"), "zip", tiny_dataset / "train")
    shutil.make_archive(str(tmp_path / "table"), "zip", tiny_dataset, "train.csv")
    archives = (tmp_path / "train.zip", tmp_path / "table.zip")
    status, output, _ = hpa(capsys, "data", "unpack", *archives, tmp_path / "new")
    assert status == 0
    assert output.startswith("97 files written, 0 there already")
    assert hpa(capsys, "data", "check", tmp_path / "new")[0] == 0
    assert hpa(capsys, "data", "unpack", *archives, tmp_path / "new", "--limit", "0")[0] == 2


def test_prepare_decodes_as_the_notebooks_parameters_say(capsys, tiny):
    options = ("--size", 80, "--composition", "composite", "--interpolation", "bilinear")
    status, output, _ = hpa(capsys, "data", "prepare", tiny.folder, *options)
    assert status == 0
    folder = cache.cache_folder(tiny, 80, "composite", "bilinear")
    assert output == f"{folder}\n"
    assert np.load(folder / "images.npy").shape == (24, 80, 80, 3)
    (folder / "images.npy").write_bytes(b"spoilt")
    status, output, _ = hpa(capsys, "data", "prepare", tiny.folder, *options, "--verify")
    assert (status, output) == (0, f"{folder}\n")
    assert np.load(folder / "images.npy").shape == (24, 80, 80, 3)
    assert hpa(capsys, "data", "prepare", tiny.folder)[1].strip() == str(
        cache.cache_folder(tiny, 75, "rgby", "area")
    )


def test_prepare_refuses_what_the_notebooks_refuse(capsys, tiny):
    status, _, error = hpa(capsys, "data", "prepare", tiny.folder, "--interpolation", "cubic")
    assert status == 2
    assert "Parameter interpolation received 'cubic'" in error


def test_prune_lists_and_removes_what_other_code_made(capsys, tiny):
    cache.open_cache(tiny, 10, "rgby", progress=False)
    present = cache.cache_folder(tiny, 10, "rgby")
    old = present.with_name(f"{present.name[:-8]}00000000")
    shutil.copytree(present, old)
    size = sum(path.stat().st_size for path in old.iterdir())
    line = f"{size:>15,} bytes  {old}\n"
    assert hpa(capsys, "data", "prune", "--list")[:2] == (
        0,
        f"{line}{size:,} bytes could be freed\n",
    )
    assert old.is_dir()
    assert hpa(capsys, "data", "prune")[:2] == (0, f"{line}{size:,} bytes freed\n")
    assert not old.exists()
    assert present.is_dir()
    assert hpa(capsys, "data", "prune")[:2] == (0, "0 bytes freed\n")


@pytest.mark.parametrize("command", ["prepare", "embedded"])
def test_data_folder_that_cannot_be_written(capsys, monkeypatch, tiny, tmp_path, command):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPA_DATA", str(tmp_path / "file" / "data"))
    options = [tiny.folder] if command == "prepare" else ["--samples", 20, "--size", 64]
    status, _, error = hpa(capsys, "data", command, *options)
    assert status == 2
    problem, remedy = error.rstrip().split("\n")
    assert problem.startswith(f"hpa: The data folder {tmp_path / 'file' / 'data'} can't be written")
    assert "HPA_DATA" in remedy


def test_a_folder_that_cannot_be_made_is_told_in_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, error = hpa(capsys, "data", "gallery", tmp_path / "file" / "below")
    problem, remedy = error.splitlines()
    assert (status, problem[:5]) == (2, "hpa: ")
    assert str(tmp_path / "file") in problem
    assert "Check that the path" in remedy


def test_synth_writes_a_dataset_that_check_accepts(capsys, tmp_path):
    folder = tmp_path / "synthetic"
    options = ("--samples", 20, "--size", 64, "--seed", 3, "--workers", 1)
    status, output, _ = hpa(capsys, "data", "synth", folder, *options)
    assert status == 0
    assert output.strip() == str(folder)
    status, output, _ = hpa(capsys, "data", "check", folder, "--json")
    assert status == 0
    assert json.loads(output)["samples"] == 20


def test_embedded_prints_where_the_dataset_lies(capsys, monkeypatch):
    monkeypatch.setattr(embedded, "write_embedded", lambda *given: given)
    assert hpa(capsys, "data", "embedded", "--samples", 20)[1] == "(20, 256, 90.0)\n"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("epochs", "3", "Parameter epochs is unknown"),
        ("batch_size", "many", "Parameter batch_size received 'many' (str)"),
        ("gradient_clip", "1e-3", "Parameter gradient_clip received '1e-3' (str)"),
        ("data", "[a", "Parameter data received '[a'"),
    ],
)
def test_execute_refuses_a_bad_parameter_before_a_kernel_starts(
    capsys, monkeypatch, tmp_path, name, value, problem
):
    def refuse(*_, **__):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(execution.papermill, "execute_notebook", refuse)
    output = tmp_path / "out.ipynb"
    status, _, error = hpa(
        capsys, "execute", "2_train_resnet", "--output", output, "-p", name, value
    )
    assert status == 2
    assert error.startswith(f"hpa: {problem}")
    assert len(error.rstrip().split("\n")) == 2
    assert not output.exists()


def test_execute_refuses_a_missing_preset(capsys, tmp_path):
    status, _, error = hpa(capsys, "execute", "1_explore", "--preset", tmp_path / "fast.yaml")
    assert status == 2
    assert "fast.yaml can't be read" in error
    assert "quick" in error


def test_execute_passes_declared_parameters_and_prints_the_run_folder(
    capsys, monkeypatch, tmp_path
):
    asked = {}

    def recorded(notebook, output, preset, overrides):
        asked.update(notebook=notebook, output=output, preset=preset, overrides=overrides)
        return tmp_path / "run"

    monkeypatch.setattr(execution, "execute", recorded)
    status, output, _ = hpa(
        capsys, "execute", "1_explore", "-p", "seed", "3", "-p", "data", "a b", "-p", "preset", "x"
    )
    assert (status, output) == (0, f"{tmp_path / 'run'}\n")
    assert asked == {
        "notebook": "1_explore", "output": Path("out.ipynb"), "preset": None,
        "overrides": {"seed": 3, "data": "a b", "preset": "x"},
    }  # fmt: skip


@pytest.fixture
def predicted(monkeypatch, tiny):
    """Name of a run whose network predicts the sample's number in hundredths for every class."""
    from hpa_lib import folder_prediction, trained_runs

    def predict(run, images, *, all_views, batch_size):
        assert (all_views, batch_size) == (False, 4)
        numbers = [int(name.rpartition("-")[2]) for name in images.ids]
        return np.repeat(np.array(numbers, np.float32)[:, None] / 100, 28, axis=1)

    monkeypatch.setattr(folder_prediction, "predict", predict)
    monkeypatch.setattr(folder_prediction, "prepare", lambda values: values.device)
    values = parameters.validate("2_train_resnet", {"all_views": False})
    run = runs.Run("2_train_resnet", values, "Title", tiny.description())
    run.write_table("history", pd.DataFrame({"epoch": [1]}))
    table = predictions.table(tiny, {"shown": [0]}, {"shown": np.full((1, 28), 0.25)})
    predictions.write(run.folder / predictions.FILE, table)
    thresholds = [0.15] + [0.2] + [0.9] * 26
    run.write_metrics({"backbone": "VGG16", "thresholds": thresholds, "never_empty": False})
    run.finish()
    assert trained_runs.load(run.name, "2_train_resnet").label == "VGG16"
    return run.name


PREDICT = ("--one-view", "--batch-size", 4, "--device", "cpu")


def test_predict_writes_probabilities_labels_and_a_submission(capsys, tiny, tmp_path, predicted):
    (tiny.folder / "sample_submission.csv").write_text(
        "Id,Predicted\nsample-20,0\nsample-03,0\nsample-15,0\n"
    )
    output, submission = tmp_path / "new" / "predictions.csv", tmp_path / "submission.csv"
    status, text, _ = hpa(
        capsys, "predict", predicted, tiny.folder / "train", *PREDICT, "--json",
        "-o", output, "--submission", submission, "--leave-out", "sample-04",
    )  # fmt: skip
    assert status == 0
    summary = json.loads(text)
    assert (summary["run"], summary["samples"], summary["device"]) == (predicted, 23, "cpu")
    assert (summary["labels"]["Nucleoplasm"], summary["without_label"]) == (9, 14)
    assert summary["files"] == [str(output), str(submission)]
    assert submission.read_text() == "Id,Predicted\nsample-20,0 1\nsample-03,\nsample-15,0\n"
    table = pd.read_csv(output, keep_default_na=False).set_index("Id")
    assert len(table) == 23
    row = table.loc["sample-20"]
    assert (row["Predicted"], row["labels"]) == ("0 1", "Nucleoplasm;Nuclear membrane")
    assert np.float32(row["Cytosol"]) == np.float32(0.2)
    assert "sample-04" not in table.index


def test_predict_ignores_labels_and_can_fill_empty_predictions(capsys, tiny, tmp_path, predicted):
    arguments = ("predict", predicted, tiny.folder, *PREDICT, "-o", tmp_path / "found.csv")
    status, text, _ = hpa(capsys, *arguments, "--never-empty")
    assert status == 0
    assert "24 samples predicted by VGG16 on cpu" in text
    assert "; 0 got no label" in text
    assert text.endswith(f"{tmp_path / 'found.csv'}\n")
    assert hpa(capsys, *arguments)[0] == 2
    status, text, _ = hpa(capsys, *arguments, "--force")
    assert (status, "; 15 got no label" in text) == (0, True)


@pytest.mark.parametrize("mistake", ["folder", "output", "same", "order", "sample", "run"])
def test_predict_refuses_what_cannot_end_well_before_it_computes(
    capsys, monkeypatch, tiny, tmp_path, predicted, mistake
):
    from hpa_lib import folder_prediction

    monkeypatch.delattr(folder_prediction, "predict")
    (tiny.folder / "sample_submission.csv").write_text("Id,Predicted\nother,0\n")
    images, output, more = tiny.folder / "train", tmp_path / "found.csv", ()
    if mistake == "folder":
        images = named = tmp_path / "absent"
    elif mistake == "output":
        output = named = tmp_path
        more = ("--force",)
    elif mistake == "same":
        named, more = output, ("--submission", output)
    elif mistake == "order":
        named, more = "'other'", ("--submission", tmp_path / "submission.csv")
    elif mistake == "sample":
        (tiny.folder / "sample_submission.csv").unlink()
        named, more = "sample_submission.csv", ("--submission", tmp_path / "submission.csv")
    else:
        predicted = named = "absent"
    status, _, error = hpa(capsys, "predict", predicted, images, "-o", output, *more)
    assert status == 2
    assert str(named) in error
    assert len(error.rstrip().split("\n")) == 2
    assert not (tmp_path / "found.csv").exists()


@pytest.fixture
def embedding_run(monkeypatch, tiny, predicted):
    """Name of a run whose network gives (1, number of the sample) as embedding."""
    from hpa_lib import folder_prediction

    def embed(run, images, *, batch_size):
        numbers = [int(name.rpartition("-")[2]) for name in images.ids]
        return np.stack([np.ones(len(numbers)), numbers], axis=1).astype(np.float32)

    monkeypatch.setattr(folder_prediction, "embed", embed)
    rows = np.arange(24)
    parts = {"training": rows[2:], "validation": rows[:1], "report": rows[1:2]}
    division = splits.Split("file", parts, tiny.fingerprint)
    splits.write(paths.runs_folder() / predicted / "split.csv", division, tiny)
    return predicted


def test_embed_then_find_what_is_similar(capsys, tiny, tmp_path, embedding_run):
    path = tmp_path / "new" / "embeddings.parquet"
    status, text, _ = hpa(capsys, "embed", embedding_run, tiny.folder, "-o", path, "--json")
    assert status == 0
    summary = json.loads(text)
    assert (summary["run"], summary["samples"], summary["features"]) == (embedding_run, 24, 2)
    similar = ("similar", path, "--count", 2)
    status, text, _ = hpa(capsys, *similar, "--id", "sample-00", "sample-03", "--json")
    assert status == 0
    found = json.loads(text)
    assert (found["run"], found["search"]) == (embedding_run, "exact")
    assert [(n["query"], n["Id"], n["part"]) for n in found["neighbours"]] == [
        ("sample-00", "sample-01", "report"), ("sample-00", "sample-02", "training"),
        ("sample-03", "sample-04", "training"), ("sample-03", "sample-05", "training"),
    ]  # fmt: skip
    assert found["neighbours"][0]["similarity"] == pytest.approx(0.5**0.5, abs=1e-6)
    assert found["neighbours"][0]["fingerprint"] == tiny.fingerprint
    status, text, _ = hpa(capsys, *similar, "--images", tiny.folder / "train")
    assert status == 0
    assert len(text.splitlines()) == 1 + 24 * 2
    assert text.splitlines()[1].split() == ["sample-00", "1", "sample-00", "1.0000", "validation"]


def test_embeddings_are_replaced_or_kept_only_as_told(capsys, tiny, tmp_path, embedding_run):
    path = tmp_path / "embeddings.parquet"
    embed = ("embed", embedding_run, tiny.folder / "train", "-o", path)
    assert hpa(capsys, *embed)[0] == 0
    status, _, error = hpa(capsys, *embed)
    assert (status, "is there already" in error) == (2, True)
    status, _, error = hpa(capsys, *embed, "--append")
    assert (status, f"of this dataset by {embedding_run} already" in error) == (2, True)
    assert hpa(capsys, *embed, "--append", "--leave-out", "sample-04")[0] == 0
    status, text, _ = hpa(capsys, "similar", path, "--id", "sample-04", "--json")
    assert (status, json.loads(text)["samples"]) == (0, 24 + 23)
    assert hpa(capsys, *embed, "--force")[0] == 0
    status, text, _ = hpa(capsys, "similar", path, "--id", "sample-04", "--json")
    assert json.loads(text)["samples"] == 24


def test_interruption_ends_with_status_130(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupt)
    status, _, error = hpa(capsys, "doctor")
    assert status == 130
    assert "interrupted" in error


def executed_notebook(path, run_name):
    metadata = {RUN_METADATA_KEY: run_name}
    output = nbformat.v4.new_output("display_data", {"text/plain": "x"}, metadata=metadata)
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_publish_without_any_run_writes_an_index(capsys):
    status, output, _ = hpa(capsys, "publish")
    assert status == 0
    index = paths.reports_folder() / "index.html"
    assert index.is_file()
    assert str(index) in output


def test_publish_keeps_an_executed_notebook_with_its_run(capsys, tmp_path):
    run = runs.Run("1_explore", parameters.validate("1_explore", {}), "Explore")
    executed = executed_notebook(tmp_path / "out.ipynb", run.name)
    status, output, _ = hpa(capsys, "publish", executed)
    assert status == 0
    assert output.startswith("1 pages written")
    assert (run.folder / execution.EXECUTED).read_text() == executed.read_text()
    assert (paths.reports_folder() / run.name / "index.html").is_file()


def test_publish_refuses_a_notebook_without_a_run(capsys, tmp_path):
    executed = executed_notebook(tmp_path / "out.ipynb", "gone")
    status, _, error = hpa(capsys, "publish", executed)
    assert status == 2
    assert f"hpa: {executed} belongs to no run" in error


@pytest.mark.parametrize("content", ["text", "[]", '{"a": 1}'])
def test_publish_refuses_a_file_that_is_no_notebook(capsys, tmp_path, content):
    path = tmp_path / "out.ipynb"
    path.write_text(content)
    status, _, error = hpa(capsys, "publish", path)
    assert status == 2
    assert f"hpa: {path} isn't a notebook" in error


def subcommands(parser, words=("hpa",)):
    """All commands below a parser, with the words that call them."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from subcommands(below, (*words, name))


COMMANDS = dict(subcommands(cli._parser()))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_a_description_and_examples_that_parse(capsys, words):
    parser = COMMANDS[words]
    assert parser.description.endswith(".")
    examples = parser.epilog.split("\n\n")[0].splitlines()
    assert examples.pop(0) in ("Example:", "Examples:")
    for example in examples:
        assert example.startswith(f"  {' '.join(words)} ") or example.strip() == " ".join(words)
        arguments = shlex.split(example.partition(" > ")[0])[1:]
        if arguments[-1] == "--help":
            with pytest.raises(SystemExit) as caught:
                cli.main(arguments)
            assert caught.value.code == 0
            assert "usage: hpa" in capsys.readouterr().out
        else:
            assert cli._parser().parse_args(arguments).action


def test_every_command_that_does_something_speaks_json():
    ends = [words for words, parser in COMMANDS.items() if parser.get_default("action")]
    assert len(ends) > 12
    for words in ends:
        assert "--json" in COMMANDS[words].format_help(), words


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"hpa {importlib.metadata.version('hpa-notebooks')}\n"


def test_json_of_commands_that_write_folders(capsys, monkeypatch, tiny, tmp_path):
    def document(*arguments):
        status, output, _ = hpa(capsys, *arguments, "--json")
        assert status == 0
        return json.loads(output)

    monkeypatch.setattr(execution, "execute", lambda *_: tmp_path / "run-1")
    assert document("execute", "1_explore") == {
        "run": "run-1", "folder": str(tmp_path / "run-1"), "notebook": "out.ipynb",
    }  # fmt: skip
    monkeypatch.setattr(embedded, "write_embedded", lambda *_: tmp_path / "embedded")
    assert document("data", "embedded") == {"folder": str(tmp_path / "embedded")}
    small = ("--samples", 20, "--size", 64, "--workers", 1)
    written = document("data", "synth", tmp_path / "synthetic", *small)
    assert written == {"folder": str(tmp_path / "synthetic")}
    prepared = document("data", "prepare", tiny.folder, "--size", 80)
    assert (Path(prepared["folder"]) / "images.npy").is_file()
    shutil.make_archive(str(tmp_path / "train"), "zip", tiny.folder / "train")
    unpacked = document("data", "unpack", tmp_path / "train.zip", tmp_path / "new")
    assert unpacked == {"folder": str(tmp_path / "new"), "written": 96, "present": 0, "nested": []}
    assert document("data", "prune") == {"removed": [], "in_use": [], "bytes": 0}
    assert document("publish") == {
        "index": str(paths.reports_folder() / "index.html"), "written": [],
    }  # fmt: skip


def test_json_of_a_refusal_is_empty_and_the_reason_stands_on_standard_error(capsys, tmp_path):
    status, output, error = hpa(capsys, "data", "check", tmp_path / "absent", "--json")
    assert (status, output) == (2, "")
    assert error.startswith("hpa: ")


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_bars_appear_on_a_terminal_alone(tmp_path, terminal):
    program = Path(sys.executable).with_name("hpa")
    options = ("--samples", "20", "--size", "64", "--workers", "1", "--json")
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [program, "data", "synth", tmp_path / "synthetic", *options],
        stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends once nobody writes to it
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert json.loads(output) == {"folder": str(tmp_path / "synthetic")}
    assert (b"20/20" in shown) == terminal
    assert (b"\r" in shown) == terminal
    assert terminal or shown == b""
