import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from hpa_lib import augment, feed, splits
from hpa_lib import device_augmentation as device
from hpa_lib.errors import HpaError
from hpa_lib.imgaug_shim import iaa
from hpa_lib.parameters import TrainParameters

SIZE = 48


def smooth_images(count, size=SIZE, channels=4):
    """Images without noise, and values from 0 to 255."""
    coarse = np.random.default_rng(1).integers(0, 256, (count, 5, 5, channels), np.uint8)
    large = [cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse]
    return np.stack(large)


def applied(layer, images, *values):
    """What a layer makes of 8-bit images, as 8-bit images."""
    found = layer(tf.cast(images, tf.float32), *values).numpy()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, found.astype(np.uint8))
    return found.astype(np.uint8)


def differences(found, wanted):
    return np.abs(found.astype(int) - wanted.astype(int))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_views_are_those_of_the_host(dtype):
    images = np.random.default_rng(0).integers(0, 256, (16, 7, 7, 4)).astype(dtype)
    numbers = np.arange(16) % augment.VIEW_COUNT
    found = device.View()(images, numbers).numpy()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, augment.take_views(images, numbers))


@pytest.mark.parametrize("size", [12, SIZE, 75])
def test_place_is_imgaug_s(size):
    images = smooth_images(12, size)
    random = np.random.default_rng(2)
    scales = random.uniform(*augment.STRONG.scale, 12).astype(np.float32)
    shifts = random.uniform(*augment.STRONG.shift, (12, 2)).astype(np.float32)
    scales[:4] = np.repeat(augment.STRONG.scale, 2)  # the corners of what can be drawn
    shifts[:4] = np.tile([augment.STRONG.shift, augment.STRONG.shift[::-1]], (2, 1))
    found = applied(device.Place(), images, scales, shifts)
    for image, scale, (x, y), got in zip(images, scales, shifts, found, strict=True):
        move = iaa.Affine(
            scale=float(scale),
            translate_percent={"x": float(x), "y": float(y)},
            mode="reflect",
            backend="cv2",
        )
        off = differences(got, move.augment_image(image))
        assert off.max() <= 1
        assert off.mean() < 0.02  # what lies halfway between grey levels


