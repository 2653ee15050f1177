"""Preset `best`, its files for other cards, and what docs/recipe.md says that it costs."""

import runpy

import pytest

from hpa_lib import costs, losses, models, parameters, paths
from hpa_lib.backend import keras
from hpa_lib.parameters import TrainParameters

CARD_PRESETS = ("best-24gb", "best-2x16gb")
ROOM = 0.6
"""Share of a card's memory that may be counted. A real step took up to 1.4 times as much."""


def preset(name):
    return parameters.read_preset(paths.PRESETS / f"{name}.yaml")


@pytest.fixture(scope="module")
def recipe():
    """The benchmark's names."""
    return runpy.run_path(str(paths.PROJECT_ROOT / "benchmarks" / "recipe_cost.py"))


@pytest.fixture(scope="module")
def counted(recipe):
    """What the networks cost under preset `best`."""
    return recipe["count"]()


@pytest.mark.parametrize("card", CARD_PRESETS)
def test_a_card_changes_batches_and_what_counts_batches(card):
    best, other = preset("best"), preset(card)
    changed = {name for name in best if best[name] != other[name]}
    assert changed <= {
        "preset", "batch_size", "gradient_accumulation", "weight_averaging",
        "reestimation_batches",
    }  # fmt: skip
    batches = other["gradient_accumulation"] / best["gradient_accumulation"]
    assert other["batch_size"] * batches == best["batch_size"]
    assert other["reestimation_batches"] == best["reestimation_batches"] * batches
    assert other["weight_averaging"] ** batches == pytest.approx(best["weight_averaging"], abs=1e-5)


def test_both_notebooks_see_equally_many_samples():
    vgg = parameters.validate("3_train_vgg", preset("best"))
    assert [stage.epochs for stage in vgg.vgg_stages] == [stage.epochs for stage in vgg.stages]


def test_each_card_has_room_for_every_network(recipe, counted):
    assert {name for *_, name in recipe["CARDS"]} == {"best", *CARD_PRESETS}
    for card, gpus, gigabytes, name in recipe["CARDS"]:
        for network, cost in counted.items():
            needed = costs.memory(cost, recipe["read"](name, network), gpus)
            assert needed <= ROOM * gigabytes * 1e9, (card, name, network)


def test_the_card_with_24_gb_needs_smaller_batches(recipe, counted):
    needed = costs.memory(counted["DenseNet121"], recipe["read"]("best", "DenseNet121"))
    assert needed > ROOM * 24e9


def test_the_document_holds_what_the_benchmark_computes(recipe, counted):
    text = (paths.PROJECT_ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    for table in ("network_table", "memory_table", "time_table"):
        assert recipe[table](counted) in text, table
    assert recipe["attained_table"]() in text


def test_multiply_adds_of_vgg16_are_the_published_ones():
    cost = costs.network(TrainParameters(backbone="VGG16", image_size=224, head="average"), 3)
    dense_layers = 25088 * 4096 + 4096 * 4096 + 4096 * 1000  # published with, built here without
    assert cost.forward + dense_layers == pytest.approx(15.47e9, rel=2e-3)
    assert cost.training == pytest.approx(3 * cost.forward, rel=2e-3)
    assert cost.parameters == 14_714_688 + 12 - 6 + 512 * 512 + 512 + 512 * 28 + 28


def test_a_small_network_counted_by_hand():
    image = keras.Input((10, 10, 4))
    hidden = keras.layers.Conv2D(8, 3, padding="same")(image)
    outputs = keras.layers.Dense(28)(keras.layers.Flatten()(hidden))
    cost = costs.count(keras.Model(image, outputs), losses.create("binary_crossentropy"))
    convolution, dense = 10 * 10 * 8 * 9 * 4, 10 * 10 * 8 * 28
    assert cost.parameters == 9 * 4 * 8 + 8 + dense + 28
    assert convolution + dense <= cost.forward < 1.05 * (convolution + dense)
    # Gradients of the weights, and of what lies below.
    assert cost.training == pytest.approx(3 * (convolution + dense), rel=0.05)
    kept = 4 * (10 * 10 * 4 + 10 * 10 * 8)  # the inputs of both layers, in single precision
    assert kept <= cost.image_bytes < 2 * kept


def test_memory_of_an_image_follows_its_size_and_the_precision():
    def image_bytes(size, precision):
        values = TrainParameters(backbone="VGG16", image_size=size, precision=precision)
        return costs.network(values, 4).image_bytes

    small = image_bytes(128, "float32")
    assert image_bytes(256, "float32") == pytest.approx(4 * small, rel=0.02)
    assert image_bytes(128, "mixed") == pytest.approx(small / 2, rel=0.1)
    model = models.build("VGG16", 128, 4)
    layers = model.get_layer("backbone").layers
    outputs = [layer.output.shape for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    kept = 4 * sum(height * width * channels for _, height, width, channels in outputs)
    assert kept <= small < 2 * kept


def test_memory_by_hand():
    cost = costs.NetworkCost(parameters=1000, forward=0, training=0, image_bytes=50)
    plain = TrainParameters(batch_size=7)
    assert costs.memory(cost, plain) == 16 * 1000 + 7 * 50
    assert costs.memory(cost, plain, gpus=2) == 16 * 1000 + 4 * 50
    everything = TrainParameters(
        batch_size=7, precision="mixed", gradient_accumulation=2, weight_averaging=0.9
    )
    assert costs.memory(cost, everything) == 26 * 1000 + 7 * 50


def test_counting_leaves_the_dtype_policy_alone():
    before = keras.config.dtype_policy()
    costs.network(TrainParameters(backbone="VGG16", precision="mixed"), 3)
    assert keras.config.dtype_policy() == before
