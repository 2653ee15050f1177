import numpy as np
import pytest

from hpa_lib import image_view, images
from hpa_lib.image_view import Region, Tone


@pytest.fixture
def sample():
    return np.random.default_rng(1).integers(0, 256, (40, 60, 4), dtype=np.uint8)


def test_without_settings_it_is_the_overlay_of_the_whole_image(sample):
    pixels = image_view.cut_out(sample, Region(), 512)
    np.testing.assert_array_equal(pixels, sample)
    np.testing.assert_array_equal(image_view.colour(pixels, Tone()), images.to_display(sample))


def test_brightness_of_each_channel_by_hand():
    pixel = np.array([[[100, 50, 200, 10]]], dtype=np.uint8)
    tone = Tone(gains=(0.5, 2.0, 1.0, 0.0), gamma=1.0)
    assert image_view.colour(pixel, tone).tolist() == [[[50, 100, 200]]]
    doubled = Tone(gains=(2.0, 2.0, 2.0, 2.0))  # red 200 + 20, green 100 + 20, blue cut at 255
    assert image_view.colour(pixel, doubled).tolist() == [[[220, 120, 255]]]
    brighter = round(255 * (100 / 255) ** 0.5)
    assert image_view.colour(pixel, Tone(gamma=0.5), "red").tolist() == [[[brighter] * 3]]
    limits = ((50, 150), (0, 50), (200, 255), (0, 255))
    stretched = image_view.colour(pixel, Tone(gains=(1, 1, 1, 0), limits=limits))
    assert stretched.tolist() == [[[128, 255, 0]]]


def test_limits_leave_out_a_thousandth_at_either_end():
    sample = np.zeros((100, 100, 4), dtype=np.uint8)
    sample[..., 0] = 10
    values = np.repeat(np.arange(100, dtype=np.uint8), 100)
    values[:9], values[-9:] = 0, 250  # nine of ten thousand pixels are no limit
    values[9:100], values[-100:-9] = 1, 99
    sample[..., 1] = values.reshape(100, 100)
    limits = image_view.stretch_limits(sample)
    assert limits[0] == (0.0, 255.0)
    assert limits[1] == (1.0, 99.0)


@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [
        (Region(), (0, 40), (0, 60)),
        (Region(2, 0, 0), (0, 20), (0, 30)),
        (Region(2, 1, 0.5), (10, 30), (30, 60)),
        (Region(None, 0.5, 1), (20, 40), (15, 45)),  # 30 pixels a side fit into 30
        (Region(1000, 1, 1), (39, 40), (59, 60)),
    ],
)
def test_region_keeps_the_proportions_and_lies_within(region, rows, columns):
    assert region.slices(40, 60, size=30) == (slice(*rows), slice(*columns))


def test_too_many_pixels_are_averaged(sample):
    reduced = image_view.cut_out(sample, Region(), size=30)
    assert reduced.shape == (20, 30, 4)
    mean = sample.reshape(20, 2, 30, 2, 4).astype(float).mean(axis=(1, 3))
    assert np.abs(reduced - mean).max() <= 0.5
