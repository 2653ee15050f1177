import warnings

import keras
import numpy as np
import pytest

from hpa_lib import feed, inference, models, training
from hpa_lib.errors import HpaError

PARAMETERS = {
    "InceptionResNetV2": {
        "image": 0,
        "scale_to_unit": 0,
        "input_normalization": 12,
        "backbone": 54_336_736,
        "reduce_channels": 196_736,
        "flatten": 0,
        "dropout_features": 0,
        "hidden": 4_194_816,
        "dropout_hidden": 0,
        "probabilities": 14_364,
        "all layers": 58_742_664,
    },
    "VGG16": {
        "image": 0,
        "scale_to_unit": 0,
        "input_normalization": 12,
        "backbone": 14_714_688,
        "reduce_channels": 65_664,
        "flatten": 0,
        "dropout_features": 0,
        "hidden": 5_308_928,
        "dropout_hidden": 0,
        "probabilities": 14_364,
        "all layers": 20_103_656,
    },
}

HEAD = ("reduce_channels", "hidden", "probabilities")


@pytest.fixture(scope="module")
def inception_resnet():
    return models.build("InceptionResNetV2", 299)


@pytest.fixture(scope="module")
def vgg():
    return models.build("VGG16", 299)


@pytest.fixture(scope="module")
def small_vgg():
    return models.build("VGG16", 75)


@pytest.mark.parametrize(
    ("name", "fixture"), [("InceptionResNetV2", "inception_resnet"), ("VGG16", "vgg")]
)
def test_parameters_are_the_study_s_layer_by_layer(name, fixture, request):
    model = request.getfixturevalue(fixture)
    table = models.layer_table(model)
    assert table["parameters"].to_dict() == PARAMETERS[name]
    counted = {layer.name: layer.count_params() for layer in model.layers}
    assert {**counted, "all layers": sum(counted.values())} == PARAMETERS[name]
    assert model.count_params() == PARAMETERS[name]["all layers"]


def test_frozen_backbone_leaves_the_study_s_other_parameters_trainable(inception_resnet):
    def trainable():
        return sum(int(np.prod(weight.shape)) for weight in inception_resnet.trainable_weights)

    models.freeze_backbone(inception_resnet, True)
    assert trainable() == 6 + 196_736 + 4_194_816 + 14_364  # 6 of 12: scale and offset
    models.freeze_backbone(inception_resnet, False)
    assert trainable() == 58_682_114  # as the study's model summary says of its stage 1


def test_layers_are_the_study_s(vgg):
    head = [(layer.name, type(layer).__name__) for layer in vgg.layers]
    assert head == [
        ("image", "InputLayer"),
        ("scale_to_unit", "Rescaling"),
        ("input_normalization", "BatchNormalization"),
        ("backbone", "Functional"),
        ("reduce_channels", "Conv2D"),
        ("flatten", "Flatten"),
        ("dropout_features", "Dropout"),
        ("hidden", "Dense"),
        ("dropout_hidden", "Dropout"),
        ("probabilities", "Dense"),
    ]
    assert vgg.get_layer("scale_to_unit").scale == 1 / 255
    assert vgg.get_layer("reduce_channels").kernel_size == (1, 1)
    activations = {name: vgg.get_layer(name).activation.__name__ for name in HEAD}
    assert activations == {"reduce_channels": "relu", "hidden": "relu", "probabilities": "sigmoid"}
    without = models.build("VGG16", 75, dropout=0.0, intensity="square_root")
    root = without.get_layer("square_root")
    assert root(np.array([0.0, 0.25, 1.0], "f4")).numpy().tolist() == [0, 0.5, 1]
    assert without.layers.index(root) == 2  # after the division by 255
    assert root.count_params() == 0
    assert without.get_layer("dropout_features").rate == 0
    assert without.get_layer("dropout_hidden").rate == 0
    assert vgg.get_layer("dropout_features").rate == vgg.get_layer("dropout_hidden").rate == 0.5


def test_maps_images_to_28_probabilities(small_vgg):
    images = np.random.default_rng(0).random((3, 75, 75, 3), np.float32) * 255
    probabilities = np.array(small_vgg(images, training=False))
    assert probabilities.shape == (3, 28)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_four_channels():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras remarks that VGG16 usually has three
        assert models.build("VGG16", 75, channels=4).input_shape == (None, 75, 75, 4)


