from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
from simulated_runs import simulated_run

from hpa_lib import embeddings, labels, predictions
from hpa_lib.inference import Predictor
from hpa_lib.trained_runs import TrainedRun


def network(policy="float32"):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(16, activation="relu", dtype=policy),
            layers.Dropout(0.5, dtype=policy),
            layers.Dense(28, activation="sigmoid", dtype="float32"),
        ]
    )


@pytest.fixture
def source(array_source):
    return array_source(np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), np.uint8))


def test_the_last_layer_turns_them_into_the_network_s_probabilities(source):
    model, rows = network(), np.array([9, 0, 9, 4])
    features = embeddings.compute(model, source, rows, batch_size=3)
    kernel, bias = model.layers[-1].get_weights()
    probabilities = 1 / (1 + np.exp(-(features @ kernel + bias)))
    np.testing.assert_allclose(probabilities, Predictor(model)(source, rows), atol=1e-6)
    assert len(np.unique(features, axis=0)) == 3


def test_lower_precision_gives_float32_too(source):
    found = embeddings.compute(network("mixed_bfloat16"), source, np.arange(4))
    assert (found.shape, found.dtype) == ((4, 16), np.float32)
    wanted = embeddings.compute(network(), source, np.arange(4))
    np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.02)


@dataclass(frozen=True)
class SmallRun(TrainedRun):
    """A run whose network is small, with random weights, and whose images are an array."""

    source: object = None

    def open_source(self, dataset):
        return self.source

    def network(self, channels):
        return {3: network()}[channels]


def test_the_order_is_that_of_the_predictions(source, labelled):
    sets = [(row,) for row in range(11)]
    dataset = labelled(sets)
    order = [7, 2, 10]
    truth = labels.to_multi_hot([sets[row] for row in order])
    table = predictions.table(
        dataset,
        {"threshold": [0], "report": order, "shown": [1]},
        {"threshold": truth[:1], "report": truth, "shown": truth[:1]},
    )
    manifest = {"dataset": {"fingerprint": dataset.fingerprint}}
    run = replace(simulated_run(table, manifest=manifest, kind=SmallRun), source=source)
    part = embeddings.of_run(run, dataset, "report")
    assert part.ids == ("sample-7", "sample-2", "sample-10")
    assert part.rows.tolist() == order
    assert part.truth.argmax(axis=1).tolist() == order
    np.testing.assert_array_equal(part.features, embeddings.compute(network(), source, part.rows))
    np.testing.assert_array_equal(part.picture(2), source[10])
