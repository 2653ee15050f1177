"""Train a network in stages, and keep the weights of its best epoch."""

import itertools
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import (
    devices,
    files,
    frozen_features,
    labels,
    losses,
    metrics,
    models,
    optimizers,
    schedules,
    study_metrics,
    thresholds,
    training_state,
)
from hpa_lib.backend import keras, tf
from hpa_lib.batch_normalization import Reestimator
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.feed import ImageSource, TrainingFeed
from hpa_lib.frozen_features import FrozenFeatures
from hpa_lib.inference import Predictor
from hpa_lib.parameters import TrainParameters
from hpa_lib.runs import BEST_WEIGHTS, LAST_WEIGHTS, NEXT_WEIGHTS, STATE
from hpa_lib.splits import Split
from hpa_lib.weight_averages import WeightAverage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One part of training, with an optimizer state of its own.

    Attributes:
        name: Name in the history, such as ``"stage 1"``.
        epochs: Number of epochs, at least 1.
        learning_rate: Highest learning rate of Adam.
        backbone_rate: Share of the learning rate that the backbone's weights have, from 0 to 1;
            with 0 they stay as they are, and its batch normalization is in inference mode.
        schedule: One of `schedules.SCHEDULES`.
        warmup_epochs: Epochs in which the learning rate rises to its peak; may be a fraction.
    """

    name: str
    epochs: int
    learning_rate: float
    backbone_rate: float = 1.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0

    def sentence(self) -> str:
        """What the stage does, in words."""
        words = [f"{self.name.capitalize()}: {self.epochs} epochs"]
        words.append(f" with a learning rate of {self.learning_rate:.2g}")
        if self.warmup_epochs:
            words.append(f" after a warm-up of {self.warmup_epochs:g}")
        if self.schedule == "cosine":
            words.append(", falling to 0 along a cosine")
        if self.backbone_rate == 0:
            words.append("; the backbone stays as it is")
        elif self.backbone_rate < 1:
            words.append(f"; {self.backbone_rate:g} times that for the backbone")
        return "".join(words) + "."


def stages(values: TrainParameters) -> list[Stage]:
    """The stages that a training notebook's parameters describe, in their order."""
    return [
        Stage(
            f"stage {number}",
            stage.epochs,
            stage.learning_rate,
            stage.backbone_rate,
            values.learning_rate_schedule,
            values.warmup_epochs,
        )
        for number, stage in enumerate(getattr(values, "vgg_stages", None) or values.stages, 1)
    ]


@dataclass(frozen=True)
class Options:
    """How a network is trained, whatever the stage.

    Attributes:
        reestimation_batches: Training batches over which the statistics of batch normalization
            are averaged anew before each validation; 0 keeps the moving averages, as the study
            did. See `batch_normalization.Reestimator`.
        loss: One of `losses.LOSSES`.
        label_smoothing: See `losses.create`.
        weight_averaging: Decay of averages of the weights, which are validated, saved and
            evaluated in place of the weights; 0 for none. See `weight_averages`.
        gradient_clip: Largest norm of all gradients together; 0 for no limit.
        gradient_accumulation: Batches whose gradients are averaged for one update.
        early_stopping: Epochs without a lower validation loss after which a stage ends; 0 for
            never.
    """

    reestimation_batches: int = 0
    loss: str = "binary_crossentropy"
    label_smoothing: float = 0.0
    weight_averaging: float = 0.0
    gradient_clip: float = 0.0
    gradient_accumulation: int = 1
    early_stopping: int = 0


def options(values: TrainParameters) -> Options:
    """The options that a training notebook's parameters name."""
    return Options(**{field.name: getattr(values, field.name) for field in fields(Options)})


@dataclass(frozen=True)
class Validation:
    """What the checkpoint is chosen on.

    Attributes:
        source: Where images come from.
        truth: Labels of the rows, shape (rows, 28).
        rows: Row numbers; a row may be drawn more than once.
        batch_size: Batch size of the study's batch-averaged metric.
    """

    source: ImageSource
    truth: np.ndarray
    rows: np.ndarray
    batch_size: int


