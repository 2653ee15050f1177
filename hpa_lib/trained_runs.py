"""Read back what a training notebook has left: figures, predictions, and the network itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa_lib import (
    devices,
    feed,
    labels,
    metrics,
    models,
    parameters,
    predictions,
    run_digests,
    runs,
)
from hpa_lib.backend import keras
from hpa_lib.dataset import Dataset
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run, read back.

    Attributes:
        folder: The run folder.
        manifest: See `runs.Run`.
        metrics: Content of ``metrics.json``.
        history: One row an epoch; see `training.Trainer.history`.
        predictions: See `predictions.table`.
        one_view: The same from each image as it is; None where ``predictions`` are that already.
        label: Name in figures and sentences: the backbone, and more where that isn't enough.
    """

    folder: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    predictions: pd.DataFrame
    one_view: pd.DataFrame | None
    label: str

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self.metrics["backbone"]

    def thresholds(self) -> np.ndarray:
        """Decision threshold of each class, tuned on the run's own threshold part."""
        return np.array(self.metrics["thresholds"])

    def arrays(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Truth and probabilities of one part; see `predictions.arrays`."""
        return predictions.arrays(self.predictions, part)

    def rows(self, dataset: Dataset, part: str) -> np.ndarray:
        """Row numbers of one part's samples in the dataset of the training, as `arrays` has them.

        Raises:
            HpaError: If it is another dataset.
        """
        self.require_dataset(dataset)
        ids = self.predictions.loc[self.predictions["part"] == part, "Id"]
        return pd.Index(dataset.ids).get_indexer(ids)

    def decisions(self, part: str) -> np.ndarray:
        """Labels of one part by the run's thresholds, shape (rows, 28), values 0 and 1."""
        never_empty = self.metrics["never_empty"]
        return metrics.decide(self.arrays(part)[1], self.thresholds(), never_empty)

    def values(self) -> TrainParameters:
        """The parameters that it was trained with.

        Raises:
            HpaError: If this version of the library doesn't know one of them.
        """
        return parameters.validate(self.manifest["notebook"], self.manifest["parameters"])

    def prepare_device(self) -> str:
        """Set TensorFlow up to look at the network: threads and seed as in the training.

        It computes in single precision, on a GPU where there is one now.

        Returns:
            The device in words.

        Raises:
            HpaError: If TensorFlow has already computed with other threads or devices.
        """
        here = {"device": "auto", "precision": "float32"}
        return devices.prepare(self.values().model_copy(update=here), train=False)

    def open_source(self, dataset: Dataset) -> feed.ImageSource:
        """Images of a dataset, which need not be that of the training, as the network sees them."""
        values = self.values()
        return feed.open_source(
            dataset,
            values.image_source,
            values.image_size,
            values.composition,
            values.interpolation,
        )

    def network(self, channels: int) -> keras.Model:
        """The network with the weights that were evaluated.

        Args:
            channels: Channels of its images; the last axis of what `open_source` gives.

        Raises:
            HpaError: If the weights are missing, damaged, changed since the run ended, or of
                another network.
        """
        values = self.values()
        path = run_digests.checked(self.folder / runs.EVALUATED_WEIGHTS[values.evaluate])
        model = models.configured(values.model_copy(update={"weights": "none"}), channels)
        try:
            keras.Model(model.inputs, model.outputs).load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise HpaError(
                f"The weights {path} can't be read ({error}).",
                "Train the run again; it needs the code and the packages named in its manifest.",
            ) from error
        return model

    def require_dataset(self, dataset: Dataset) -> None:
        """Refuse another dataset than that of the training.

        Raises:
            HpaError: If the fingerprints differ.
        """
        known = self.manifest["dataset"]["fingerprint"]
        if dataset.fingerprint != known:
            raise HpaError(
                f"{dataset.folder} has the fingerprint {dataset.fingerprint}, and "
                f"{self.folder.name} was trained on {known}.",
                "Restore the dataset as it was, or train the run again.",
            )


def load(name_or_path: str, notebook: str) -> TrainedRun:
    """Read a finished training run; see `runs.find` for the arguments."""
    folder = runs.find(name_or_path, notebook)
    manifest, values = runs.read_manifest(folder), runs.read_metrics(folder)
    _refuse_damaged(folder, manifest, values)
    try:
        history = pd.read_csv(run_digests.checked(folder / "history.csv"))
    except (OSError, ValueError) as error:
        raise HpaError(
            f"{folder} isn't a training run ({error}).", "Name the folder of a training run."
        ) from error
    several_views = parameters.validate(manifest["notebook"], manifest["parameters"]).all_views
    probabilities, one_view = (
        run_digests.checked(folder / name) for name in (predictions.FILE, predictions.ONE_VIEW_FILE)
    )
    return TrainedRun(
        folder=folder,
        manifest=manifest,
        metrics=values,
        history=history,
        predictions=predictions.read(probabilities),
        one_view=predictions.read(one_view) if several_views else None,
        label=values["backbone"],
    )


def _refuse_damaged(folder: Path, manifest: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuse a run whose records lack what its figures follow from.

    Raises:
        HpaError: Naming the file and its entry.
    """
    trains = issubclass(parameters.MODELS.get(manifest["notebook"], type(None)), TrainParameters)
    dataset, given = manifest.get("dataset"), manifest.get("parameters")
    thresholds = values.get("thresholds")
    sound = {
        f"notebook in {runs.MANIFEST}": trains,
        f"parameters in {runs.MANIFEST}": isinstance(given, dict),
        f"dataset in {runs.MANIFEST}": isinstance(dataset, dict) and "fingerprint" in dataset,
        f"thresholds in {runs.METRICS}": isinstance(thresholds, list)
        and len(thresholds) == labels.CLASS_COUNT
        and all(isinstance(value, float | int) for value in thresholds),
        f"never_empty in {runs.METRICS}": isinstance(values.get("never_empty"), bool),
    }
    damaged = [name for name, whole in sound.items() if not whole]
    if damaged:
        raise HpaError(
            f"{folder} isn't a whole training run: {damaged[0]} is missing or damaged.",
            "Name the folder of another training run, or train it again.",
        )


def arrays_by_part(
    trained: Sequence[TrainedRun], *parts: str
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """Truth and probabilities of runs of one split.

    Args:
        trained: The runs.
        parts: Names of parts of the split.

    Returns:
        Truth by part, and probabilities by label of the run and part; see `predictions.arrays`.
    """
    truth = {part: trained[0].arrays(part)[0] for part in parts}
    return truth, {run.label: {part: run.arrays(part)[1] for part in parts} for run in trained}
