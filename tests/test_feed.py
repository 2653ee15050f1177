import time

import numpy as np
import pytest

from hpa_lib import feed, images, splits
from hpa_lib.errors import HpaError
from hpa_lib.parameters import TrainParameters


class NumberedImages:
    """Images whose every value is their row number."""

    shape = (4, 4, 3)
    dtype = np.dtype(np.uint8)

    def __getitem__(self, rows):
        numbers = np.asarray(rows, np.uint8)[..., None, None, None]
        return np.broadcast_to(numbers, (*np.shape(rows), 4, 4, 3))


def numbered(rows=range(30), **options):
    multi_hot = np.eye(50, 28, dtype=np.uint8)
    return feed.TrainingFeed(
        NumberedImages(), multi_hot, np.array(rows), **({"batch_size": 4} | options)
    )


def test_epoch_has_as_many_full_batches_as_there_are_rows_for():
    assert numbered().epoch_rows(0).shape == (7, 4)
    assert numbered(range(3)).epoch_rows(0).shape == (1, 4)
    assert numbered(steps_per_epoch=2).epoch_rows(0).shape == (2, 4)


def test_epochs_cover_all_rows_without_repetition():
    rows = numbered(range(10, 38)).epoch_rows(3)
    assert sorted(rows.ravel()) == list(range(10, 38))


def test_longer_epochs_continue_into_a_new_pass():
    rows = numbered(range(10), steps_per_epoch=6).epoch_rows(0).ravel()
    assert sorted(rows[:10]) == sorted(rows[10:20]) == list(range(10))
    assert len(set(rows[20:])) == 4


def test_epochs_differ_and_repeat_by_seed():
    one, again, other = numbered(seed=1), numbered(seed=1), numbered(seed=2)
    np.testing.assert_array_equal(one.epoch_rows(5), again.epoch_rows(5))
    assert (one.epoch_rows(0) != one.epoch_rows(1)).any()
    assert (one.epoch_rows(0) != other.epoch_rows(0)).any()


def test_replacement_draws_independently():
    rows = numbered(range(5, 30), draws="replacement", steps_per_epoch=250).epoch_rows(0).ravel()
    counts = np.bincount(rows, minlength=30)
    assert counts[:5].sum() == 0
    # 40 expected of each; 31 of 1000 are five standard deviations.
    assert (np.abs(counts[5:] - 40) < 32).all()
    # Without replacement a row would return in each 25 draws exactly once.
    assert any(len(set(rows[start : start + 25])) < 25 for start in range(0, 1000, 25))


@pytest.mark.parametrize("draws", ["epochs", "replacement"])
def test_class_balanced_sampling_draws_rare_classes_as_often_as_others(draws):
    multi_hot = np.zeros((50, 28), np.uint8)
    multi_hot[:, 0] = 1
    multi_hot[7] = np.eye(28)[1]
    batches = feed.TrainingFeed(
        NumberedImages(), multi_hot, np.arange(40), batch_size=4, steps_per_epoch=250,
        draws=draws, sampling="class_balanced",
    )  # fmt: skip
    counts = np.bincount(batches.epoch_rows(0).ravel(), minlength=50)
    # 500 expected; with replacement 80 are five standard deviations.
    assert abs(counts[7] - 500) < (80 if draws == "replacement" else 1.1)
    assert counts[40:].sum() == 0
    shares = batches.class_shares()
    assert shares["samples"].tolist()[:3] == [39, 1, 0]
    assert shares["share drawn"].tolist()[:3] == pytest.approx([0.5, 0.5, 0])


def test_mixup_mixes_images_and_labels_of_a_batch():
    rows = np.array([2, 9, 17, 25])
    pictures, truth = numbered(mixup=1.0).batch(0, 0, rows)
    np.testing.assert_allclose(truth.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(pictures[:, 0, 0, 0], truth @ np.arange(28), atol=0.51)
    again, _ = numbered(mixup=1.0).batch(0, 0, rows)
    np.testing.assert_array_equal(pictures, again)
    other, _ = numbered(mixup=1.0).batch(0, 1, rows)
    assert (pictures != other).any()


def test_batch_joins_images_with_their_labels():
    images_of_rows, labels_of_rows = numbered().batch(0, 0, np.array([7, 2]))
    assert images_of_rows[:, 0, 0, 0].tolist() == [7, 2]
    assert labels_of_rows.dtype == np.float32
    assert labels_of_rows.argmax(axis=1).tolist() == [7, 2]


def test_batches_are_augmented_by_seed_epoch_and_step():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), np.uint8)
    rows = np.arange(16)
    study = feed.TrainingFeed(pixels, np.eye(16, 28), rows, batch_size=16, policy="study", seed=3)
    first = study.batch(1, 2, rows)[0]
    np.testing.assert_array_equal(study.batch(1, 2, rows)[0], first)
    assert (study.batch(1, 3, rows)[0] != first).any()
    assert (study.batch(2, 2, rows)[0] != first).any()
    assert all((image != pixels[row]).any() for image, row in zip(first, rows, strict=True))