def open_validation(
    source: ImageSource, dataset: Dataset, division: Split, values: TrainParameters
) -> Validation:
    """The validation part, or `validation_draws` rows of it drawn once with replacement.

    The latter is the study's way.

    Raises:
        HpaError: If the threshold rule needs a threshold part and the split has none.
    """
    rule = values.threshold_rule
    if rule not in thresholds.FIXED_RULES and not len(division.parts["threshold"]):
        raise HpaError(
            f"Parameter threshold_rule is {rule!r}, but split {division.protocol!r} has no "
            "threshold part to tune on.",
            f"Set threshold_rule to {' or '.join(thresholds.FIXED_RULES)}, or split to "
            "'stratified'.",
        )
    rows = division.parts["validation"]
    if values.validation_draws:
        rows = np.random.default_rng(values.seed).choice(rows, values.validation_draws)
    return Validation(source, dataset.multi_hot[rows], rows, values.batch_size)


def batch_averaged_f1(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """The study's F1 of one batch as a Keras metric, which Keras averages over batches.

    Equal to `study_metrics.batch_averaged_f1`; not comparable with a set-level F1.
    """
    ops, epsilon = keras.ops, keras.backend.epsilon()
    y_true, y_pred = devices.gather(y_true), devices.gather(y_pred)
    true_positives = ops.sum(ops.round(ops.clip(y_true * y_pred, 0, 1)))
    recall = true_positives / (ops.sum(ops.round(ops.clip(y_true, 0, 1))) + epsilon)
    precision = true_positives / (ops.sum(ops.round(ops.clip(y_pred, 0, 1))) + epsilon)
    return 2 * precision * recall / (precision + recall + epsilon)


def binary_crossentropy(truth: np.ndarray, probability: np.ndarray) -> float:
    """Mean binary cross-entropy over samples and classes, in nats, as Keras computes it.

    Probabilities are kept at least 1e-7 away from 0 and 1.
    """
    kept = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(truth > 0, np.log(kept), np.log1p(-kept))))


class Watcher:
    """Looks on while a network is trained; see `watching` for those that do something."""

    def steps(self, done: int, total: int) -> None:
        """Called before the first step and after each.

        Args:
            done: Steps done, those before an interruption among them.
            total: Steps of all stages, without those that early stopping has saved.
        """

    def epochs(self, history: pd.DataFrame) -> None:
        """Called after each epoch, and before the first step where some are done.

        Args:
            history: See `Trainer.history`; at least one row.
        """

    def end(self) -> None:
        """Called when the training has ended in any way."""


