import numpy as np
import pytest

from hpa_lib import attribution, models
from hpa_lib.backend import keras, tf

SIZE, SPOT = 16, 3
PROTEIN = 1


def network(hidden, channels=4, size=SIZE, classes=2):
    """Network with some layers between the scaling and the probabilities."""
    inputs = keras.Input((size, size, channels))
    signal = keras.layers.Rescaling(1 / 255)(inputs)
    for layer in hidden:
        signal = layer(signal)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="sigmoid")(signal))


def spots(count, seed):
    """Noise in four channels; class 0 is a bright square in the protein channel, 1 in the red.

    Returns:
        Images, labels, and the upper left corners of the protein's squares.
    """
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, SIZE, SIZE, 4)).astype(np.uint8)
    truth = (random.random((count, 2)) < 0.5).astype(np.float32)
    corners = random.integers(0, SIZE - SPOT, (count, 2, 2))
    for image, labels, corner in zip(images, truth, corners, strict=True):
        for channel, label, (row, column) in zip((PROTEIN, 0), labels, corner, strict=True):
            if label:
                image[row : row + SPOT, column : column + SPOT, channel] = 250
    return images, truth, corners[:, 0]


@pytest.fixture(scope="module")
def trained():
    """A network that has learned to find the squares."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = network(
        [
            models.SquareRoot(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Conv2D(12, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
        ]
    )
    images, truth, _ = spots(512, seed=1)
    optimizer = keras.optimizers.Adam(0.01)
    pixels, wanted = tf.constant(images, tf.float32), tf.constant(truth)

    @tf.function
    def step(rows):
        with tf.GradientTape() as tape:
            given = model(tf.gather(pixels, rows), training=True)
            loss = keras.losses.BinaryCrossentropy()(tf.gather(wanted, rows), given)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )

    order = np.random.default_rng(2)
    for _ in range(150):
        step(tf.constant(order.integers(0, 512, 64)))
    held_out, labels, _ = spots(200, seed=3)
    assert ((model(held_out.astype(np.float32)).numpy() > 0.5) == labels).mean() > 0.95
    return model


def without_protein(images):
    black = images.copy()
    black[..., PROTEIN] = 0
    return black


@pytest.fixture(scope="module")
def explained(trained):
    """Maps of images with a protein spot, and the corners of the spots."""
    images, truth, corners = spots(40, seed=4)
    images, corners = images[truth[:, 0] == 1][:10], corners[truth[:, 0] == 1][:10]
    classes = np.zeros(len(images), int)
    gradients = attribution.IntegratedGradients(trained)
    found = gradients(images, without_protein(images), classes, steps=64)
    return images, corners, found


@pytest.mark.parametrize("square_root", [False, True])
def test_pixels_that_add_up_get_exactly_what_they_add(square_root):
    hidden = [models.SquareRoot()] if square_root else []
    model = network([*hidden, keras.layers.Flatten()], size=5)
    images, baselines = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5, 4))
    baselines = np.where(np.arange(4) == PROTEIN, 0, images)
    images[0, 0, 0] = 0  # where a square root has no gradient
    baselines[0, 0, 0] = 0
    values = (np.sqrt if square_root else np.asarray)(images[..., PROTEIN] / 255)
    kernel = model.layers[-1].get_weights()[0]
    classes = np.array([0, 1, 1])
    weights = kernel.reshape(5, 5, 4, 2)[:, :, PROTEIN].transpose(2, 0, 1)[classes]
    found = attribution.IntegratedGradients(model)(images, baselines, classes, steps=2)
    np.testing.assert_allclose(found.maps, values * weights, atol=1e-5)
    probability = model(images.astype(np.float32)).numpy()[np.arange(3), classes]
    np.testing.assert_allclose(1 / (1 + np.exp(-found.log_odds)), probability, atol=1e-5)
    np.testing.assert_allclose(found.total, found.difference, atol=1e-4)


def test_maps_of_a_trained_network_add_up_and_lie_on_what_it_has_learned(explained):
    images, corners, found = explained
    assert found.difference.min() > 3
    np.testing.assert_allclose(found.total, found.difference, rtol=0.03)
    for one, (row, column) in zip(found.maps, corners, strict=True):
        spot = one[row : row + SPOT, column : column + SPOT]  # 3.5 % of the image
        assert spot.sum() > 0.6 * np.abs(one).sum()
    assert (found.maps[images[..., PROTEIN] == 0] == 0).all()


def test_a_class_told_by_another_channel_gets_little_from_this_one(trained, explained):
    images, _, found = explained
    other = attribution.IntegratedGradients(trained)(
        images, without_protein(images), np.ones(len(images), int), steps=64
    )
    assert np.abs(other.maps).sum() < 0.5 * np.abs(found.maps).sum()


def test_shuffled_weights_change_the_map(trained, explained):
    images, _, found = explained
    model = keras.models.clone_model(trained)
    model.set_weights(trained.get_weights())
    gradients = attribution.IntegratedGradients(model)
    visible = images[..., PROTEIN] > 0

    def correlation():
        again = gradients(images, without_protein(images), np.zeros(len(images), int), steps=64)
        return attribution.rank_correlation(found.maps, again.maps, visible)

    assert correlation().min() > 0.99
    attribution.shuffle_weights(model, seed=0)
    for before, after in zip(trained.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
    assert np.abs(np.median(correlation())) < 0.4


def test_batches_do_not_matter(trained, explained, monkeypatch):
    images, _, found = explained
    monkeypatch.setattr(attribution, "_PIXELS_AT_ONCE", 7 * SIZE * SIZE)
    again = attribution.IntegratedGradients(trained)(
        images, without_protein(images), np.zeros(len(images), int), steps=64
    )
    np.testing.assert_allclose(again.maps, found.maps, atol=1e-4)


def test_rank_correlation_looks_at_the_chosen_pixels_only():
    first = np.array([[[1, 2], [3, -9]], [[1, 2], [3, 4]]], float)
    second = np.array([[[10, 40], [90, 99]], [[5, 5], [5, 5]]], float)
    where = np.array([[[True, True], [True, False]], [[True, True], [True, True]]])
    found = attribution.rank_correlation(first, second, where)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])
