import logging
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from hpa_lib import (
    backbones,
    devices,
    feed,
    inference,
    models,
    runs,
    schedules,
    splits,
    study_metrics,
    training,
)
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters, VggParameters

SIZE = 12
FIRST = training.Stage("stage 1", 1, 1e-3, backbone_rate=0.0)
SECOND = training.Stage("stage 2", 2, 1e-3)
COLUMNS = [
    "epoch", "stage", "learning_rate",
    "loss", "binary_accuracy", "batch_averaged_f1",
    "val_loss", "val_binary_accuracy", "val_batch_averaged_f1", "val_micro_f1", "val_macro_f1",
]  # fmt: skip


def toy_backbone(*, weights, include_top, input_shape, name):
    """A convolution and a batch normalization in place of a deep backbone."""
    assert weights is None
    assert not include_top
    inputs = keras.Input(input_shape)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="toy_conv")(inputs)
    normalized = keras.layers.BatchNormalization(name="toy_normalization")(features)
    return keras.Model(inputs, normalized, name=name)


class RecordingTrainer(training.Trainer):
    """Keeps the network's weights after each epoch."""

    def _end_epoch(self, *arguments):
        super()._end_epoch(*arguments)
        self.recorded = [*getattr(self, "recorded", []), self._model.get_weights()]


@pytest.fixture(scope="module")
def make_trainer(array_source):
    """Function that makes a trainer of a toy network on 20 random images."""

    def make(folder, seed=0, **options):
        devices.prepare(TrainParameters(seed=seed, cpu_threads=0))
        random = np.random.default_rng(5)
        pixels = random.integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.float32)
        truth = (random.random((20, 28)) < 0.2).astype(np.uint8)
        source = array_source(pixels)
        model = models.build("Toy", SIZE)
        batches = feed.TrainingFeed(
            source, truth, np.arange(14), batch_size=4, policy="study", seed=seed
        )
        validation = training.Validation(source, truth[14:], np.arange(14, 20), 4)
        predictor = inference.Predictor(model)
        made = RecordingTrainer(
            model, batches, validation, predictor, folder, training.Options(**options)
        )
        made.model, made.predictor, made.validation = model, predictor, validation
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "Toy", backbones.Backbone(toy_backbone, "symmetric"))
        yield make


@pytest.fixture
def trainer(make_trainer, tmp_path):
    """A trainer that has done nothing yet."""
    return make_trainer(tmp_path)


@pytest.fixture(scope="module")
def trained(make_trainer, tmp_path_factory):
    """A trainer after both stages, for tests that only look."""
    folder = tmp_path_factory.mktemp("trained")
    made = make_trainer(folder)
    made.run(FIRST)
    made.run(SECOND)
    made.folder = folder
    return made


def test_history_has_a_row_an_epoch(trained):
    history = trained.history
    assert list(history.columns) == COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["stage"].tolist() == ["stage 1", "stage 2", "stage 2"]
    assert np.isfinite(history[COLUMNS[3:]].to_numpy()).all()
    assert history[COLUMNS[4:6] + COLUMNS[7:]].to_numpy().min() >= 0
    assert history[COLUMNS[4:6] + COLUMNS[7:]].to_numpy().max() <= 1
    assert trained.samples_seen == 3 * 3 * 4  # epochs × full batches of 14 rows × batch size


def test_the_network_is_traced_once_for_training_and_once_for_validation(trainer, monkeypatch):
    layer = trainer.model.get_layer(models.BACKBONE_LAYER).get_layer("toy_conv")
    traced, call = [], layer.call
    monkeypatch.setattr(layer, "call", lambda images: traced.append(images) or call(images))
    trainer.run(SECOND)
    trainer.run(replace(SECOND, name="stage 3"))
    assert len(trainer.history) == 2 * SECOND.epochs
    assert len(traced) == 2


