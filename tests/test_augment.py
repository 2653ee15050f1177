import cv2
import numpy as np
import pytest

from hpa_lib import augment
from hpa_lib.errors import HpaError

EXACT = {
    "horizontal flip": lambda image: image[:, ::-1],
    "vertical flip": lambda image: image[::-1],
    "rotation by 180°": lambda image: image[::-1, ::-1],
    "rotation by 270°": lambda image: np.rot90(image, 1),
    "rotation by 90°": lambda image: np.rot90(image, -1),
}


def random_images(count, size, channels=3, dtype=np.uint8):
    values = np.random.default_rng(size).random((count, size, size, channels))
    return (values * 255).astype(dtype)


def outcome(image, augmented):
    """Name of the operation that turns one image into the other."""
    found = [
        name for name, operation in EXACT.items() if np.array_equal(operation(image), augmented)
    ]
    assert len(found) == 1, "neither a flip nor a quarter turn"
    return found[0]


def test_the_five_operations_of_the_study():
    assert set(augment.OPERATIONS) == set(EXACT)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("size", [4, 5, 75, 96])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", EXACT)
def test_operation_moves_pixels_without_changing_them(name, size, channels, dtype):
    image = random_images(1, size, channels, dtype)[0]
    augmented = augment.OPERATIONS[name].augment_image(image)
    assert augmented.dtype == dtype
    np.testing.assert_array_equal(augmented, EXACT[name](image))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [4, 5, 75, 299])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", augment.OPERATIONS)
def test_batches_get_the_pixels_that_imgaug_gives(name, size, channels, dtype):
    batch = random_images(2, size, channels, dtype)
    augmented = augment.take_views(batch, [list(augment.OPERATIONS).index(name)] * 2)
    for image, found in zip(batch, augmented, strict=True):
        np.testing.assert_array_equal(found, augment.OPERATIONS[name].augment_image(image))


def test_imgaug_s_policy_draws_from_the_same_operations():
    batch = random_images(1000, 4)
    augmenter = augment.study_policy()
    augmenter.seed_(0)
    outcomes = [outcome(*pair) for pair in zip(batch, augmenter.augment_images(batch), strict=True)]
    # 200 expected; five standard deviations are 5 × √(1000 × 1/5 × 4/5) = 63.
    assert all(abs(outcomes.count(name) - 200) < 64 for name in EXACT)


def test_rotation_by_90_degrees_is_clockwise():
    image = np.zeros((3, 3, 1), np.uint8)
    image[0, 0] = 1  # top left …
    turned = augment.OPERATIONS["rotation by 90°"].augment_image(image)
    assert turned[0, 2] == 1  # … becomes top right


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_policy_gives_each_of_the_five_equally_often_and_never_the_image_itself(dtype):
    batch = random_images(2000, 4, dtype=dtype)
    augmented = augment.augment_batch(batch, "study", seed=0)
    assert augmented.shape == batch.shape
    assert augmented.dtype == dtype
    outcomes = [outcome(*pair) for pair in zip(batch, augmented, strict=True)]
    counts = {name: outcomes.count(name) for name in EXACT}
    # 400 expected; five standard deviations are 5 × √(2000 × 1/5 × 4/5) = 89.
    assert all(abs(count - 400) < 90 for count in counts.values()), counts


def test_policy_draws_anew_for_each_image_of_a_batch():
    batch = np.repeat(random_images(1, 6), 50, axis=0)
    augmented = augment.augment_batch(batch, "study", seed=0)
    assert len(np.unique(augmented, axis=0)) == 5


def test_policy_repeats_by_seed_and_differs_between_seeds():
    batch = random_images(20, 6)
    first = augment.augment_batch(batch, "study", seed=7)
    np.random.default_rng().random()
    np.random.random(3)  # the global generator has no influence
    augment.augment_batch(batch, "study", seed=8)
    np.testing.assert_array_equal(augment.augment_batch(batch, "study", seed=7), first)
    assert (augment.augment_batch(batch, "study", seed=8) != first).any()


def test_policy_leaves_the_batch_it_was_given_alone():
    batch = random_images(8, 6)
    kept = batch.copy()
    augment.augment_batch(batch, "study", seed=0)
    np.testing.assert_array_equal(batch, kept)