class Trainer:
    """Trains a network stage by stage; keeps the history and the weights of the best epoch.

    Each stage starts with a new Adam. After each epoch the whole validation set is predicted,
    the weights with the lowest validation loss so far are saved as `BEST_WEIGHTS`, and all that
    is needed to go on as `STATE`. A trainer that finds such a file in its folder goes on after
    the last finished epoch, and ends with the same bits as one that was never interrupted.

    Args:
        model: Network from `models.build`.
        feed: Training batches.
        validation: What the checkpoint is chosen on.
        predictor: Forward pass of the same model.
        folder: Where weights and state are written. What lies there must come from the same
            parameters, data and code, for which `runs.Run` sees.
        options: Everything else.
        watchers: Who is told of each step and epoch.

    Raises:
        HpaError: If there is a state of an interrupted training that can't be read.
    """

    def __init__(
        self,
        model: keras.Model,
        feed: TrainingFeed,
        validation: Validation,
        predictor: Predictor,
        folder: Path,
        options: Options = Options(),
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._model = model
        # The same layers without the optimizer, whose state doesn't belong into a weight file.
        self._weights = keras.Model(model.inputs, model.outputs)
        self._feed = feed
        self._validation = validation
        self._predictor = predictor
        self._folder = folder
        self._state = folder / STATE
        self._rows: list[dict[str, float | str]] = training_state.read_history(self._state)
        self._best = training_state.read_best(self._state)
        self._end_interrupted_epoch()
        self._interrupted = bool(self._rows)
        self._options = options
        self._watchers = watchers
        self._stages: Sequence[Stage] = ()
        self._reestimator: Reestimator | None = None
        self._average: WeightAverage | None = None
        self._backbone_rate: float | None = None
        self._features: FrozenFeatures | None = None
        self._trained = model

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch.

        epoch (from 1), stage, learning_rate (of its last step); loss (see `Options.loss`),
        binary_accuracy and batch_averaged_f1 as averages over the training batches; val_loss,
        val_binary_accuracy, val_batch_averaged_f1, val_micro_f1 and val_macro_f1 on the
        validation set, with cross-entropy as val_loss and decisions at 0.5.
        """
        return pd.DataFrame(self._rows)

    @property
    def samples_seen(self) -> int:
        """Training samples drawn so far, repetitions counted."""
        return len(self._rows) * self._feed.steps_per_epoch * self._feed.batch_size

    def run(self, *stages: Stage) -> None:
        """Train stages in their order, or what an interrupted training has left of them.

        Raises:
            HpaError: If the loss stops being a number, or the state of an interrupted training
                can't be used.
        """
        self._stages = stages
        try:
            self._tell_steps(*self._count_steps())
            if self._rows:
                self._tell_epochs()
            for stage in stages:
                self._run(stage)
        finally:
            for watcher in self._watchers:
                watcher.end()

    def _count_steps(self) -> tuple[int, int]:
        """Steps of the epochs that are done, and of all stages."""
        done = [self._epochs_done(stage) for stage in self._stages]
        total = (
            epochs if self.has_ended(stage) else stage.epochs
            for stage, epochs in zip(self._stages, done, strict=True)
        )
        return sum(done) * self._feed.steps_per_epoch, sum(total) * self._feed.steps_per_epoch

    def _tell_steps(self, done: int, total: int) -> None:
        for watcher in self._watchers:
            watcher.steps(done, total)

    def _tell_epochs(self) -> None:
        for watcher in self._watchers:
            watcher.epochs(self.history)

    def _run(self, stage: Stage) -> None:
        done = self._epochs_done(stage)
        if self.has_ended(stage):
            log.info("%s is trained already.", stage.name.capitalize())
            return
        if stage.backbone_rate == self._backbone_rate:
            optimizers.reset(self._trained.optimizer, stage.learning_rate)
        else:
            self._backbone_rate = stage.backbone_rate
            models.freeze_backbone(self._model, stage.backbone_rate == 0)
            self._features = None
            if stage.backbone_rate == 0:
                self._features = frozen_features.keep(self._model, self._feed, self._folder)
            self._trained = self._features.head if self._features else self._model
            compile_network(self._trained, stage, self._options)
            if self._options.reestimation_batches:
                self._reestimator = Reestimator(self._model)
        if not done:  # what was interrupted was another stage
            self._take_up()
        if self._options.weight_averaging:
            self._average = WeightAverage(self._model, self._options.weight_averaging)
        self._take_up(self._stage_variables)
        self._train(stage, done)

    @property
    def _stage_variables(self) -> list[keras.Variable]:
        """What a stage begins with anew: the optimizer's state, and averages of the weights."""
        averages = self._average.variables if self._average else []
        return [*self._trained.optimizer.variables, *averages]

    def _epochs_done(self, stage: Stage) -> int:
        return sum(past["stage"] == stage.name for past in self._rows)

    def has_ended(self, stage: Stage) -> bool:
        """Whether all epochs are done, or the last ones without a lower validation loss."""
        found = [past["val_loss"] for past in self._rows if past["stage"] == stage.name]
        patience = self._options.early_stopping
        stopped = 0 < patience < len(found) and len(found) - 1 - np.argmin(found) >= patience
        return stopped or len(found) == stage.epochs

    def _take_up(self, stage_variables: Sequence[keras.Variable] = ()) -> None:
        """Load the state of an interrupted training, once."""
        if self._interrupted:
            log.info("The training goes on after epoch %d.", len(self._rows))
            training_state.load(self._state, self._model, stage_variables)
            self._interrupted = False

    def _train(self, stage: Stage, done: int) -> None:
        """Train the epochs of a stage after those that are done.

        Keras' own loop takes batches out of the dataset inside of the graph. That step goes on
        in the dataset's thread beside TensorFlow's own, and gradients meet in changing order.
        """
        steps = self._feed.steps_per_epoch
        rates = schedules.learning_rates(
            stage.learning_rate,
            stage.epochs * steps,
            stage.schedule,
            round(stage.warmup_epochs * steps),
        ).reshape(stage.epochs, steps)
        model, batches = self._trained, self._batches(len(self._rows))
        model.make_train_function()
        started = time.monotonic()
        for epoch in range(done, stage.epochs):
            model.reset_metrics()
            before, total = self._count_steps()
            for step, rate in enumerate(rates[epoch], 1):
                model.optimizer.learning_rate = rate
                averages = self._step(batches)
                if self._average:
                    self._average.update()
                self._tell_steps(before + step, total)
            trained = {"learning_rate": float(rates[epoch, -1])}
            trained |= {name: float(averages[name]) for name in _TRAINED}
            seconds = (time.monotonic() - started) / (epoch + 1 - done)
            self._end_epoch(stage, trained, seconds)
            self._tell_epochs()
            if self.has_ended(stage):
                break

    def _batches(self, first_epoch: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """What the network is trained on, from an epoch on, endlessly."""
        if self._features is None:
            yield from self._feed.batches(first_epoch)
        else:
            for epoch in itertools.count(first_epoch):
                for features, truth in self._features.batches(epoch):
                    yield tf.constant(features), tf.constant(truth)

    def _step(self, batches: Iterator[tuple[tf.Tensor, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Train on the next batch; the epoch's averages so far."""
        try:
            return self._trained.train_function(iter([devices.share(next(batches))]))
        except tf.errors.ResourceExhaustedError as error:
            raise HpaError(
                f"The memory of the device is used up by batches of {self._feed.batch_size} images "
                f"of {self._feed.source.shape[0]} pixels a side.",
                "Lower batch_size, and raise gradient_accumulation as much; lower image_size; or "
                "set precision to 'auto'.",
            ) from error

    def restore(self, which: str) -> int:
        """Give the network the weights to evaluate.

        Args:
            which: ``"best"`` loads the weights of the epoch with the lowest validation loss;
                ``"last"`` keeps the present ones, as the study did, and saves them.

        Returns:
            The epoch (from 1) that the weights come from.
        """
        self._take_up()  # interrupted after the last epoch, no stage has done it
        if which == "last":
            save_weights(self._weights, self._folder / LAST_WEIGHTS)
            return len(self._rows)
        path = self._folder / BEST_WEIGHTS
        if not path.is_file() or files.digest_file(path) != self._best:
            raise HpaError(
                f"The weights {path} are gone, or have changed since this training saved them.",
                f"Remove {self._state} to train from the beginning.",
            )
        self._weights.load_weights(path)
        return 1 + int(self.history["val_loss"].argmin())

    def _end_epoch(self, stage: Stage, trained: dict[str, float], seconds: float) -> None:
        """Validate, record and report the epoch that has just been trained; keep the best.

        Args:
            stage: The stage that it belongs to.
            trained: Learning rate of its last step, and averages over its batches.
            seconds: Time an epoch.
        """
        best = min((past["val_loss"] for past in self._rows), default=np.inf)
        with self._average.applied() if self._average else nullcontext():
            self._reestimate()
            row = {
                "epoch": len(self._rows) + 1,
                "stage": stage.name,
                **trained,
                **self._validate(),
            }
            for name in ("loss", "val_loss"):
                if not np.isfinite(row[name]):
                    raise HpaError(
                        f"After epoch {row['epoch']} ({stage.name}) {name} is {row[name]}.",
                        "Lower the learning_rate in stages, or lengthen warmup_epochs.",
                    )
            self._rows.append(row)
            if row["val_loss"] < best:
                save_weights(self._weights, self._folder / NEXT_WEIGHTS)
                self._best = files.digest_file(self._folder / NEXT_WEIGHTS)
        if self._average and self.has_ended(stage):
            self._average.apply()
        variables = self._stage_variables
        training_state.save(self._state, self._model, variables, self._rows, self._best)
        if row["val_loss"] < best:
            (self._folder / NEXT_WEIGHTS).replace(self._folder / BEST_WEIGHTS)
        done = self._epochs_done(stage)
        log.info(
            "%s, epoch %d of %d: loss %.4f, validation loss %.4f%s, validation macro F1 %.3f; "
            "%.0f s an epoch, about %.0f s left",
            stage.name.capitalize(),
            done,
            stage.epochs,
            row["loss"],
            row["val_loss"],
            " (the best yet)" if row["val_loss"] < best else "",
            row["val_macro_f1"],
            seconds,
            seconds * (stage.epochs - done),
        )

    def _end_interrupted_epoch(self) -> None:
        """Let the next best weights become the best, where the state says that they are."""
        path = self._folder / NEXT_WEIGHTS
        if path.is_file() and files.digest_file(path) == self._best:
            path.replace(self._folder / BEST_WEIGHTS)
        path.unlink(missing_ok=True)

    def _reestimate(self) -> None:
        if self._reestimator is None:
            return
        epoch = len(self._rows)
        order = self._feed.epoch_rows(epoch)[: self._options.reestimation_batches]
        self._reestimator(self._feed.batch(epoch, step, rows)[0] for step, rows in enumerate(order))

    def _validate(self) -> dict[str, float]:
        truth = self._validation.truth
        if self._features is None:
            probability = self._predictor(self._validation.source, self._validation.rows)
        else:
            probability = self._features.probabilities(self._validation.rows)
        loss = binary_crossentropy(truth, probability)
        if not np.isfinite(loss):  # refused by the caller; metrics would refuse the probabilities
            return {"val_loss": loss}
        counts = metrics.confusion_counts(truth, metrics.decide(probability, 0.5))
        micro, macro = counts.micro_averages(), counts.macro_averages(counts.positives > 0)
        return {
            "val_loss": loss,
            "val_binary_accuracy": float(micro["binary_accuracy"]),
            "val_batch_averaged_f1": study_metrics.batch_averaged_f1(
                truth, probability, self._validation.batch_size
            ),
            "val_micro_f1": float(micro["micro_f1"]),
            "val_macro_f1": float(macro["macro_f1"]),
        }


_TRAINED = ("loss", "binary_accuracy", "batch_averaged_f1")

_HDF5_BYTES = 2**14
"""More than what HDF5 needs for each weight beside its values."""


def save_weights(model: keras.Model, path: Path) -> None:
    """Save a network's weights, all or nothing.

    Raises:
        HpaError: If the disk has no room for them; HDF5 would end the process.
    """
    size = sum(
        math.prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in model.weights
    )
    with files.replacing(path) as temporary:
        files.require_room(temporary, size + _HDF5_BYTES * (1 + len(model.weights)))
        model.save_weights(temporary)


def compile_network(model: keras.Model, stage: Stage, options: Options = Options()) -> None:
    """Compile for a stage, and create all variables of optimizer and metrics.

    Left to itself, Keras creates them while it traces the first step, and traces the network
    twice more for that: for InceptionResNetV2 half of the time to the first step.
    """
    models.freeze_backbone(model, stage.backbone_rate == 0)
    backbone = models.backbone_variables(model)
    batches = options.gradient_accumulation
    model.compile(
        optimizer=optimizers.FusedAdam(
            stage.learning_rate,
            groups=[(backbone, stage.backbone_rate)],
            global_clipnorm=options.gradient_clip or None,
            gradient_accumulation_steps=batches if batches > 1 else None,
        ),
        loss=losses.create(options.loss, options.label_smoothing),
        metrics=["binary_accuracy", batch_averaged_f1],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    example = tf.zeros((1, labels.CLASS_COUNT))
    model._compile_loss.build(example, example)
    model._compile_metrics.build(example, example)
