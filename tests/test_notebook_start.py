import logging
import random
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from hpa_lib import embedded, files, notebook, parameters, paths, runs
from hpa_lib.errors import HpaError


@pytest.fixture(autouse=True)
def own_logger():
    """`start` sends the library's log to the cell's output; undo that afterwards."""
    logger = logging.getLogger("hpa_lib")
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def shell(monkeypatch):
    """An IPython shell that the notebook functions take for theirs."""
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    monkeypatch.setattr(notebook, "get_ipython", lambda: made)
    return made


def namespace(name, **changed):
    """What a notebook's globals hold after its parameters cell."""
    return {"__name__": "__main__", **parameters.validate(name, {}).model_dump(), **changed}


@pytest.mark.parametrize("name", paths.NOTEBOOK_NAMES)
def test_start_takes_the_notebook_s_own_parameters(name):
    checked = notebook.start(name, namespace(name, seed=3, unrelated="x"))
    assert type(checked) is parameters.MODELS[name]
    assert checked.seed == 3


@pytest.mark.parametrize("name", paths.NOTEBOOK_NAMES)
def test_every_notebook_has_a_title(name):
    assert notebook.TITLES[name]


def test_start_refuses_a_wrong_type():
    with pytest.raises(HpaError, match="Parameter batch_size received 'many'"):
        notebook.start("2_train_resnet", namespace("2_train_resnet", batch_size="many"))


def test_start_refuses_an_unknown_parameter_that_papermill_injected():
    cells = ["", "seed: int = 0", "# Parameters\nseed = 1\nepochs = 3\n", "x = 5"]
    with pytest.raises(HpaError, match="Parameter epochs is unknown") as caught:
        notebook.start("2_train_resnet", namespace("2_train_resnet", In=cells, epochs=3))
    assert "stages: [{epochs: 9," in caught.value.remedy


def test_start_leaves_names_of_other_cells_and_notebooks_alone():
    cells = ["", "anything = 1", "# Parameters\nbatch_size = 3\n"]
    notebook.start("1_explore", namespace("1_explore", In=cells, anything=1))


def test_start_seeds_the_global_generators():
    def drawn(seed):
        notebook.start("1_explore", namespace("1_explore", seed=seed))
        return random.random(), np.random.random()

    assert drawn(1) == drawn(1)
    assert drawn(1)[0] != drawn(2)[0]
    assert drawn(1)[1] != drawn(2)[1]


def test_start_shows_the_library_s_log_once(capsys):
    for _ in range(2):
        notebook.start("1_explore", namespace("1_explore"))
    logging.getLogger("hpa_lib.training").info("Stage 1, epoch 1")
    logging.getLogger("hpa_lib.training").debug("not shown")
    assert capsys.readouterr().out == "Stage 1, epoch 1\n"


def test_open_dataset_opens_the_folder_given(tiny_dataset):
    values = parameters.validate("1_explore", {"data": str(tiny_dataset)})
    assert notebook.open_dataset(values).folder == tiny_dataset


def test_open_dataset_without_a_folder_writes_the_synthetic_one(
    monkeypatch, write_dataset, tmp_path
):
    asked = []

    def written(samples, size, micrometres):
        asked.append((samples, size, micrometres))
        return write_dataset(tmp_path / "synthetic", samples=samples)

    monkeypatch.setattr(embedded, "write_embedded", written)
    values = parameters.validate(
        "1_explore", {"synthetic_samples": 21, "synthetic_size": 64, "synthetic_micrometres": 50.0}
    )
    assert len(notebook.open_dataset(values)) == 21
    assert asked == [(21, 64, 50.0)]


def test_open_dataset_names_the_parameter_when_the_folder_is_missing():
    values = parameters.validate("1_explore", {"data": "/does/not/exist"})
    with pytest.raises(HpaError, match=r"/does/not/exist \(parameter data\)"):
        notebook.open_dataset(values)


def open_run(tiny=None, **changed):
    values = parameters.validate("1_explore", changed)
    return notebook.open_run("1_explore", values, tiny)