def test_no_policy_changes_nothing():
    batch = random_images(3, 6)
    np.testing.assert_array_equal(augment.augment_batch(batch, "none", seed=0), batch)


def test_policy_takes_views_and_several_numbers_as_a_seed():
    batch = random_images(20, 6)
    views = [batch[row] for row in range(20)]
    found = augment.augment_batch(views, "study", seed=(2**31 - 1, 3, 1))
    np.testing.assert_array_equal(found, augment.augment_batch(batch, "study", (2**31 - 1, 3, 1)))
    assert (found != augment.augment_batch(batch, "study", (2**31 - 1, 3, 2))).any()


def test_an_unknown_policy_is_refused():
    with pytest.raises(HpaError, match="augmentation is 'fierce'"):
        augment.augment_batch(np.zeros((1, 4, 4, 3), np.uint8), "fierce", 0)


def test_dihedral_policy_draws_all_eight_equally_often():
    image = random_images(1, 5)[0]
    batch = np.repeat(image[None], 4000, axis=0)
    augmented = augment.augment_batch(batch, "dihedral", seed=0)
    eight = [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]
    counts = [int((augmented == one).all((1, 2, 3)).sum()) for one in eight]
    assert sum(counts) == 4000
    # 500 expected; five standard deviations are 5 × √(4000 × 1/8 × 7/8) = 105.
    assert all(abs(count - 500) < 105 for count in counts)


def smooth_images(count, size=64, channels=4):
    coarse = np.random.default_rng(1).integers(40, 200, (count, 4, 4, channels), np.uint8)
    large = [cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse]
    return np.stack(large)


def test_strong_policy_changes_images_within_its_bounds():
    batch = smooth_images(200)
    augmented = augment.augment_batch(batch, "strong", seed=0)
    assert augmented.shape == batch.shape
    assert augmented.dtype == np.uint8
    moved = augment.augment_batch(batch, "dihedral", seed=0)  # draws the same eight first
    ratios = augmented.mean((1, 2)) / moved.mean((1, 2))
    assert 0.5 < ratios.min() < 0.9
    assert 1.1 < ratios.max() < 1.8
    assert (np.ptp(ratios, axis=1) > 0.02).mean() > 0.9  # each channel on its own
    black = (augmented == 0).all(axis=-1).mean((1, 2))
    hidden = black > 0.5 * 0.2**2
    assert 0.3 < hidden.mean() < 0.7
    assert black.max() < 1.5 * 0.2**2


def test_strong_policy_follows_the_seed_alone():
    batch = smooth_images(4)
    one, same, other = (augment.augment_batch(batch, "strong", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_strong_policy_takes_8_bits():
    with pytest.raises(HpaError, match="'strong', but the images are float32"):
        augment.augment_batch(random_images(2, 8, dtype=np.float32), "strong", seed=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mixed_images_and_labels_have_the_same_shares(dtype):
    values = np.arange(0, 160, 10)
    batch = np.broadcast_to(values[:, None, None, None], (16, 2, 2, 3)).astype(dtype)
    labels = np.eye(16, 28, dtype=np.float32)
    mixture = augment.draw_mixture(16, 1.0, seed=(0, 1))
    images, mixed = mixture.apply(batch), mixture.apply(labels)
    assert (images.dtype, mixed.dtype) == (dtype, np.float32)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    expected = mixed[:, :16] @ values
    np.testing.assert_allclose(images[:, 0, 0, 0], expected, atol=0.51)
    assert ((mixed > 0).sum(axis=1) == 2).sum() > 10
    again = augment.draw_mixture(16, 1.0, seed=(0, 1))
    np.testing.assert_array_equal(images, again.apply(batch))


def test_little_mixing_leaves_most_images_nearly_alone():
    mixed = augment.draw_mixture(28, 0.05, seed=0).apply(np.eye(28, dtype=np.float32))
    assert (mixed.max(axis=1) > 0.95).mean() > 0.7


def test_the_bounds_of_strong_are_shown_as_a_table():
    table = augment.STRONG.table()
    assert table.loc["scale", "bounds"] == "0.9 to 1.1"
    assert table.loc["square share", "bounds"] == "0.5"
