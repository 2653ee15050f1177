import keras
import numpy as np
import pytest
import tensorflow as tf

from hpa_lib import backbones, devices, mixed_precision, models, training
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters

AMX_CPU = frozenset({"avx512f", "avx512_bf16", "amx_bf16"})
BF16_CPU, OLD_CPU = frozenset({"avx512f", "avx512_bf16"}), frozenset({"avx2"})


@pytest.mark.parametrize(
    ("precision", "capabilities", "flags", "wanted"),
    [
        ("float32", [(9, 0)], BF16_CPU, "float32"),
        ("auto", [(9, 0), (8, 0)], OLD_CPU, "mixed_bfloat16"),
        ("auto", [(9, 0), (7, 5)], BF16_CPU, "mixed_float16"),  # all GPUs must have it
        ("auto", [(6, 1)], BF16_CPU, "float32"),
        ("auto", [], AMX_CPU, "mixed_bfloat16"),
        ("auto", [], BF16_CPU, "float32"),  # slower than single precision
        ("auto", [], OLD_CPU, "float32"),
        ("mixed", [], BF16_CPU, "mixed_bfloat16"),
        ("mixed", [(7, 0)], OLD_CPU, "mixed_float16"),
    ],
)
def test_policy_follows_the_device(precision, capabilities, flags, wanted):
    assert mixed_precision.policy(precision, capabilities, flags) == wanted


@pytest.mark.parametrize(("capabilities", "device"), [([], "CPU"), ([(6, 1)], "GPU")])
def test_mixed_is_refused_where_the_device_lacks_it(capabilities, device):
    with pytest.raises(HpaError, match=f"precision is 'mixed', but this {device}"):
        mixed_precision.policy("mixed", capabilities, OLD_CPU)


def test_unknown_precision():
    with pytest.raises(HpaError, match="'half'"):
        mixed_precision.policy("half", [], OLD_CPU)


@pytest.fixture
def small_backbone(monkeypatch):
    def small(*, weights, include_top, input_shape, name):
        inputs = keras.Input(input_shape)
        signal = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs)
        return keras.Model(inputs, keras.layers.BatchNormalization()(signal), name=name)

    monkeypatch.setitem(backbones.BACKBONES, "Small", backbones.Backbone(small, "symmetric"))
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("head", models.HEADS)
@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_a_network_in_half_precision_keeps_what_needs_more_in_single(small_backbone, name, head):
    keras.mixed_precision.set_global_policy(name)
    model = models.build("Small", 16, head=head)
    training.compile_network(model, training.Stage("all", 1, 1e-3))
    assert model.get_layer("hidden").compute_dtype == name.removeprefix("mixed_")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    truth = (random.random((8, 28)) < 0.1).astype(np.float32)
    before = model.get_layer("hidden").kernel.numpy()
    losses = [float(model.train_on_batch(images, truth)[0]) for _ in range(8)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert (model.get_layer("hidden").kernel.numpy() != before).any()
    probability = model(images)
    assert probability.dtype == tf.float32


def test_half_precision_predicts_what_single_does(small_backbone):
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    single = models.build("Small", 16)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    half = models.build("Small", 16)
    half.set_weights(single.get_weights())
    np.testing.assert_allclose(half(images), single(images), atol=0.02)
    assert (half(images).numpy() != single(images).numpy()).any()


def test_prepare_names_the_precision(monkeypatch, small_backbone):
    monkeypatch.setattr(mixed_precision, "_flags_of_this_cpu", lambda: AMX_CPU)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    values = TrainParameters(precision="auto", deterministic=False, cpu_threads=0)
    assert devices.prepare(values) == "CPU, bfloat16"
    assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    again = TrainParameters(deterministic=False, cpu_threads=0)
    assert devices.prepare(again) == "CPU"
    assert keras.mixed_precision.global_policy().name == "float32"
