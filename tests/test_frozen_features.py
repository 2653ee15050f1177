from types import SimpleNamespace

import keras
import numpy as np
import pytest

from hpa_lib import augment, backbones, devices, feed, frozen_features, inference, models, training
from hpa_lib.parameters import TrainParameters

SIZE, BATCH = 12, 4
STAGES = (
    training.Stage("stage 1", 3, 1e-2, 0.0, "cosine", 0.5),
    training.Stage("stage 2", 2, 1e-2, 0.0),
    training.Stage("stage 3", 1, 1e-3),
)


def toy_backbone(*, weights, include_top, input_shape, name):
    inputs = keras.Input(input_shape)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(features), name=name)


@pytest.fixture
def make_trainer(array_source, monkeypatch):
    """Function that makes a trainer of a toy network on 20 random images."""
    toy = backbones.Backbone(toy_backbone, "symmetric")
    monkeypatch.setitem(backbones.BACKBONES, "Toy", toy)

    def make(folder, head="study", scaling="backbone", policy="study", mixup=0.0, **options):
        devices.prepare(TrainParameters(cpu_threads=0))
        random = np.random.default_rng(5)
        source = array_source(random.integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8))
        truth = (random.random((20, 28)) < 0.2).astype(np.uint8)
        model = models.build("Toy", SIZE, head=head, input_scaling=scaling)
        batches = feed.TrainingFeed(
            source, truth, np.arange(14), batch_size=BATCH, policy=policy, mixup=mixup
        )
        validation = training.Validation(source, truth[14:], np.arange(14, 20), BATCH)
        settings = training.Options(**options)
        predictor = inference.Predictor(model)
        made = training.Trainer(model, batches, validation, predictor, folder, settings)
        made.model, made.feed = model, batches
        return made

    return make


@pytest.mark.parametrize("policy", ["none", "study", "dihedral"])
@pytest.mark.parametrize("head", models.HEADS)
def test_training_ends_with_the_bits_of_one_that_computes_features_in_every_step(
    make_trainer, monkeypatch, tmp_path, head, policy
):
    options = {"head": head, "policy": policy, "weight_averaging": 0.9, "reestimation_batches": 2}
    (tmp_path / "kept").mkdir()
    kept = make_trainer(tmp_path / "kept", **options)
    kept.run(*STAGES)
    monkeypatch.setattr(frozen_features, "keep", lambda *given: None)
    (tmp_path / "computed").mkdir()
    computed = make_trainer(tmp_path / "computed", **options)
    computed.run(*STAGES)
    assert kept.history.equals(computed.history)
    for one, other in zip(kept.model.get_weights(), computed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_interrupted_training_ends_with_the_bits_of_an_uninterrupted_one(make_trainer, tmp_path):
    whole = make_trainer(tmp_path, policy="dihedral")
    whole.run(*STAGES)
    (tmp_path / "parts").mkdir()
    first = make_trainer(tmp_path / "parts", policy="dihedral")
    end_epoch = first._end_epoch

    def stop(*arguments):
        end_epoch(*arguments)
        if len(first.history) == 2:
            raise KeyboardInterrupt

    first._end_epoch = stop
    with pytest.raises(KeyboardInterrupt):
        first.run(*STAGES)
    second = make_trainer(tmp_path / "parts", policy="dihedral")
    second.run(*STAGES)
    assert second.history.equals(whole.history)
    for one, other in zip(whole.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_view_is_computed_once_and_the_file_is_gone(make_trainer, tmp_path, monkeypatch):
    taken = []
    whole = augment.take_views

    def take_views(images, numbers):
        taken.append(len(images))
        return whole(images, numbers)

    monkeypatch.setattr(augment, "take_views", take_views)
    made = make_trainer(tmp_path, policy="none")
    kept = frozen_features.keep(frozen(made.model), made.feed, tmp_path)
    for epoch in range(4):
        batches = list(kept.batches(epoch))
    assert len(batches) == made.feed.steps_per_epoch
    features, truth = batches[0]
    assert features.shape == (BATCH, *kept.head.input_shape[1:])
    np.testing.assert_array_equal(truth, made.feed.labels(made.feed.epoch_rows(3)[0]))
    seen = {row for epoch in range(4) for row in made.feed.epoch_rows(epoch).ravel()}
    # Three full batches in the first epoch; the two rows that it leaves out come later.
    assert len(seen) == 14
    assert 4 <= len(taken) <= 5
    assert list(tmp_path.iterdir()) == []


def frozen(model):
    models.freeze_backbone(model, True)
    return model


@pytest.mark.parametrize(
    "options", [{"scaling": "study"}, {"policy": "strong"}, {"mixup": 0.4}], ids=str
)
def test_features_that_change_are_not_kept(make_trainer, tmp_path, options, caplog):
    made = make_trainer(tmp_path, **options)
    with caplog.at_level("INFO", logger="hpa_lib"):
        assert frozen_features.keep(frozen(made.model), made.feed, tmp_path) is None
    assert "computed in every epoch" in caplog.text


def test_a_backbone_that_learns_is_not_kept(make_trainer, tmp_path):
    made = make_trainer(tmp_path)
    assert frozen_features.keep(made.model, made.feed, tmp_path) is None


@pytest.mark.parametrize("missing", [0, 1])
def test_features_take_half_of_the_free_disk_at_most(
    make_trainer, tmp_path, monkeypatch, caplog, missing
):
    made = make_trainer(tmp_path, head="average")
    needed = 20 * 8 * 4 * 4  # rows, views, features, bytes
    free = SimpleNamespace(free=2 * needed - missing)
    monkeypatch.setattr(frozen_features.shutil, "disk_usage", lambda folder: free)
    with caplog.at_level("INFO", logger="hpa_lib"):
        kept = frozen_features.keep(frozen(made.model), made.feed, tmp_path)
    assert (kept is None) == bool(missing)
    assert (str(tmp_path) in caplog.text) == bool(missing)
