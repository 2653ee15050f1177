import keras
import numpy as np
import pytest
import simulated_runs

from hpa_lib import (
    dataset,
    devices,
    models,
    notebook,
    parameters,
    paths,
    trained_runs,
    training,
)
from hpa_lib.errors import HpaError


@pytest.fixture(scope="module")
def network():
    values = parameters.validate(
        "3_train_vgg", parameters.read_preset(paths.PRESETS / "smoke.yaml")
    )
    return models.configured(values, 4)


@pytest.mark.parametrize("evaluate", ["best", "last"])
def test_the_network_has_the_weights_that_were_evaluated(leave_run, network, evaluate):
    run = leave_run(evaluate=evaluate)
    training.save_weights(
        keras.Model(network.inputs, network.outputs),
        run.folder / {"best": "best.weights.h5", "last": "last.weights.h5"}[evaluate],
    )
    for wanted, found in zip(network.get_weights(), run.network(4).get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_weights_that_are_missing_or_damaged_are_named(leave_run):
    run = leave_run()
    path = run.folder / "best.weights.h5"
    for content in (None, b"no weights"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(HpaError) as caught:
            run.network(4)
        assert str(path) in caught.value.problem


def test_its_parameters_and_images_are_those_of_the_training(leave_run, tiny):
    run = leave_run(image_size=80, composition="rgby", interpolation="area")
    assert run.values().image_size == 80
    assert run.open_source(tiny).shape == (80, 80, 4)


def test_another_dataset_is_refused(leave_run, tiny_dataset, tiny):
    run = leave_run()
    run.require_dataset(tiny)
    with pytest.raises(HpaError, match="fingerprint"):
        run.require_dataset(dataset.load(tiny_dataset, [tiny.ids[0]]))


def test_the_dataset_is_found_again_also_at_another_place(leave_run, tiny_dataset, tmp_path):
    run = leave_run()
    assert notebook.reopen_dataset(run).folder == tiny_dataset
    moved = tiny_dataset.rename(tmp_path / "moved")
    with pytest.raises(HpaError, match="tiny"):
        notebook.reopen_dataset(run)
    assert notebook.reopen_dataset(run, str(moved)).folder == moved


def test_predictions_from_one_view_are_kept_where_several_were_averaged(leave_run):
    assert leave_run(all_views=True).one_view["Id"].tolist() == ["sample-00"]
    assert leave_run(all_views=False).one_view is None


def test_labels_follow_thresholds_and_the_never_empty_rule(leave_run):
    run = leave_run()  # all probabilities are 0.25, all thresholds 0.5
    assert run.decisions("shown").tolist() == [[1] + [0] * 27]


def test_what_a_run_left_is_read_back(leave_run, tiny):
    run = leave_run(thresholds=[row / 28 for row in range(28)])
    assert run.folder.parent == paths.runs_folder()
    assert run.manifest["run"] == run.folder.name
    assert run.label == run.backbone == run.metrics["backbone"] == "VGG16"
    assert run.history.to_dict("list") == {"epoch": [1], "val_loss": [0.5]}
    np.testing.assert_allclose(run.thresholds(), np.arange(28) / 28)
    truth, probability = run.arrays("shown")
    np.testing.assert_array_equal(truth, tiny.multi_hot[:1])
    np.testing.assert_array_equal(probability, np.full((1, 28), 0.25))


def test_rows_of_a_part_are_those_of_its_dataset(leave_run, tiny, tiny_dataset):
    run = leave_run()
    assert run.rows(tiny, "shown").tolist() == [0]
    with pytest.raises(HpaError, match="fingerprint"):
        run.rows(dataset.load(tiny_dataset, [tiny.ids[0]]), "shown")


def test_rows_are_in_the_order_of_the_predictions(labelled):
    opened = labelled([(0,), (1,), (2,)])
    names = {"report": ["sample-2", "sample-0"], "validation": ["sample-1"]}
    parts = {
        part: (np.zeros((len(ids), 28), dtype=int), np.zeros((len(ids), 28)))
        for part, ids in names.items()
    }
    table = simulated_runs.predictions_of(parts).assign(Id=[*names["report"], "sample-1"])
    manifest = {"dataset": {"fingerprint": opened.fingerprint}}
    run = simulated_runs.simulated_run(table, manifest=manifest)
    assert run.rows(opened, "report").tolist() == [2, 0]


def test_device_is_prepared_to_look_at_the_network(leave_run, monkeypatch):
    given = []
    monkeypatch.setattr(
        devices, "prepare", lambda values, train: given.append((values, train)) or "a device"
    )
    run = leave_run(seed=7, device="cpu", precision="mixed")
    assert run.prepare_device() == "a device"
    [(values, train)] = given
    assert (values.device, values.precision, values.seed, train) == ("auto", "float32", 7, False)


def test_arrays_by_part_are_those_of_each_run():
    random = np.random.default_rng(0)
    truth = {part: random.integers(0, 2, (3, 28)) for part in ("threshold", "report")}
    probability = {
        label: {part: random.random((3, 28), dtype=np.float32) for part in truth}
        for label in ("one", "other")
    }
    trained = [
        simulated_runs.simulated_run(
            simulated_runs.predictions_of({part: (truth[part], mine[part]) for part in truth}),
            label=label,
        )
        for label, mine in probability.items()
    ]
    found_truth, found = trained_runs.arrays_by_part(trained, "report", "threshold")
    assert list(found_truth) == ["report", "threshold"]
    for part in truth:
        np.testing.assert_array_equal(found_truth[part], truth[part])
        for label, mine in probability.items():
            np.testing.assert_array_equal(found[label][part], mine[part])
