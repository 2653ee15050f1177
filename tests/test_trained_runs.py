import keras
import numpy as np
import pytest

from hpa_lib import (
    dataset,
    models,
    notebook,
    parameters,
    paths,
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
