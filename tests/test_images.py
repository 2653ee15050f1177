import numpy as np
import pytest
from PIL import Image

from hpa_lib import dataset, images


def constant_sample(red, green, blue, yellow, size=6):
    return np.full((size, size, 4), (red, green, blue, yellow), dtype=np.uint8)


def bilinear(array, size):
    """Bilinear resizing with pixel centres at half-integers and repeated borders, in float64."""

    def axis(length):
        position = (np.arange(size) + 0.5) * length / size - 0.5
        lower = np.floor(position).astype(int)
        weight = (position - lower)[:, None]
        return np.clip(lower, 0, length - 1), np.clip(lower + 1, 0, length - 1), weight

    top, bottom, down = axis(array.shape[0])
    left, right, across = axis(array.shape[1])
    down = down[:, :, None]
    rows = array[top] * (1 - down) + array[bottom] * down
    return rows[:, left] * (1 - across) + rows[:, right] * across


def study_generator_image(folder, sample_id, size):
    """The study's generator, written anew with Pillow and numpy."""
    red, green, blue, yellow = (
        np.array(Image.open(folder / f"{sample_id}_{name}.png"))
        for name in ("red", "green", "blue", "yellow")
    )
    mixed = np.stack((red / 2 + yellow / 2, green / 2 + yellow / 2, blue / 2), -1)
    return bilinear(mixed, size) / 255


def test_channels_of_the_competition():
    assert images.CHANNELS == ("red", "green", "blue", "yellow")
    assert set(images.CHANNEL_MEANINGS) == set(images.CHANNELS)
    assert images.CHANNEL_MEANINGS["green"] == "protein of interest"


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [
        ((255, 0, 0, 0), (0.5, 0, 0)),
        ((0, 255, 0, 0), (0, 0.5, 0)),
        ((0, 0, 255, 0), (0, 0, 0.5)),
        ((0, 0, 0, 255), (0.5, 0.5, 0)),
        ((255, 255, 255, 255), (1, 1, 0.5)),
        ((3, 4, 5, 6), (4.5 / 255, 5 / 255, 2.5 / 255)),
    ],
)
@pytest.mark.parametrize("size", [3, 6, 11])
def test_composite_of_constant_channels(channels, wanted, size):
    result = images.study_composite(constant_sample(*channels), size)
    assert result.shape == (size, size, 3)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, np.broadcast_to(wanted, result.shape), atol=1e-15)


def test_composite_from_4_to_2_pixels_is_the_mean_of_each_quarter():
    # Centres of the new pixels lie at 0.5 and 2.5 of the old ones: halfway between two pixels.
    sample = np.zeros((4, 4, 4), np.uint8)
    sample[..., 0] = [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100, 110], [120, 130, 140, 150]]
    sample[..., 3] = 7
    result = images.study_composite(sample, 2) * 255
    np.testing.assert_allclose(result[..., 0], np.array([[25, 45], [105, 125]]) / 2 + 3.5)
    np.testing.assert_allclose(result[..., 1], 3.5)
    np.testing.assert_allclose(result[..., 2], 0)


def test_composite_from_4_to_3_pixels_worked_out_by_hand():
    # Centres lie at 1/6, 3/2 and 17/6: weights 5:1, 1:1 and 1:5 of the two nearest pixels.
    sample = np.zeros((4, 4, 4), np.uint8)
    sample[..., 2] = np.array([0, 60, 120, 240], np.uint8)
    row = np.array([10, 90, 120 * 1 / 6 + 240 * 5 / 6]) / 2
    np.testing.assert_allclose(images.study_composite(sample, 3)[..., 2] * 255, [row] * 3)
    turned = np.swapaxes(sample, 0, 1)
    np.testing.assert_allclose(
        images.study_composite(turned, 3)[..., 2] * 255, np.transpose([row] * 3)
    )


def test_composite_does_not_anti_alias():
    # 9 → 3 pixels looks at every third pixel only, so that spots between them vanish.
    sample = np.zeros((9, 9, 4), np.uint8)
    sample[::3, ::3] = 255
    assert not images.study_composite(sample, 3).any()
    assert images.compose(sample, 3, "composite", "area").any(axis=(0, 1)).all()


