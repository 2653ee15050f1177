"""Predict or embed the images of a folder with a trained run; labels follow from its thresholds.

Images are decoded when their batch's turn comes, as the run's decoded cache would hold them, and
nothing of them is kept. On a processor as many batches are computed side by side as there are
cores, each by one thread: a deep network's many small operations gain more by that than by several
threads each. Side by side or one after the other, the same batches give the same bits.

Where it was measured, on an x86 processor in float32, an image's probabilities don't depend on its
batch or on threads either, and are the training notebook's bits. Only a batch of a single image
takes another path there, so that a lone image is computed twice over. Elsewhere the results agree
up to rounding.
"""

from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Semaphore
from typing import Any

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from hpa_lib import devices, embeddings, feed, images, labels, metrics, run_digests, splits
from hpa_lib.backend import keras, tf
from hpa_lib.dataset import Dataset
from hpa_lib.embedding_store import Embeddings
from hpa_lib.errors import HpaError
from hpa_lib.inference import Predictor
from hpa_lib.parameters import TrainParameters
from hpa_lib.trained_runs import TrainedRun

LARGEST_BATCH = 32
"""Images of a batch, by default; fewer where images are large and a processor computes."""

_LARGEST_BATCH_PIXELS = LARGEST_BATCH * 150**2
_SMALLEST_BATCH = 2


def prepare(values: TrainParameters) -> str:
    """Let TensorFlow compute several batches side by side; else as `devices.prepare`.

    For a process that only predicts, before TensorFlow has computed anything. Without gradients
    the order of operations changes no result, so that ``deterministic`` needs no single thread.

    Raises:
        HpaError: As `devices.prepare`.
    """
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
    threads = {"deterministic": False, "cpu_threads": 1}
    if hasattr(values, "vgg_cpu_threads"):
        threads["vgg_cpu_threads"] = 1
    return devices.prepare(values.model_copy(update=threads))


def predict(
    run: TrainedRun,
    dataset: Dataset,
    *,
    all_views: bool | None = None,
    batch_size: int = 0,
    progress: bool = True,
) -> np.ndarray:
    """Probabilities of all images of a dataset.

    TensorFlow is used as it has been set up: by `prepare` on all cores, by `devices.prepare` with
    ``deterministic`` one batch at a time while the next ones are decoded. The result is the same.

    Args:
        run: The run whose network predicts.
        dataset: The images; labels aren't looked at. See `dataset.load_images`.
        all_views: Average over the eight flips and quarter turns of each image; by default as in
            the run, whose thresholds were tuned on such probabilities.
        batch_size: Images in a batch, about; at least 2, or 0 for the default: 32, and on a
            processor fewer where they have more than 150×150 pixels, so that a batch takes no
            more memory.
        progress: Show a progress bar on a terminal or in a notebook.

    Returns:
        Array of shape (samples, 28), dtype float32, values 0–1.

    Raises:
        HpaError: If `batch_size` is 1 or negative, the weights can't be read or don't fit, or an
            image can't be decoded.
    """
    _refuse_batch_size(batch_size)
    values = run.values()
    views = values.all_views if all_views is None else all_views
    source = _open_source(dataset, values)
    return _compute(
        run.network(source.shape[-1]),
        source,
        np.empty((len(dataset), labels.CLASS_COUNT), np.float32),
        all_views=views,
        batch_size=batch_size,
        title="Predicting" if progress else "",
    )


def embed(
    run: TrainedRun, dataset: Dataset, *, batch_size: int = 0, progress: bool = True
) -> np.ndarray:
    """Embeddings of all images of a dataset, each seen once as it is; see `embeddings`.

    Args:
        run: The run whose network sees them.
        dataset: As in `predict`.
        batch_size: As in `predict`.
        progress: As in `predict`.

    Returns:
        Array of shape (samples, features), dtype float32.

    Raises:
        HpaError: As `predict`.
    """
    _refuse_batch_size(batch_size)
    source = _open_source(dataset, run.values())
    model = embeddings.before_last_layer(run.network(source.shape[-1]))
    return _compute(
        model,
        source,
        np.empty((len(dataset), model.output_shape[-1]), np.float32),
        all_views=False,
        batch_size=batch_size,
        title="Embedding" if progress else "",
    )


def with_parts(run: TrainedRun, dataset: Dataset, vectors: np.ndarray) -> Embeddings:
    """Say whose embeddings these are, and which part of the run's split each sample is in.

    Args:
        run: As in `embed`.
        dataset: As in `embed`.
        vectors: See `embed`.

    Raises:
        HpaError: If it is the dataset of the training, and the run's split can't be read.
    """
    parts: list[str | None] = [None] * len(dataset)
    if dataset.fingerprint == run.manifest["dataset"]["fingerprint"]:
        division = splits.read(run_digests.checked(run.folder / "split.csv"), dataset)
        for name, rows in division.parts.items():
            for row in rows:  # in the study's split some are in two parts
                parts[row] = f"{parts[row]} and {name}" if parts[row] else name
    return Embeddings(run.folder.name, dataset.fingerprint, dataset.ids, tuple(parts), vectors)


def _refuse_batch_size(batch_size: int) -> None:
    if batch_size and batch_size < _SMALLEST_BATCH:
        raise HpaError(
            f"batch_size is {batch_size}.",
            f"Give a whole number of at least {_SMALLEST_BATCH}, or 0 for the default.",
        )


