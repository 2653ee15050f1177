"""What a network makes of an image before it decides: the activations before its last layer.

The last layer draws one plane for each class through the space of these activations, so that
images which lie together here are alike to the network, whatever labels they get.
"""

from dataclasses import dataclass

import numpy as np

from hpa_lib import images
from hpa_lib.backend import keras
from hpa_lib.dataset import Dataset
from hpa_lib.feed import ImageSource
from hpa_lib.inference import Predictor
from hpa_lib.trained_runs import TrainedRun


@dataclass(frozen=True)
class EmbeddedPart:
    """The samples of one part as one network sees them; all arrays are in the same order.

    Attributes:
        features: Activations, shape (samples, features), dtype float32.
        truth: Labels, shape (samples, 28), dtype uint8, values 0 and 1.
        ids: Id of each sample.
        rows: Row of each sample in the dataset.
        source: Where the network's images come from.
    """

    features: np.ndarray
    truth: np.ndarray
    ids: tuple[str, ...]
    rows: np.ndarray
    source: ImageSource

    def picture(self, sample: int) -> np.ndarray:
        """The image of one sample to look at, shape (height, width, 3), dtype uint8."""
        return images.input_to_display(self.source[int(self.rows[sample])])


def before_last_layer(model: keras.Model) -> keras.Model:
    """The network up to its last layer, with the same weights; it gives float32."""
    single = keras.layers.Activation("linear", dtype="float32")(model.layers[-1].input)
    return keras.Model(model.inputs, single)


def compute(
    model: keras.Model, source: ImageSource, rows: np.ndarray, batch_size: int = 32
) -> np.ndarray:
    """Activations before the last layer, each image seen once as it is.

    Args:
        model: Network from `models.build`.
        source: Where images come from.
        rows: Row numbers, at least one.
        batch_size: Images in one pass.

    Returns:
        Array of shape (rows, features), dtype float32, in the order of `rows`. Dropout is off.
    """
    return Predictor(before_last_layer(model), batch_size)(source, rows)


def of_run(run: TrainedRun, dataset: Dataset, part: str) -> EmbeddedPart:
    """Embed the samples of one part with the network that a training run left.

    Args:
        run: The training run.
        dataset: The dataset that it was trained on.
        part: One of the parts with predictions, such as ``"report"``; gives the order.

    Raises:
        HpaError: If it is another dataset, or the weights can't be read.
    """
    rows = run.rows(dataset, part)
    source = run.open_source(dataset)
    features = compute(run.network(source.shape[-1]), source, rows)
    return EmbeddedPart(
        features, run.arrays(part)[0], tuple(dataset.ids[row] for row in rows), rows, source
    )
