from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from simulated_runs import simulated_run

from hpa_lib import explanations, images, labels, predictions
from hpa_lib.attribution import Attribution
from hpa_lib.backend import keras
from hpa_lib.errors import HpaError
from hpa_lib.explanations import Explanations
from hpa_lib.trained_runs import TrainedRun

SIZE = 12


@dataclass(frozen=True)
class SmallRun(TrainedRun):
    """A run whose network is small, with random weights."""

    composition: str = "rgby"

    def values(self):
        return SimpleNamespace(image_size=SIZE, composition=self.composition, interpolation="area")

    def network(self, channels):
        keras.utils.set_random_seed(len(self.label))
        layers = keras.layers
        inputs = keras.Input((SIZE, SIZE, channels))
        hidden = layers.Conv2D(6, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
        hidden = layers.Flatten()(layers.MaxPooling2D(2)(hidden))
        return keras.Model(inputs, layers.Dense(28, activation="sigmoid")(hidden))


@pytest.fixture
def run(tiny):
    rows = np.arange(4, 24)
    probability = np.random.default_rng(0).random((20, 28)).astype(np.float32)
    table = predictions.table(tiny, {"report": rows}, {"report": probability})
    manifest = {"dataset": {"fingerprint": tiny.fingerprint}}
    return simulated_run(table, "a", manifest=manifest, kind=SmallRun)


def test_the_label_that_all_networks_are_surest_of_is_explained(tiny, run):
    other = replace(run, label="bb", predictions=run.predictions.copy())
    other.predictions[list(labels.CLASS_NAMES)] = 0.5
    result = explanations.explain([run, other], tiny, count=4, steps=4)
    table = run.predictions.set_index("Id")
    for sample_id, case in result.cases.iterrows():
        assert case["class"] == table.loc[sample_id, list(labels.CLASS_NAMES)].idxmax()
        truth = labels.class_names(labels.parse_target(table.loc[sample_id, "Target"]))
        assert case["truth"] == truth
        assert case["right"] == (case["class"] in truth.split(", "))
    np.testing.assert_array_equal(
        result.proteins[0], tiny.read_sample(tiny.ids.index(result.cases.index[0]))[..., 1]
    )


@pytest.mark.parametrize("composition", ["rgby", "composite"])
def test_only_what_the_protein_adds_is_explained(tiny, run, composition):
    run = replace(run, composition=composition)
    result = explanations.explain([run], tiny, count=3, steps=32)
    model = run.network(images.COMPOSITIONS[composition].channels)
    for number, (sample_id, case) in enumerate(result.cases.iterrows()):
        sample = tiny.read_sample(tiny.ids.index(sample_id))
        changed = sample.copy()
        changed[..., 1] = 0
        pair = np.stack([images.compose(one, SIZE, composition) for one in (sample, changed)])
        given = model(pair.astype(np.float32)).numpy()
        given = given[:, labels.CLASS_NAMES.index(case["class"])]
        log_odds = np.log(given / (1 - given))
        found = result.trained["a"]
        assert found.log_odds[number] == pytest.approx(log_odds[0], abs=1e-4)
        assert found.difference[number] == pytest.approx(log_odds[0] - log_odds[1], abs=1e-4)
        assert found.total[number] == pytest.approx(found.difference[number], abs=0.02)
    row = result.table.iloc[0]
    assert row["a: added by the protein channel"] == result.trained["a"].difference[0]


def test_half_of_the_samples_have_the_label_and_classes_vary():
    truth = np.zeros((8, 3), int)
    confidence = np.full((8, 3), -1.0)
    for sample, (label, has_it, how_sure) in enumerate(
        [(0, 1, 9), (0, 1, 8), (0, 0, 7), (1, 0, 2), (1, 1, 1), (0, 0, 6), (0, 0, 5), (0, 1, 4)]
    ):
        confidence[sample, label] = how_sure
        truth[sample, label] = has_it
    confidence[:, 2] = np.nan
    chosen, classes = explanations.choose(truth, confidence, 4)
    assert chosen.tolist() == [0, 4, 2, 3]
    assert classes.tolist() == [0, 1, 0, 1]
    chosen, _ = explanations.choose(truth, confidence, 5)
    assert chosen.tolist() == [0, 4, 1, 2, 3]


def test_one_kind_fills_up_for_the_other():
    confidence = np.array([[3.0], [1.0], [2.0]])
    chosen, _ = explanations.choose(np.ones((3, 1), int), confidence, 3)
    assert chosen.tolist() == [0, 2, 1]
    chosen, _ = explanations.choose(np.array([[1], [0], [0]]), confidence, 4)
    assert chosen.tolist() == [0, 2, 1]


def test_the_same_seed_shuffles_alike_and_the_check_compares_each_network(tiny, run):
    runs = [run, replace(run, label="bb")]
    first, second = (explanations.explain(runs, tiny, count=2, steps=4) for _ in range(2))
    np.testing.assert_array_equal(first.shuffled["bb"].maps, second.shuffled["bb"].maps)
    assert first.check.columns.tolist() == [
        (name, title) for name in ("a", "bb") for title in ("with signs", "without signs")
    ]
    assert first.check.abs().max(axis=None) <= 1
    assert first.check["a", "with signs"].abs().max() < 1


def made(maps, shuffled):
    """Explanations with given maps of two samples."""
    cases = pd.DataFrame(
        {"class": "Nucleoli", "truth": "Nucleoli", "right": True}, index=["one", "two"]
    )
    zero = np.zeros(2)
    total = maps.sum(axis=(1, 2))
    return Explanations(
        cases,
        (np.zeros((9, 9), np.uint8),) * 2,
        {"a": np.ones(maps.shape, bool)},
        {"a": Attribution(maps, total + 0.25, zero)},
        {"a": Attribution(shuffled, zero, zero)},
    )


def test_a_map_that_survives_the_shuffling_is_called_worthless():
    maps = np.random.default_rng(0).normal(size=(2, 9, 9))
    gap, verdict = explanations.sentences(made(maps, maps))
    assert "differ from that by 0.25." in gap
    assert "is 1.00, and 1.00 without signs: the maps hardly depend" in verdict
    edges = explanations.sentences(made(maps, -maps))[1]
    assert "is −1.00, and 1.00 without signs: the maps hardly depend" in edges
    other = np.random.default_rng(1).normal(size=(2, 9, 9))
    assert "the maps depend on what" in explanations.sentences(made(maps, other))[1]
    assert "constant" in explanations.sentences(made(maps, 0 * maps))[1]


def test_smoothing_keeps_the_sum():
    maps = np.random.default_rng(0).normal(size=(2, 150, 150))
    smoothed = explanations.smooth(maps)
    np.testing.assert_allclose(smoothed.sum(axis=(1, 2)), maps.sum(axis=(1, 2)))
    assert smoothed.std() < maps.std() / 3


def test_another_dataset_is_refused(run, labelled):
    with pytest.raises(HpaError, match="fingerprint"):
        explanations.explain([run], labelled([(0,)] * 24))