def test_validation_figures_are_those_of_the_whole_validation_set(make_trainer, tmp_path):
    made = make_trainer(tmp_path)
    made.run(SECOND)
    last, truth = made.history.iloc[-1], made.validation.truth
    probability = made.predictor(made.validation.source, made.validation.rows)
    loss = keras.losses.binary_crossentropy(truth.astype("f4"), probability).numpy().mean()
    assert last["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert last["val_binary_accuracy"] == pytest.approx(((probability >= 0.5) == truth).mean())
    assert last["val_batch_averaged_f1"] == pytest.approx(
        study_metrics.batch_averaged_f1(truth, probability, 4)
    )


def test_best_weights_are_loaded_when_later_epochs_are_worse(trainer):
    made = trainer
    made.run(training.Stage("good", 3, 1e-3))
    made.run(training.Stage("ruin", 2, 1.0))
    losses = made.history["val_loss"]
    best = int(losses.idxmin())
    assert best < 3
    assert losses.iloc[-1] > losses[best] + 0.1

    assert made.restore("best") == best + 1
    for wanted, found in zip(made.recorded[best], made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    different = zip(made.recorded[-1], made.model.get_weights(), strict=True)
    assert any((found != last).any() for last, found in different)
    # The predictor that the evaluation uses sees them.
    probability = made.predictor(made.validation.source, made.validation.rows)
    loss = training.binary_crossentropy(made.validation.truth, probability)
    assert loss == pytest.approx(losses[best], abs=1e-7)


def test_a_stage_ends_early_without_a_lower_validation_loss(make_trainer, tmp_path):
    made = make_trainer(tmp_path, early_stopping=2)
    stage = training.Stage("ruin", 30, 0.5)
    made.run(stage)
    losses = made.history["val_loss"].tolist()
    assert 3 <= len(losses) < 30
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert made.has_ended(stage)
    made.run(stage)  # as after an interruption
    assert len(made.history) == len(losses)
    assert not made.has_ended(SECOND)


def test_averaged_weights_are_validated_saved_and_evaluated(make_trainer, tmp_path):
    plain, averaged = (
        make_trainer(tmp_path / name, **options)
        for name, options in (("plain", {}), ("averaged", {"weight_averaging": 0.99}))
    )
    for made in (plain, averaged):
        made.run(SECOND)
    # The same batches and steps: the training figures agree, those of the averages don't.
    assert plain.history["loss"].tolist() == averaged.history["loss"].tolist()
    assert plain.history["val_loss"].tolist() != averaged.history["val_loss"].tolist()
    for which in ("last", "best"):
        epoch = averaged.restore(which)
        validation = averaged.validation
        probability = averaged.predictor(validation.source, validation.rows)
        loss = training.binary_crossentropy(validation.truth, probability)
        assert loss == pytest.approx(averaged.history["val_loss"][epoch - 1], abs=1e-7)


def test_accumulated_gradients_are_those_of_a_larger_batch():
    random = np.random.default_rng(0)
    values, truth = random.random((8, 5), np.float32), np.eye(8, 28, dtype=np.float32)

    def trained_weights(batch_size, accumulation):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,))
        backbone = keras.Model(inputs, inputs, name=models.BACKBONE_LAYER)
        outputs = keras.layers.Dense(28, activation="sigmoid")(backbone(inputs))
        model = keras.Model(inputs, outputs)
        options = training.Options(gradient_accumulation=accumulation)
        training.compile_network(model, training.Stage("all", 1, 0.1), options)
        for _ in range(3):
            for start in range(0, 8, batch_size):
                rows = slice(start, start + batch_size)
                model.train_on_batch(values[rows], truth[rows])
        return model.get_weights()

    for wanted, found in zip(trained_weights(8, 1), trained_weights(4, 2), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_best_weights_fit_a_new_network(trained):
    best = int(trained.history["val_loss"].argmin())
    fresh = models.build("Toy", SIZE)
    keras.Model(fresh.inputs, fresh.outputs).load_weights(trained.folder / training.BEST_WEIGHTS)
    for wanted, found in zip(trained.recorded[best], fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_last_weights_stay_where_the_study_s_way_is_wanted(trainer, tmp_path):
    made = trainer
    made.run(training.Stage("good", 1, 1e-3))
    made.run(training.Stage("ruin", 1, 1.0))
    assert made.restore("last") == 2
    for wanted, found in zip(made.recorded[-1], made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    fresh = models.build("Toy", SIZE)
    keras.Model(fresh.inputs, fresh.outputs).load_weights(tmp_path / runs.LAST_WEIGHTS)
    for wanted, found in zip(made.recorded[-1], fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_weight_file_holds_weights_and_no_optimizer(trained):
    entries = {}
    with h5py.File(trained.folder / training.BEST_WEIGHTS) as file:
        file.visititems(
            lambda name, entry: (
                entries.update({name: entry.size}) if isinstance(entry, h5py.Dataset) else None
            )
        )
    seeds = {name: size for name, size in entries.items() if "seed" in name}
    assert not [name for name in entries if "optimizer" in name]
    assert sum(entries.values()) - sum(seeds.values()) == trained.model.count_params()


def test_no_half_written_weight_file_is_left(trained):
    names = {path.name for path in trained.folder.iterdir()}
    assert names == {training.BEST_WEIGHTS, training.STATE}


def test_frozen_stage_leaves_the_backbone_alone_with_its_moving_statistics(trainer):
    made = trainer
    backbone = made.model.get_layer("backbone")
    before, head = backbone.get_weights(), made.model.get_layer("hidden").get_weights()
    made.run(FIRST)
    assert len(before) == 6  # kernel, bias, scale, offset, moving mean, moving variance
    for kept, found in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(found, kept)
    assert (made.model.get_layer("hidden").get_weights()[0] != head[0]).any()
    made.run(SECOND)
    for kept, found in zip(before, backbone.get_weights(), strict=True):
        assert (found != kept).any()


@pytest.mark.parametrize("freeze", [False, True])
def test_each_stage_starts_with_a_new_adam(trainer, freeze):
    made = trainer
    made.run(training.Stage("stage 1", 1, 1e-2, backbone_rate=0.0 if freeze else 1.0))
    made.run(training.Stage("stage 2", 2, 1e-4))
    assert int(made.model.optimizer.iterations) == 2 * 3
    assert float(made.model.optimizer.learning_rate) == pytest.approx(1e-4)
    assert made.history["learning_rate"].tolist() == [1e-2, 1e-4, 1e-4]


def test_learning_rate_follows_its_schedule_step_by_step(trainer):
    made = trainer
    made.run(training.Stage("all", 3, 1e-3, 1.0, "cosine", 0.5))
    steps = made._feed.steps_per_epoch
    assert steps == 3
    wanted = schedules.learning_rates(1e-3, 9, "cosine", 2)  # half of three steps, rounded
    np.testing.assert_allclose(made.history["learning_rate"], wanted[2::3])
    np.testing.assert_allclose(made.model.optimizer.learning_rate, wanted[-1], rtol=1e-6)


def test_the_backbone_has_its_share_of_the_learning_rate(trainer):
    model = trainer.model
    training.compile_network(model, training.Stage("all", 1, 1e-2, backbone_rate=0.1))
    backbone = model.get_layer(backbones.BACKBONE_LAYER)
    layers = (backbone.get_layer("toy_conv"), model.get_layer("probabilities"))
    before = [layer.kernel.numpy() for layer in layers]
    random = np.random.default_rng(0)
    model.train_on_batch(random.uniform(0, 255, (4, SIZE, SIZE, 3)), np.ones((4, 28), "f4"))
    moved = [np.abs(layer.kernel.numpy() - old) for layer, old in zip(layers, before, strict=True)]
    np.testing.assert_allclose([step.max() for step in moved], [1e-3, 1e-2], rtol=0.05)


def test_each_epoch_is_reported(trainer, caplog):
    made = trainer
    with caplog.at_level(logging.INFO, logger="hpa_lib"):
        made.run(SECOND)
    lines = [record.getMessage() for record in caplog.records if "epoch" in record.getMessage()]
    assert [line.split(":")[0] for line in lines] == [
        "Stage 2, epoch 1 of 2", "Stage 2, epoch 2 of 2",
    ]  # fmt: skip
    assert "(the best yet)" in lines[0]
    assert f"{made.history['val_loss'][1]:.4f}" in lines[1]


def assert_refuses(made, name, folder):
    with pytest.raises(HpaError) as caught:
        made.run(SECOND)
    assert caught.value.problem == f"After epoch 1 (stage 2) {name} is nan."
    assert "learning_rate in stages" in caught.value.remedy
    assert made.history.empty
    assert not list(folder.iterdir())


def test_training_loss_that_is_no_number_is_refused(trainer, tmp_path):
    made = trainer
    made.model.get_layer("probabilities").bias.assign(np.full(28, np.nan))
    assert_refuses(made, "loss", tmp_path)


def test_validation_loss_that_is_no_number_is_refused(trainer, tmp_path):
    made = trainer
    made._predictor = lambda _, rows: np.full((len(rows), 28), np.nan, np.float32)
    assert_refuses(made, "val_loss", tmp_path)


def test_same_seed_gives_the_same_bits(make_trainer, tmp_path):
    def trained_with(seed, name):
        made = make_trainer(tmp_path / name, seed)
        made.run(SECOND)
        return made

    first, again, other = trained_with(3, "a"), trained_with(3, "b"), trained_with(4, "c")
    assert first.history.equals(again.history)
    for wanted, found in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (first.history["loss"] != other.history["loss"]).all()


def test_keras_metric_is_the_study_s_averaged_over_batches():
    random = np.random.default_rng(0)
    truth = (random.random((40, 28)) < 0.2).astype("f4")
    probability = random.random((40, 28)).astype("f4")
    probability[:10] = 0  # a batch without any decision counts as 0
    values = [
        float(training.batch_averaged_f1(tf.constant(truth[rows]), tf.constant(probability[rows])))
        for rows in np.split(np.arange(40), 4)
    ]
    assert values[0] == 0
    assert np.mean(values) == pytest.approx(
        study_metrics.batch_averaged_f1(truth, probability, 10), abs=1e-6
    )


def test_cross_entropy_is_keras_s_and_stays_finite():
    random = np.random.default_rng(0)
    truth = (random.random((6, 28)) < 0.3).astype("f4")
    probability = random.random((6, 28)).astype("f4")
    wanted = keras.losses.binary_crossentropy(truth, probability).numpy().mean()
    assert training.binary_crossentropy(truth, probability) == pytest.approx(wanted, rel=1e-5)
    assert training.binary_crossentropy(truth, 1 - truth) == pytest.approx(-np.log(1e-7))
    assert training.binary_crossentropy(truth, truth) == pytest.approx(1e-7, rel=1e-6)


def test_stages_follow_the_parameters():
    values = TrainParameters(
        stages=[
            {"epochs": 4, "learning_rate": 0.5, "backbone_rate": 0.0},
            {"epochs": 7, "learning_rate": 0.25, "backbone_rate": 0.1},
            {"epochs": 1, "learning_rate": 0.125},
        ],
        learning_rate_schedule="constant",
        warmup_epochs=1.5,
    )
    assert training.stages(values) == [
        training.Stage("stage 1", 4, 0.5, 0.0, "constant", 1.5),
        training.Stage("stage 2", 7, 0.25, 0.1, "constant", 1.5),
        training.Stage("stage 3", 1, 0.125, 1.0, "constant", 1.5),
    ]


def test_vgg_can_have_stages_of_its_own():
    stages = [{"epochs": 4, "learning_rate": 0.5}]
    own = [{"epochs": 2, "learning_rate": 0.5}]
    assert training.stages(VggParameters(stages=stages))[0].epochs == 4
    assert training.stages(VggParameters(stages=stages, vgg_stages=own))[0].epochs == 2


def test_validation_is_the_whole_part_or_drawn_once_with_replacement(labelled):
    opened = labelled([(row % 28,) for row in range(100)])
    division = splits.stratified_split(opened)
    part = division.parts["validation"]
    values = TrainParameters(batch_size=24)
    everything = training.open_validation(None, opened, division, values)
    np.testing.assert_array_equal(everything.rows, part)
    np.testing.assert_array_equal(everything.truth, opened.multi_hot[part])
    assert everything.batch_size == 24

    values = TrainParameters(validation_draws=256, seed=1)
    drawn, again = (training.open_validation(None, opened, division, values) for _ in range(2))
    assert len(drawn.rows) == 256
    assert set(drawn.rows) <= set(part)
    np.testing.assert_array_equal(drawn.rows, again.rows)
    np.testing.assert_array_equal(drawn.truth, opened.multi_hot[drawn.rows])


def test_a_tuned_threshold_rule_needs_a_threshold_part(labelled):
    opened = labelled([(row % 28,) for row in range(100)])
    division = splits.study_split(opened)
    with pytest.raises(HpaError, match=r"threshold_rule is 'matched'.* has no threshold part"):
        training.open_validation(None, opened, division, TrainParameters(threshold_rule="matched"))
    fixed = TrainParameters(threshold_rule="0.5")
    assert len(training.open_validation(None, opened, division, fixed).rows) == 80


@pytest.mark.parametrize(
    ("stage", "wanted"),
    [
        (
            training.Stage("stage 1", 9, 3e-4, 1.0, "cosine", 0.5),
            "Stage 1: 9 epochs with a learning rate of 0.0003 after a warm-up of 0.5, falling to "
            "0 along a cosine.",
        ),
        (
            training.Stage("stage 2", 9, 3e-4, 0.0),
            "Stage 2: 9 epochs with a learning rate of 0.0003; the backbone stays as it is.",
        ),
        (
            training.Stage("stage 2", 9, 3e-4, 0.1),
            "Stage 2: 9 epochs with a learning rate of 0.0003; 0.1 times that for the backbone.",
        ),
    ],
)
def test_a_stage_says_what_it_does(stage, wanted):
    assert stage.sentence() == wanted


def test_used_up_memory_names_what_to_lower(trainer, monkeypatch):
    def full(iterator):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(
        trainer.model, "make_train_function", lambda: setattr(trainer.model, "train_function", full)
    )
    with pytest.raises(HpaError, match=r"batches of 4 images of \d+ pixels") as caught:
        trainer.run(SECOND)
    assert "batch_size" in caught.value.remedy


def stop_after(made, epochs):
    """Let a trainer end as if it were interrupted after so many epochs."""
    whole = made._end_epoch

    def _end_epoch(*arguments):
        whole(*arguments)
        if len(made.history) == epochs:
            raise KeyboardInterrupt

    made._end_epoch = _end_epoch


def train(made, stages):
    for stage in stages:
        made.run(stage)
    return made


@pytest.mark.parametrize(
    ("epochs", "which", "freeze"),
    [(1, "best", True), (2, "last", True), (3, "best", False), (5, "last", False)],
)
def test_interrupted_training_ends_with_the_bits_of_an_uninterrupted_one(
    make_trainer, tmp_path, epochs, which, freeze
):
    """Interrupted within a stage, between the two, and after the last epoch."""
    stages = [
        training.Stage("stage 1", 2, 1e-2, 0.0 if freeze else 1.0, "cosine", 0.5),
        training.Stage("stage 2", 3, 1e-3, 1.0, "cosine", 0.5),
    ]
    whole = train(make_trainer(tmp_path / "whole"), stages)
    first = make_trainer(tmp_path / "parts")
    stop_after(first, epochs)
    with pytest.raises(KeyboardInterrupt):
        train(first, stages)
    second = train(make_trainer(tmp_path / "parts"), stages)
    assert second.history.equals(whole.history)
    assert second.restore(which) == whole.restore(which)
    for wanted, found in zip(whole.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_damaged_state_is_refused_by_name(make_trainer, tmp_path):
    made = make_trainer(tmp_path)
    made.run(FIRST)
    state = tmp_path / training.STATE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(HpaError, match=r"state\.npz") as caught:
        make_trainer(tmp_path)
    assert "Remove the file" in caught.value.remedy
