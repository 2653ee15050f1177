import subprocess
import sys

import numpy as np
import pytest

from hpa_lib import parameters, paths, predictions, run_decisions, runs
from hpa_lib.errors import HpaError

THRESHOLDS = [0.5] * 27 + [0.1]


@pytest.fixture
def leave(tiny):
    """Function that leaves a finished training run behind that predicted rows 3 and 1."""

    def leave(notebook="3_train_vgg", dataset=tiny, probability=0.25, **results):
        preset = parameters.read_preset(paths.PRESETS / "smoke.yaml")
        values = parameters.validate(notebook, preset | {"data": str(tiny.folder)})
        run = runs.Run(notebook, values, "Title", dataset.description())
        given = np.full((2, 28), probability, np.float32)
        given[0, 4] = 0.75
        parts = {"report": np.array([3, 1]), "shown": np.array([3])}
        table = predictions.table(dataset, parts, {"report": given, "shown": given[:1]})
        predictions.write(run.folder / predictions.FILE, table)
        known = {"thresholds": THRESHOLDS, "never_empty": False, "split": "s" * 64}
        run.write_metrics(known | results)
        run.finish()
        return run

    return leave


def test_runs_of_the_same_dataset_newest_first(tiny, leave, labelled):
    first, second = leave("2_train_resnet"), leave("3_train_vgg")
    leave(dataset=labelled([(0,)] * 4))
    assert run_decisions.backbones(tiny) == {
        second.name: "VGG16",
        first.name: "InceptionResNetV2",
    }


def test_decisions_lie_in_the_rows_of_the_dataset(tiny, leave):
    run = leave()
    decided = run_decisions.read(run.name, tiny)
    assert np.flatnonzero(decided.predicted).tolist() == [1, 3]
    assert decided.probability[3, 4] == 0.75
    assert np.flatnonzero(decided.decisions[3]).tolist() == [4, 27]
    assert np.flatnonzero(decided.decisions[1]).tolist() == [27]
    assert not decided.decisions[0].any()
    assert (decided.backbone, decided.split) == ("VGG16", "s" * 64)


def test_no_sample_stays_without_label_where_the_run_says_so(tiny, leave):
    run = leave(thresholds=[0.5] * 28, never_empty=True)
    decided = run_decisions.read(run.name, tiny)
    assert np.flatnonzero(decided.decisions[1]).tolist() == [0]


def test_table_of_a_sample_has_what_is_true_or_given_and_then_the_likeliest(tiny, leave):
    table = run_decisions.read(leave().name, tiny).table(tiny, 3, others=2)
    # Labels of row 3 are 3 and 24, given are 4 and 27; the ratios are 1.5 for 4, 2.5 for 27.
    assert table.index.tolist() == [
        "Rods & rings",
        "Nuclear speckles",
        "Nucleoli fibrillar center",
        "Aggresome",
        "Nucleoplasm",
        "Nuclear membrane",
    ]
    assert table["label"].tolist() == [False, False, True, True, False, False]
    assert table["predicted"].tolist() == [True, True, False, False, False, False]
    assert table["probability"].tolist() == [0.25, 0.75] + [0.25] * 4
    assert table["threshold"].tolist() == [0.1] + [0.5] * 5


def test_a_run_that_cannot_be_used_is_refused(tiny, leave):
    with pytest.raises(HpaError, match="'missing'"):
        run_decisions.read("missing", tiny)
    run = leave()
    (run.folder / runs.METRICS).write_text("{}")
    with pytest.raises(HpaError, match=r"metrics\.json has changed since its run ended"):
        run_decisions.read(run.name, tiny)


def test_browsing_does_not_import_tensorflow():
    code = "import sys; from hpa_lib import image_browser; print('tensorflow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.strip() == b"False"