def _compute(
    model: keras.Model,
    source: feed.ImageSource,
    results: np.ndarray,
    *,
    all_views: bool,
    batch_size: int,
    title: str,
) -> np.ndarray:
    """Let a network see all images, and fill `results`; without a title there is no bar."""
    at_once = _batches_at_once()
    batches = _batches(len(results), batch_size or _batch_size(source.shape[0]), at_once)
    predictor = Predictor(model, max(len(batches[0]), _SMALLEST_BATCH))
    turn = Semaphore(at_once)

    def compute(rows: np.ndarray) -> int:
        pictures = source[rows if len(rows) > 1 else np.repeat(rows, _SMALLEST_BATCH)]
        with turn:
            found = predictor(pictures, np.arange(len(pictures)), all_views=all_views)
        results[rows] = found[: len(rows)]
        return len(rows)

    bar = tqdm(desc=title, total=len(results), unit="sample", disable=None if title else True)
    pool = ThreadPoolExecutor(max(at_once, joblib.cpu_count()))
    try:
        for batch in as_completed([pool.submit(compute, rows) for rows in batches]):
            bar.update(batch.result())
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return results


def table(
    run: TrainedRun, dataset: Dataset, probability: np.ndarray, *, never_empty: bool | None = None
) -> pd.DataFrame:
    """Ids, labels by the run's thresholds, and probabilities of some images.

    Args:
        run: As in `predict`.
        dataset: As in `predict`.
        probability: See `predict`.
        never_empty: As in `metrics.decide`; by default as in the run.

    Returns:
        Columns Id, Predicted (class indices as in a label table, empty where there is none),
        labels (class names, separated by semicolons), and one column of probabilities (float32)
        for each class name.
    """
    fill = run.metrics["never_empty"] if never_empty is None else never_empty
    given = labels.from_multi_hot(metrics.decide(probability, run.thresholds(), fill))
    head = pd.DataFrame(
        {
            "Id": dataset.ids,
            "Predicted": [labels.format_target(indices) for indices in given],
            "labels": [";".join(labels.CLASS_NAMES[index] for index in one) for one in given],
        }
    )
    return head.join(pd.DataFrame(probability, columns=list(labels.CLASS_NAMES)))


def summary(
    run: TrainedRun, dataset: Dataset, predicted: pd.DataFrame, *, all_views: bool | None = None
) -> dict[str, Any]:
    """What was predicted by what, as a value that JSON can express.

    Args:
        run: As in `predict`.
        dataset: As in `predict`.
        predicted: See `table`.
        all_views: As in `predict`.

    Returns:
        A mapping with the keys run, network, all_views, thresholds (class → probability), folder,
        fingerprint, samples, left_out (Ids), labels (class → samples that got it), and
        without_label (samples).
    """
    given = [labels.parse_target(text) for text in predicted["Predicted"]]
    return {
        "run": run.folder.name,
        "network": run.label,
        "all_views": run.values().all_views if all_views is None else all_views,
        "thresholds": dict(zip(labels.CLASS_NAMES, run.thresholds().tolist(), strict=True)),
        "folder": str(dataset.folder),
        "fingerprint": dataset.fingerprint,
        "samples": len(dataset),
        "left_out": list(dataset.left_out),
        "labels": {
            name: sum(index in one for one in given)
            for index, name in enumerate(labels.CLASS_NAMES)
        },
        "without_label": sum(not one for one in given),
    }


class _ComposedImages:
    """Images decoded at every access, as `feed.CachedImages` gives them, dtype uint8."""

    def __init__(self, dataset: Dataset, values: TrainParameters) -> None:
        self._dataset = dataset
        self._composition = (values.image_size, values.composition, values.interpolation)
        channels = images.COMPOSITIONS[values.composition].channels
        self.shape = (values.image_size, values.image_size, channels)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        compose = images.Composer(*self._composition)
        pictures = np.empty((len(rows), *self.shape), self.dtype)
        for row, picture in zip(rows, pictures, strict=True):
            compose(self._dataset.read_channels(row), out=picture)
        return pictures


def _open_source(dataset: Dataset, values: TrainParameters) -> feed.ImageSource:
    if values.image_source == "decode":
        return feed.DecodedImages(dataset, values.image_size)
    return _ComposedImages(dataset, values)


def _batches_at_once() -> int:
    """Batches that TensorFlow computes side by side; a GPU does better with one after the other."""
    if tf.config.get_visible_devices("GPU"):
        return 1
    return tf.config.threading.get_inter_op_parallelism_threads() or joblib.cpu_count()


def _batch_size(image_size: int) -> int:
    if tf.config.get_visible_devices("GPU"):
        return LARGEST_BATCH
    fitting = _LARGEST_BATCH_PIXELS // image_size**2
    return min(max(fitting, _SMALLEST_BATCH), LARGEST_BATCH)


def _batches(samples: int, size: int, at_once: int) -> list[np.ndarray]:
    """Row numbers in batches of equal size, or one more, the larger ones first.

    As many batches as are computed at once make a round. No batch holds a single row, unless
    there is only one.
    """
    rounds = -(-samples // (size * at_once))
    count = max(1, min(rounds * at_once, samples // _SMALLEST_BATCH))
    return np.array_split(np.arange(samples), count)
