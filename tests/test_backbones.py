import warnings

import keras
import numpy as np
import pytest

from hpa_lib import backbones
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters

SHAPE = (75, 75, 3)


@pytest.fixture(scope="module")
def vgg():
    return backbones.build("VGG16", SHAPE, "none")


def replace(monkeypatch, constructor):
    monkeypatch.setitem(backbones.BACKBONES, "VGG16", backbones.Backbone(constructor, "caffe"))


def test_parameters_name_the_backbones():
    field = TrainParameters.model_fields["backbone"]
    assert field.annotation.__args__ == tuple(backbones.BACKBONES)


@pytest.mark.parametrize("name", sorted(set(backbones.BACKBONES) - {"InceptionResNetV2"}))
def test_weights_for_three_channels_serve_four(name, tmp_path):
    """An image with four equal channels gives the response of three such channels."""
    three = backbones.build(name, SHAPE, "none")
    path = tmp_path / "rgb.weights.h5"
    three.save_weights(path)
    four = backbones.build(name, (75, 75, 4), str(path))
    grey = np.random.default_rng(0).random((2, 75, 75, 1), np.float32) * 2 - 1
    responses = [
        model(np.repeat(grey, count, 3)).numpy() for model, count in ((three, 3), (four, 4))
    ]
    assert np.abs(responses[0]).max() > 1e-3
    np.testing.assert_allclose(responses[1], responses[0], rtol=1e-3, atol=1e-4)
    first = next(weight for weight in four.weights if weight.shape[2:3] == (4,)).numpy()
    np.testing.assert_allclose(first[:, :, 3], first[:, :, :3].mean(axis=2), rtol=1e-5, atol=1e-8)


def test_imagenet_weights_serve_four_channels(monkeypatch):
    def offline(**options):
        return keras.applications.VGG16(**{**options, "weights": None})

    replace(monkeypatch, offline)
    assert backbones.build("VGG16", (75, 75, 4), "imagenet").input_shape == (None, 75, 75, 4)


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("InceptionResNetV2", keras.applications.inception_resnet_v2.preprocess_input),
        ("VGG16", keras.applications.vgg16.preprocess_input),
        ("ResNet50V2", keras.applications.resnet_v2.preprocess_input),
        ("DenseNet121", keras.applications.densenet.preprocess_input),
    ],
)
def test_input_is_scaled_as_keras_does_for_its_weights(name, preprocess):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    inputs = keras.Input((5, 5, 3))
    model = keras.Model(inputs, backbones.scale_input(name, inputs))
    found = model(images / 255).numpy()
    np.testing.assert_allclose(found, preprocess(images.copy()), rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("name", ["EfficientNetV2S", "ConvNeXtTiny"])
def test_input_is_scaled_as_keras_does_inside_of_the_network(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 75, 75, 3)).astype(np.float32)
    stock = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=SHAPE, include_preprocessing=True
    )
    bare = backbones.build(name, SHAPE, "none")
    bare.set_weights([weight.numpy() for weight in stock.weights][-len(bare.weights) :])
    inputs = keras.Input(SHAPE)
    ours = keras.Model(inputs, bare(backbones.scale_input(name, inputs)))
    # Keras divides by 128 where the range of 8-bit values is 127.5.
    np.testing.assert_allclose(ours(images / 255), stock(images), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", ["VGG16", "ResNet50V2", "DenseNet121"])
def test_a_fourth_channel_is_scaled_like_the_average_of_the_others(name):
    inputs = keras.Input((5, 5, 4))
    model = keras.Model(inputs, backbones.scale_input(name, inputs))
    grey = np.full((1, 5, 5, 4), 0.3, np.float32)
    scaled = model(grey).numpy()[0, 0, 0]
    assert scaled[3] == pytest.approx(scaled[:3].mean(), abs=0.02 * float(np.abs(scaled).max()))


def test_weights_that_can_not_be_downloaded(monkeypatch, tmp_path):
    address = "https://example.org/vgg16_notop.h5"

    def offline(**_):
        raise Exception(f"URL fetch failure on {address}: None -- [Errno -2] Name unknown")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    replace(monkeypatch, offline)
    with pytest.raises(HpaError) as caught:
        backbones.build("VGG16", (75, 75, 3), "imagenet")
    assert "VGG16 (parameter weights)" in caught.value.problem
    assert address in caught.value.problem
    assert str(tmp_path / "models") in caught.value.remedy
    assert "'none'" in caught.value.remedy


def test_other_errors_of_a_constructor_are_not_taken_for_a_failed_download(monkeypatch):
    def broken(**_):
        raise Exception("something else")

    replace(monkeypatch, broken)
    with pytest.raises(Exception, match="something else") as caught:
        backbones.build("VGG16", (75, 75, 3), "imagenet")
    assert not isinstance(caught.value, HpaError)


def test_imagenet_weights_are_asked_of_keras(monkeypatch):
    asked = {}

    def recorded(**options):
        asked.update(options)
        return keras.applications.VGG16(**{**options, "weights": None})

    replace(monkeypatch, recorded)
    backbones.build("VGG16", (75, 75, 3), "imagenet")
    assert asked["weights"] == "imagenet"
    assert asked["include_top"] is False


def test_weights_file_that_does_not_exist(tmp_path):
    path = str(tmp_path / "absent.h5")
    with pytest.raises(HpaError, match="neither 'imagenet', 'none' nor a file") as caught:
        backbones.build("VGG16", (75, 75, 3), path)
    assert repr(path) in caught.value.problem


@pytest.mark.parametrize("name", ["junk.h5", "junk.weights.h5", "junk.keras", "junk.txt"])
def test_weights_file_that_holds_no_weights(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no weights")
    with pytest.raises(HpaError, match="aren't an HDF5 file") as caught:
        backbones.build("VGG16", (75, 75, 3), str(path))
    assert str(path) in caught.value.problem


def test_weights_file_of_another_network(tmp_path):
    path = tmp_path / "dense.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one clear error, and no warning for each layer
        with pytest.raises(HpaError, match="don't fit VGG16") as caught:
            backbones.build("VGG16", (75, 75, 3), str(path))
    assert str(path) in caught.value.problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_file_is_loaded_into_the_backbone(vgg, tmp_path, ending):
    path = tmp_path / f"backbone{ending}"
    if ending == ".weights.h5":
        vgg.save_weights(path)
    else:
        vgg.save(path)
    loaded = backbones.build("VGG16", (75, 75, 3), str(path))
    for wanted, found in zip(vgg.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_weights_in_words():
    described = [backbones.weights_description(name) for name in ("imagenet", "none", "/a/b.h5")]
    assert described == ["ImageNet weights", "random initial weights", "weights of b.h5"]


def test_weights_for_another_number_of_channels_than_three(tmp_path):
    path = tmp_path / "rgby.weights.h5"
    backbones.build("VGG16", (75, 75, 4), "none").save_weights(path)
    with pytest.raises(HpaError, match=r"don't fit VGG16 for input \(75, 75, 3\)"):
        backbones.build("VGG16", SHAPE, str(path))