def test_resumed_feed_gives_the_batches_of_an_uninterrupted_one():
    whole = numbered(steps_per_epoch=3, policy="study").dataset().take(9).as_numpy_iterator()
    resumed = numbered(steps_per_epoch=3, policy="study").dataset(2).take(3).as_numpy_iterator()
    for one, other in zip(list(whole)[6:], resumed, strict=True):
        for wanted, found in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_dataset_gives_the_epochs_rows_in_order():
    batches = numbered()
    rows = np.concatenate([batches.epoch_rows(0), batches.epoch_rows(1)])
    for wanted, (pictures, truth) in zip(
        rows, batches.dataset().take(14).as_numpy_iterator(), strict=True
    ):
        assert pictures.dtype == np.uint8
        assert pictures[:, 0, 0, 0].tolist() == wanted.tolist()
        np.testing.assert_array_equal(truth, np.eye(50, 28)[wanted])


def test_batches_are_the_same_whatever_runs_at_the_same_time(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 9, 9, 4), np.uint8)

    class Slow:
        """Takes longer for some batches than for those after them."""

        shape, dtype = pixels.shape[1:], pixels.dtype

        def __getitem__(self, row):
            time.sleep(0.002 * (row % 7 == 0))
            return pixels[row]

    def some_batches(at_once):
        monkeypatch.setattr(feed, "_batches_at_once", lambda policy: at_once)
        options = {"batch_size": 4, "steps_per_epoch": 5, "policy": "study", "seed": 1}
        batches = feed.TrainingFeed(Slow(), np.eye(64, 28), np.arange(64), **options)
        return list(batches.dataset().take(15).as_numpy_iterator())

    for one, other in zip(some_batches(1), some_batches(4), strict=True):
        for wanted, found in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_draws_of_operations_do_not_repeat_those_of_rows(monkeypatch):
    seeds = []
    monkeypatch.setattr(
        feed.augment, "augment_batch", lambda pictures, policy, seed: seeds.append(seed)
    )
    batches = numbered(seed=5)
    for epoch, step in ((0, 0), (0, 1), (1, 0), (2, 3)):
        batches.batch(epoch, step, np.arange(4))
    seeds += [[5, epoch] for epoch in range(3)]
    draws = {np.random.default_rng(seed).integers(2**62) for seed in seeds}
    assert len(draws) == len(seeds) == 7


def test_preview_shows_the_first_images_of_the_first_epoch():
    batches = numbered()
    preview = batches.preview(6)
    assert [int(picture[0, 0, 0]) for picture in preview] == batches.epoch_rows(0).ravel()[
        :6
    ].tolist()


def test_cached_and_decoded_images_agree_up_to_rounding(tiny):
    rows = np.array([5, 0, 5])
    cached = feed.open_source(tiny, "cache", 16, "composite", "bilinear")
    direct = feed.open_source(tiny, "decode", 16, "composite", "bilinear")
    assert cached.shape == direct.shape == (16, 16, 3)
    assert (cached[rows].dtype, direct[rows].dtype) == (cached.dtype, direct.dtype)
    assert (cached.dtype, direct.dtype) == (np.uint8, np.float32)
    assert np.abs(cached[rows] - direct[rows]).max() <= 0.5 + 1e-4


def test_decoded_images_are_the_study_composite(tiny):
    sample = tiny.read_sample(4)
    found = feed.open_source(tiny, "decode", 16, "composite", "bilinear")[np.array([4])][0]
    np.testing.assert_allclose(found, images.study_composite(sample, 16) * 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("composition", "interpolation"), [("rgby", "bilinear"), ("composite", "area")]
)
def test_only_the_study_s_composite_can_be_decoded_in_every_step(tiny, composition, interpolation):
    with pytest.raises(HpaError, match=f"'{composition}' and interpolation '{interpolation}'"):
        feed.open_source(tiny, "decode", 16, composition, interpolation)


@pytest.mark.parametrize("kind", ["cache", "decode"])
def test_one_row_gives_one_image(tiny, kind):
    source = feed.open_source(tiny, kind, 16, "composite", "bilinear")
    assert source[7].shape == source.shape
    np.testing.assert_array_equal(source[7], source[np.array([7])][0])


def test_training_feed_follows_the_parameters(tiny):
    values = TrainParameters(
        batch_size=3, steps_per_epoch=2, draws="replacement", augmentation="none", seed=9
    )
    division = splits.stratified_split(tiny)
    source = feed.open_source(tiny, "cache", 16, "rgby")
    batches = feed.training_feed(source, tiny, division, values)
    rows = batches.epoch_rows(0)
    assert rows.shape == (2, 3)
    wanted = np.random.default_rng([9, 0]).choice(division.parts["training"], 6).reshape(2, 3)
    np.testing.assert_array_equal(rows, wanted)
    pictures, truth = batches.batch(0, 0, rows[0])
    np.testing.assert_array_equal(pictures, source[rows[0]])
    np.testing.assert_array_equal(truth, tiny.multi_hot[rows[0]])


def test_sequential_batches_keep_the_order_and_the_rest():
    batches = list(feed.sequential_batches(NumberedImages(), np.array([3, 1, 2, 9, 4]), 2))
    assert [batch[:, 0, 0, 0].tolist() for batch in batches] == [[3, 1], [2, 9], [4]]
