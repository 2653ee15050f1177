import cv2
import numpy as np
import pytest

from hpa_lib import resizing


def random_image(height, width=None, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width or height), np.uint8)


def exact(parts, divisor, size):
    """The formula that 8-bit bilinear results must equal bit for bit."""
    total = sum(part.astype(np.float64) for part in parts) / divisor
    return np.rint(resizing.bilinear(total, size) / 255 * 255).astype(np.uint8)


@pytest.mark.parametrize("size", [75, 299])
def test_formula_is_opencv_s_in_double_precision(size):
    image = random_image(512) / 2
    wanted = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resizing.bilinear(image, size), wanted, atol=1e-6)


# Whole ratios such as 512 to 256 make many exact halves, whose rounding is the hard part.
@pytest.mark.parametrize("size", [1, 75, 128, 256, 299, 300, 512, 600])
def test_bilinear_equals_the_formula_in_every_pixel(size):
    resizer = resizing.Resizer(size, "bilinear")
    for seed in range(3):
        first, second = random_image(512, seed=seed), random_image(512, seed=100 + seed)
        for parts, divisor in (((first, second), 2), ((first,), 2), ((first,), 1)):
            np.testing.assert_array_equal(resizer(parts, divisor), exact(parts, divisor, size))


def test_bilinear_equals_the_formula_on_flat_and_dark_images():
    # Sums that are odd everywhere end in ½ wherever four neighbours agree.
    resizer = resizing.Resizer(299, "bilinear")
    dark = np.random.default_rng(0).poisson(0.4, (512, 512)).astype(np.uint8)
    for parts in ((np.full_like(dark, 7), np.full_like(dark, 10)), (dark, dark + np.uint8(1))):
        np.testing.assert_array_equal(resizer(parts, 2), exact(parts, 2, 299))


@pytest.mark.parametrize(("height", "width"), [(20, 31), (64, 40), (1, 5), (3000, 2100)])
def test_images_need_not_be_square(height, width):
    parts = (random_image(height, width),)
    for interpolation in resizing.INTERPOLATIONS:
        found = resizing.Resizer(16, interpolation)(parts, 1)
        assert (found.shape, found.dtype) == ((16, 16), np.uint8)
    np.testing.assert_array_equal(resizing.Resizer(16, "bilinear")(parts, 1), exact(parts, 1, 16))


def test_chosen_pixels_are_those_of_the_whole():
    image = random_image(50, 70)
    chosen = np.array([0, 5, 30 * 30 - 1, 17])
    whole = resizing.bilinear(image, 30)
    np.testing.assert_array_equal(resizing.bilinear(image, 30, chosen), whole.ravel()[chosen])


@pytest.mark.parametrize("size", [20, 75, 256, 299, 512])
def test_area_is_opencv_s_up_to_ties(size):
    image = random_image(512)
    found = resizing.Resizer(size, "area")((image,), 1).astype(int)
    wanted = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 1e-3 or size == 256  # where quarters are common


def test_area_takes_the_mean_of_parts_of_pixels():
    # 3 → 2 pixels: each new one covers one old pixel and half of the middle one.
    image = np.array([[0, 90, 30]] * 3, np.uint8)
    assert resizing.Resizer(2, "area")((image,), 1).tolist() == [[30, 50]] * 2


def test_area_enlarges_bilinearly():
    parts = (random_image(20),)
    np.testing.assert_array_equal(resizing.Resizer(33, "area")(parts, 1), exact(parts, 1, 33))


def test_extremes_neither_wrap_nor_saturate_early():
    white = np.full((512, 512), 255, np.uint8)
    for interpolation in resizing.INTERPOLATIONS:
        resizer = resizing.Resizer(299, interpolation)
        assert (resizer((white, white), 2) == 255).all()
        assert (resizer((white,), 1) == 255).all()
        assert (resizer((white * np.uint8(0),), 1) == 0).all()