def test_place_without_a_change_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    found = applied(device.Place(), images, np.ones(2, np.float32), np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(found, images)


def all_grey_levels(count, channels=4):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    return np.tile(levels, (count, 1, 1, channels))


def test_brightness_is_imgaug_s():
    images = all_grey_levels(8)
    factors = np.random.default_rng(3).uniform(*augment.STRONG.brightness, (8, 4))
    factors = factors.astype(np.float32)
    found = applied(device.Brightness(), images, factors)
    for image, factor, got in zip(images, factors, found, strict=True):
        wanted = iaa.arithmetic.multiply_scalar(image, factor)
        np.testing.assert_array_equal(got, wanted)


def test_gamma_is_imgaug_s_to_a_grey_level():
    images = all_grey_levels(8)
    exponents = np.random.default_rng(4).uniform(*augment.STRONG.gamma, (8, 4)).astype(np.float32)
    found = applied(device.Gamma(), images, exponents)
    for image, exponent, got in zip(images, exponents, found, strict=True):
        for channel in range(4):
            wanted = iaa.contrast.adjust_contrast_gamma(image[..., channel], exponent[channel])
            off = differences(got[..., channel], wanted)
            assert off.max() <= 1
            assert off.mean() < 0.01  # both round down: only what lies on a grey level differs


def test_noise_has_its_deviation_in_each_channel_on_its_own():
    images = np.full((3, 200, 200, 2), 128, np.uint8)
    deviations = np.array([0, 2, 8], np.float32)
    seed = np.array([1, 2], np.int32)
    noise = applied(device.Noise(), images, deviations, seed).astype(float) - 128
    assert (noise[0] == 0).all()
    for sample, deviation in zip(noise[1:], deviations[1:], strict=True):
        # Rounding adds a variance of 1/12; 40,000 values a channel, five standard deviations.
        wanted = np.sqrt(deviation**2 + 1 / 12)
        np.testing.assert_allclose(sample.std((0, 1)), wanted, rtol=5 / np.sqrt(2 * 40_000))
        assert np.abs(sample.mean((0, 1))).max() < 5 * wanted / 200
        assert abs(np.corrcoef(sample[..., 0].ravel(), sample[..., 1].ravel())[0, 1]) < 5 / 200
    assert abs(np.corrcoef(noise[1].ravel(), noise[2].ravel())[0, 1]) < 5 / np.sqrt(80_000)


def test_noise_stays_within_8_bits():
    images = np.zeros((1, 50, 50, 1), np.uint8)
    noisy = applied(device.Noise(), images, np.float32([8]), np.int32([0, 0]))
    assert 0.4 < (noisy == 0).mean() < 0.6  # what would be below 0 is 0
    assert noisy.max() > 8


@pytest.mark.parametrize("size", [12, SIZE, 75, 512])
def test_square_is_imgaug_s(size):
    images = np.full((40, size, size, 2), 9, np.uint8)
    draws = augment.draw_strong(40, 2, np.random.default_rng(5))
    found = applied(device.Square(), images, draws.squares, draws.centres)
    for image, side, (x, y), got in zip(images, draws.squares, draws.centres, found, strict=True):
        wanted = image.copy()
        if side:
            first = np.array([x - side / 2, y - side / 2]) * size
            after = np.array([x + side / 2, y + side / 2]) * size
            wanted = iaa.arithmetic.cutout_(wanted, *first, *after, cval=[0, 0, 0])
        np.testing.assert_array_equal(got, wanted)


def test_mixing_is_the_host_s():
    images = np.random.default_rng(6).integers(0, 256, (8, 5, 5, 3)).astype(np.uint8)
    mixture = augment.draw_mixture(8, 1.0, seed=0)
    found = applied(device.Mix(), images, mixture.others, mixture.shares)
    np.testing.assert_array_equal(found, mixture.apply(images))


def test_draws_fill_their_bounds_and_are_as_frequent_as_they_should_be():
    count, bounds = 4000, augment.STRONG
    draws = augment.draw_strong(count, 3, np.random.default_rng(7))
    noisy, hidden = draws.noise > 0, draws.squares > 0
    for values, (low, high) in (
        (draws.scales, bounds.scale),
        (draws.shifts, bounds.shift),
        (draws.brightness, bounds.brightness),
        (draws.gammas, bounds.gamma),
        (draws.noise[noisy], bounds.noise),
        (draws.centres, (0, 1)),
    ):
        assert values.dtype == np.float32
        assert stats.kstest(values.ravel(), "uniform", (low, high - low)).pvalue > 1e-3
    for flags, share in ((noisy, bounds.noise_share), (hidden, bounds.square_share)):
        assert abs(flags.mean() - share) < 5 * np.sqrt(share * (1 - share) / count)
    assert set(draws.squares) == {0, np.float32(bounds.square)}
    counts = np.bincount(draws.views, minlength=augment.VIEW_COUNT)
    # 500 expected; five standard deviations are 5 × √(4000 × 1/8 × 7/8) = 105.
    assert np.abs(counts - count / 8).max() < 105
    for one, other in ((draws.brightness, draws.brightness), (draws.shifts, draws.gammas)):
        assert abs(np.corrcoef(one[:, 0], other[:, 1])[0, 1]) < 5 / np.sqrt(count)


def test_both_ways_start_with_the_same_views():
    images = smooth_images(50)
    draws = augment.draw_strong(50, 4, np.random.default_rng((3, 0, 1)))
    moved = augment.augment_batch(images, "dihedral", (3, 0, 1))
    np.testing.assert_array_equal(augment.take_views(images, draws.views), moved)


def imgaug_s(image, number, draws):
    """What imgaug makes of an image with what is drawn for it, but for noise."""
    image = augment.take_views(image[None], draws.views[[number]])[0]
    x, y = map(float, draws.shifts[number])
    move = iaa.Affine(
        scale=float(draws.scales[number]),
        translate_percent={"x": x, "y": y},
        mode="reflect",
        backend="cv2",
    )
    image = iaa.arithmetic.multiply_scalar(move.augment_image(image), draws.brightness[number])
    channels = np.moveaxis(image, -1, 0)
    gammas = map(iaa.contrast.adjust_contrast_gamma, channels, draws.gammas[number])
    size, side, centre = len(image), draws.squares[number], draws.centres[number]
    corners = np.concatenate([centre - side / 2, centre + side / 2]) * size
    return iaa.arithmetic.cutout_(np.stack(list(gammas), -1), *corners, cval=[0] * len(channels))


def test_all_operations_follow_each_other_as_imgaug_s(monkeypatch):
    images = smooth_images(20)
    draws = augment.draw_strong(20, 4, np.random.default_rng(8))
    draws = draws._replace(noise=np.zeros_like(draws.noise))
    monkeypatch.setattr(augment, "draw_strong", lambda *given: draws)
    found = device.DeviceAugmenter()(images, 0).numpy()
    wanted = np.stack([imgaug_s(image, number, draws) for number, image in enumerate(images)])
    off = differences(found, wanted)
    assert off.max() <= 3  # each of three roundings may fall to the other side
    assert off.mean() < 1e-3
    assert (differences(images, wanted).mean((1, 2)) > 3).all()


def test_both_ways_change_images_alike():
    """The images of both have the same distributions of brightness, contrast, noise and black."""
    images = np.repeat(smooth_images(1, 40), 300, axis=0)
    one = augment.augment_batch(images, "strong", seed=0)
    other = device.DeviceAugmenter()(images, 1).numpy()

    def statistics(batch):
        values = batch.astype(float)
        rough = np.abs(np.diff(values, 2, axis=1)).mean((1, 2))
        return values.mean((1, 2)), values.std((1, 2)), rough, (values == 0).all(-1).mean((1, 2))

    for wanted, found in zip(statistics(one), statistics(other), strict=True):
        for channel in range(wanted.shape[1] if wanted.ndim > 1 else 1):
            pair = (values.reshape(300, -1)[:, channel] for values in (wanted, found))
            assert stats.ks_2samp(*pair).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_keeps_its_shape_and_dtype_and_has_whole_values(dtype):
    images = smooth_images(5).astype(dtype)
    kept = images.copy()
    found = device.DeviceAugmenter()(images, (0, 1, 2)).numpy()
    assert (found.shape, found.dtype) == (images.shape, dtype)
    np.testing.assert_array_equal(found, found.astype(np.uint8))
    np.testing.assert_array_equal(images, kept)


def test_a_batch_follows_the_seed_alone():
    images, augmenter = smooth_images(6), device.DeviceAugmenter()
    found = augmenter(list(images), (0, 1, 2)).numpy()
    tf.random.normal([3])
    keras.random.normal([3])  # the global generators have no influence
    augmenter(images, (0, 1, 3))
    np.testing.assert_array_equal(augmenter(images, (0, 1, 2)), found)
    np.testing.assert_array_equal(device.DeviceAugmenter()(images, (0, 1, 2)), found)
    assert (augmenter(images, (0, 1, 3)).numpy() != found).any((1, 2, 3)).all()


def test_an_image_doesn_t_depend_on_its_neighbours():
    images, augmenter = smooth_images(6), device.DeviceAugmenter()
    found = augmenter(images, 0).numpy()
    others = 255 - images
    others[2] = images[2]
    np.testing.assert_array_equal(augmenter(others, 0)[2], found[2])


def test_half_precision_changes_nothing():
    images = smooth_images(6)
    wanted = device.DeviceAugmenter()(images, 0).numpy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        np.testing.assert_array_equal(device.DeviceAugmenter()(images, 0), wanted)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def make_feed(source, **options):
    truth = (np.random.default_rng(6).random((20, 28)) < 0.2).astype(np.uint8)
    options = {"policy": "strong", "augment_on": "device", "batch_size": 4} | options
    return feed.TrainingFeed(source, truth, np.arange(14), **options)


@pytest.fixture
def source(array_source):
    """Images of 20 rows."""
    return array_source(smooth_images(20, 12, 3))


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_training_gets_the_batches_that_one_can_look_at(source, mixup):
    batches = make_feed(source, mixup=mixup)
    found = batches.batches(1)
    for epoch in (1, 2):
        for step, rows in enumerate(batches.epoch_rows(epoch)):
            images, truth = batches.batch(epoch, step, rows)
            same_images, same_truth = next(found)
            np.testing.assert_array_equal(same_images, images)
            np.testing.assert_array_equal(same_truth, truth)
            assert images.dtype == np.uint8
            plain = source[rows]
            assert (images != plain).any((1, 2, 3)).all()
            host = make_feed(source, mixup=mixup, augment_on="host").batch(epoch, step, rows)
            np.testing.assert_array_equal(truth, host[1])


def test_other_policies_stay_on_the_host(source):
    with pytest.raises(HpaError, match="'dihedral' is to run on the device"):
        make_feed(source, policy="dihedral")


def test_parameters_choose_the_device(tiny, array_source):
    values = TrainParameters(augmentation="strong", augment_on="device", batch_size=3)
    made = feed.training_feed(
        array_source(smooth_images(len(tiny), 12, 3)), tiny, splits.stratified_split(tiny), values
    )
    rows = made.epoch_rows(0)[0]
    wanted = device.DeviceAugmenter()(made.source[rows], (0, 0, 1))
    np.testing.assert_array_equal(made.batch(0, 0, rows)[0], wanted)
