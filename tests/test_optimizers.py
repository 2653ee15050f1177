import keras
import numpy as np
import pytest
import tensorflow as tf

from hpa_lib import optimizers


def dense_network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="sigmoid"),
        ]
    )


def batches(count, seed=0):
    random = np.random.default_rng(seed)
    return [
        (random.normal(size=(5, 6)).astype("f4"), random.integers(0, 2, (5, 3)).astype("f4"))
        for _ in range(count)
    ]


def train(optimizer, steps=12, model=None, freeze=False):
    model = model or dense_network()
    model.layers[0].trainable = not freeze
    model.compile(optimizer=optimizer, loss="binary_crossentropy", jit_compile=False)
    losses = [model.train_on_batch(*batch) for batch in batches(steps)]
    return model.get_weights(), np.array(losses)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"global_clipnorm": 0.05},
        {"gradient_accumulation_steps": 3},
    ],
)
def test_equals_keras_adam(options, freeze):
    stock, stock_losses = train(keras.optimizers.Adam(1e-2, **options), freeze=freeze)
    fused, fused_losses = train(optimizers.FusedAdam(1e-2, **options), freeze=freeze)
    np.testing.assert_allclose(fused_losses, stock_losses, atol=1e-5)
    for wanted, found in zip(stock, fused, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    start = dense_network().get_weights()
    assert np.abs(fused[-1] - start[-1]).max() > 1e-2  # it did move


def test_first_step_worked_out_by_hand():
    # The first step of Adam is the learning rate along the gradient's sign, whatever its size.
    variable = keras.Variable([1.0, 1.0, 1.0])
    optimizer = optimizers.FusedAdam(0.1)
    optimizer.build([variable])
    optimizer.apply([tf.constant([5.0, -0.5, 0.0])])
    np.testing.assert_allclose(variable.numpy(), [0.9, 1.1, 1.0], atol=1e-4)


def test_a_group_has_its_share_of_the_learning_rate():
    slow, fast = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = optimizers.FusedAdam(0.1, groups=[([slow], 0.25)])
    optimizer.build([slow, fast])
    optimizer.apply([tf.constant([5.0]), tf.constant([5.0])])
    np.testing.assert_allclose([slow.numpy(), fast.numpy()], [[0.975], [0.9]], atol=1e-4)


def test_counts_its_steps():
    optimizer = optimizers.FusedAdam(1e-3)
    train(optimizer, steps=4)
    assert int(optimizer.iterations) == 4


def test_equals_keras_adam_under_a_distribution_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = dense_network()
        found, _ = train(optimizers.FusedAdam(1e-2), steps=3, model=model)
    wanted, _ = train(keras.optimizers.Adam(1e-2), steps=3)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_survives_saving():
    optimizer = optimizers.FusedAdam(0.02, beta_1=0.8)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, optimizers.FusedAdam)
    assert (float(again.learning_rate), again.beta_1) == (pytest.approx(0.02), 0.8)


def test_reset_equals_a_new_optimizer():
    kept, new = dense_network(), dense_network()
    used = optimizers.FusedAdam(1e-2)
    weights, _ = train(used, model=kept)
    new.set_weights(weights)
    optimizers.reset(used, 3e-3)
    assert int(used.iterations) == 0
    assert float(used.learning_rate) == pytest.approx(3e-3)
    new.compile(optimizer=optimizers.FusedAdam(3e-3), loss="binary_crossentropy")
    for batch in batches(6, seed=1):
        assert kept.train_on_batch(*batch) == pytest.approx(new.train_on_batch(*batch), abs=1e-6)
    for wanted, found in zip(new.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_an_overflow_on_any_device_changes_nothing():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        with strategy.scope():
            variable = keras.Variable([1.0, 2.0])
            optimizer = optimizers.FusedAdam(0.1)
            optimizer.build([variable])
        for gradient in ([np.inf, 1.0], [np.nan, 1.0]):
            strategy.run(lambda values: optimizer.apply([values]), (tf.constant(gradient),))
            np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0])
        strategy.run(lambda values: optimizer.apply([values]), (tf.constant([1.0, -1.0]),))
        assert (variable.numpy() != [1.0, 2.0]).all()
    finally:
        keras.mixed_precision.set_global_policy("float32")