def test_composite_equals_the_study_generator(tiny):
    for size in (7, 20, 33):
        sample = tiny.read_sample(1)
        wanted = study_generator_image(tiny.folder / "train", "sample-01", size)
        np.testing.assert_allclose(images.study_composite(sample, size), wanted, atol=1e-6)


@pytest.mark.real_images
def test_composite_equals_the_study_generator_on_real_images(real_images):
    opened = dataset.load(real_images)
    for row in range(6):
        wanted = study_generator_image(opened.folder / "train", opened.ids[row], 299)
        composite = images.study_composite(opened.read_sample(row), 299)
        np.testing.assert_allclose(composite, wanted, atol=1e-6)


@pytest.mark.parametrize("size", [15, 10, 20, 41])
def test_cached_composite_is_the_study_s_rounded_to_the_nearest_of_256_values(tiny, size):
    for row in range(6):
        sample = tiny.read_sample(row)
        composed = images.compose(sample, size, "composite", "bilinear")
        assert composed.dtype == np.uint8
        wanted = np.rint(images.study_composite(sample, size) * 255)
        np.testing.assert_array_equal(composed, wanted)


@pytest.mark.real_images
@pytest.mark.parametrize("size", [75, 256, 299])
def test_cached_composite_is_the_study_s_on_real_images(real_images, size):
    opened = dataset.load(real_images)
    composer = images.Composer(size, "composite", "bilinear")
    for row in range(10):
        wanted = np.rint(images.study_composite(opened.read_sample(row), size) * 255)
        np.testing.assert_array_equal(composer(opened.read_channels(row)), wanted)


def test_composite_with_anti_aliasing_mixes_the_same_channels():
    sample = np.zeros((4, 4, 4), np.uint8)
    sample[...] = np.array([40, 80, 120, 100])
    sample[::2, ::2, 0] = 80  # a quarter of the pixels: mean 50
    composed = images.compose(sample, 2, "composite", "area")
    assert (composed == ((50 + 100) / 2, (80 + 100) / 2, 60)).all()


def test_four_channels_stay_as_they_are(tiny):
    sample = tiny.read_sample(2)
    for interpolation in ("area", "bilinear"):
        np.testing.assert_array_equal(images.compose(sample, 20, "rgby", interpolation), sample)


def test_anti_aliasing_takes_the_mean_of_whole_areas():
    sample = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) * 4
    means = sample.reshape(2, 2, 2, 2, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(images.compose(sample, 2, "rgby", "area"), means, atol=0.5)


@pytest.mark.parametrize("composition", images.COMPOSITIONS)
def test_composer_writes_where_it_is_told(tiny, composition):
    channels = images.COMPOSITIONS[composition].channels
    composer = images.Composer(9, composition, "area")
    pictures = np.zeros((2, 9, 9, channels), np.uint8)
    composer(tiny.read_channels(3), out=pictures[1])
    assert not pictures[0].any()
    np.testing.assert_array_equal(pictures[1], images.compose(tiny.read_sample(3), 9, composition))


def test_display_overlays_customary_colours():
    for channels, colour in {
        (200, 0, 0, 0): (200, 0, 0),
        (0, 0, 0, 200): (200, 200, 0),
        (100, 50, 25, 30): (130, 80, 25),
        (200, 200, 200, 200): (255, 255, 200),
    }.items():
        picture = images.to_display(constant_sample(*channels))
        assert picture.dtype == np.uint8
        assert (picture == colour).all()


def test_display_gain():
    assert (images.to_display(constant_sample(10, 20, 200, 0), gain=2) == (20, 40, 255)).all()


def test_input_to_display_of_three_and_four_channels():
    three = np.array([[[0.4, 99.6, 255.0]]], np.float32)
    assert images.input_to_display(three).tolist() == [[[0, 100, 255]]]
    four = constant_sample(100, 50, 25, 30)
    np.testing.assert_array_equal(images.input_to_display(four), images.to_display(four))


def test_channel_statistics_over_images_of_different_size():
    random = np.random.default_rng(0)
    samples = [random.integers(0, 256, (size, size, 4), np.uint8) for size in (3, 8)]
    pixels = np.concatenate([sample.reshape(-1, 4) for sample in samples]) / 255
    statistics = images.channel_statistics(iter(samples))
    np.testing.assert_allclose(statistics["mean"], pixels.mean(axis=0))
    np.testing.assert_allclose(statistics["standard deviation"], pixels.std(axis=0))