def test_open_run_ties_the_output_to_the_run_folder(monkeypatch, tiny):
    shown = []
    monkeypatch.setattr(notebook, "display", lambda data, **options: shown.append((data, options)))
    run = open_run(tiny)
    [(data, options)] = shown
    assert options["metadata"] == {notebook.RUN_METADATA_KEY: run.name}
    assert run.name in data["text/markdown"]
    manifest = runs.read_manifest(run.folder)
    assert manifest["title"] == "Explore the dataset"
    assert manifest["dataset"] == tiny.description()


def status(run):
    manifest = files.read_json(run.folder / runs.MANIFEST)
    return manifest["status"], manifest["reason"]


def test_cell_that_fails_marks_the_run_as_failed(shell, capsys):
    run = open_run()
    shell.run_cell("1 + 1")
    assert status(run) == ("running", None)
    shell.run_cell("raise ValueError('too bad')")
    assert status(run) == ("failed", "ValueError: too bad")


@pytest.mark.parametrize(
    ("begun", "expected"), [(True, "after its last finished epoch"), (False, "it begins anew")]
)
def test_cell_that_is_interrupted_marks_the_run_and_says_how_to_go_on(
    shell, capsys, monkeypatch, begun, expected
):
    said = []
    monkeypatch.setattr(notebook, "say", said.append)
    run = open_run()
    if begun:
        (run.folder / runs.STATE).touch()
    shell.run_cell("raise KeyboardInterrupt")
    assert status(run)[0] == "interrupted"
    assert len(said) == 1
    assert expected in said[0]
    assert run.name in said[0]


def test_failure_after_the_end_leaves_a_complete_run_complete(shell, capsys):
    run = open_run()
    run.write_metrics({})
    run.finish()
    shell.run_cell("raise ValueError('too bad')")
    assert status(run) == ("complete", None)


def test_only_the_newest_run_is_watched(shell, capsys):
    first, second = open_run(seed=1), open_run(seed=2)
    shell.run_cell("raise ValueError('too bad')")
    assert status(first)[0] == "running"
    assert status(second)[0] == "failed"


def test_mistakes_of_the_user_are_shown_without_a_traceback(shell, capsys):
    shell.run_cell("from hpa_lib.errors import HpaError\nraise HpaError('A is wrong.', 'Mend A.')")
    text = "".join(capsys.readouterr())
    assert "HpaError: A is wrong.\nWhat to do: Mend A." in text
    assert "Traceback" not in text


def test_say_joins_sentences(monkeypatch):
    shown = []
    monkeypatch.setattr(notebook, "display", shown.append)
    notebook.say("One.", "Two.")
    assert shown[0].data == "One. Two."
    long = "Word " * 60 + "end."
    notebook.say(long, long)
    assert shown[1].data == f"- {long}\n- {long}"


def test_paths_can_be_set_from_outside(monkeypatch, tmp_path):
    assert paths.data_folder() == Path(paths.os.environ["HPA_DATA"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPA_RUNS", "here")
    assert paths.runs_folder() == tmp_path / "here"
    monkeypatch.setenv("HPA_REPORTS", "")
    assert paths.reports_folder() == paths.PROJECT_ROOT / "reports"
    monkeypatch.setenv("KERAS_HOME", "/keras")
    assert paths.keras_weights_folder() == Path("/keras/models")


@pytest.mark.parametrize("on_kaggle", [True, False])
def test_read_only_checkout_writes_elsewhere(monkeypatch, tmp_path, on_kaggle):
    kaggle = tmp_path / "kaggle"
    if on_kaggle:
        kaggle.mkdir()
    monkeypatch.setattr(paths, "KAGGLE_WORKING", kaggle)
    access = paths.os.access
    monkeypatch.setattr(
        paths.os, "access", lambda path, mode: path != paths.PROJECT_ROOT and access(path, mode)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPA_RUNS")
    assert paths.runs_folder() == (kaggle if on_kaggle else tmp_path) / "runs"
    assert paths.data_folder() == Path(paths.os.environ["HPA_DATA"])


def test_open_dataset_leaves_out_and_finds_the_competition(monkeypatch, tiny_dataset):
    monkeypatch.setattr(notebook.layouts, "data_path", {"kaggle": tiny_dataset}.get)
    values = parameters.validate("1_explore", {"data": "kaggle", "leave_out": "sample-03"})
    opened = notebook.open_dataset(values)
    assert (len(opened), opened.left_out) == (23, ("sample-03",))