def test_training_leaves_a_frozen_backbone_alone_and_moves_a_free_one(
    small_vgg, array_source, tmp_path
):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 75, 75, 3), np.uint8)
    truth = np.eye(8, 28, dtype=np.uint8)
    source = array_source(pixels)
    batches = feed.TrainingFeed(source, truth, np.arange(8), batch_size=4)
    validation = training.Validation(source, truth[:2], np.arange(2), 2)
    predictor = inference.Predictor(small_vgg)
    trainer = training.Trainer(small_vgg, batches, validation, predictor, tmp_path)

    def weights():
        backbone = small_vgg.get_layer("backbone").get_weights()
        return backbone, [small_vgg.get_layer(name).get_weights()[0] for name in HEAD]

    backbone, head = weights()
    trainer.run(training.Stage("stage 1", 1, 1e-3, backbone_rate=0.0))
    frozen_backbone, trained_head = weights()
    for before, after in zip(backbone, frozen_backbone, strict=True):
        np.testing.assert_array_equal(after, before)
    assert all((after != before).any() for before, after in zip(head, trained_head, strict=True))

    trainer.run(training.Stage("stage 2", 1, 1e-3))
    moved = [(after != before).any() for before, after in zip(backbone, weights()[0], strict=True)]
    assert all(moved)


def test_frozen_batch_normalization_keeps_its_moving_statistics(inception_resnet):
    """A frozen backbone runs in inference mode even while the network trains."""
    images = np.random.default_rng(0).random((2, 299, 299, 3), np.float32)
    statistics = [
        layer.moving_mean
        for layer in inception_resnet.get_layer("backbone").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [mean.numpy() for mean in statistics]
    models.freeze_backbone(inception_resnet, True)
    inception_resnet(images, training=True)
    for mean, kept in zip(statistics, before, strict=True):
        np.testing.assert_array_equal(mean.numpy(), kept)
    models.freeze_backbone(inception_resnet, False)
    inception_resnet(images, training=True)
    assert all((mean.numpy() != kept).any() for mean, kept in zip(statistics, before, strict=True))


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ({"backbone": "ResNet50"}, r"Backbone 'ResNet50' is unknown.*InceptionResNetV2, VGG16"),
        ({"head": "maximum"}, "Head 'maximum' is unknown.*average_max"),
        ({"intensity": "cube"}, "Intensity 'cube' is unknown.*square_root"),
        ({"input_scaling": "none"}, "Input scaling 'none' is unknown.*study, backbone"),
    ],
)
def test_unknown_names(argument, problem):
    with pytest.raises(HpaError, match=problem):
        models.build(**({"backbone": "VGG16", "image_size": 75} | argument))


def test_pooling_heads_do_not_depend_on_the_size_of_the_image():
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    average, maximum = features.mean((1, 2)), features.max((1, 2))
    both = models.AverageAndMaximum()(features).numpy()
    np.testing.assert_allclose(both, np.concatenate([average, maximum], 1), rtol=1e-6)
    cubic = np.cbrt((np.maximum(features, 1e-6) ** 3).mean((1, 2)))
    layer = models.GeneralizedMean()
    np.testing.assert_allclose(layer(features), cubic, rtol=1e-5)
    layer.exponent.assign(200.0)
    np.testing.assert_allclose(layer(np.abs(features)), np.abs(features).max((1, 2)), rtol=0.02)
    assert len(layer.trainable_weights) == 1


@pytest.mark.parametrize(
    ("head", "features"), [("average", 512), ("average_max", 1024), ("generalized_mean", 512)]
)
def test_heads(head, features):
    model = models.build("VGG16", 75, dropout=0.1, head=head)
    names = [layer.name for layer in model.layers]
    assert names[names.index("backbone") + 1 :] == [
        "pooling", "dropout_features", "hidden", "dropout_hidden", "probabilities"
    ]  # fmt: skip
    assert model.get_layer("hidden").input.shape == (None, features)
    images = np.random.default_rng(0).random((2, 75, 75, 3), np.float32) * 255
    assert np.isfinite(model(images)).all()


def test_a_network_of_any_head_is_saved_and_loaded(tmp_path):
    model = models.build(
        "VGG16", 75, 4, intensity="square_root", input_scaling="backbone", head="generalized_mean"
    )
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    images = np.random.default_rng(0).random((2, 75, 75, 4), np.float32) * 255
    np.testing.assert_array_equal(loaded(images), model(images))
