from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from hpa_lib import dataset, near_duplicates, synthetic_images
from hpa_lib.near_duplicates import LARGEST_DISTANCE, NearDuplicates


@pytest.fixture(scope="module")
def fields():
    """Six fields of cells, shape (6, 128, 128, 4)."""
    return np.stack([synthetic_images.draw_sample((0, 16), 0, field, 128) for field in range(6)])


def distances(first, second):
    hashes = near_duplicates.hashes(first), near_duplicates.hashes(second)
    return near_duplicates.distances(*hashes)


def test_hash_is_the_median_cut_of_the_lowest_frequencies(fields):
    found = near_duplicates.hashes(fields)
    picture = cv2.resize(fields[2], (32, 32), interpolation=cv2.INTER_AREA)[..., 1]
    lowest = dctn(picture.astype(float))[:8, :8].ravel()
    bits = [coefficient > np.median(lowest[1:]) for coefficient in lowest[1:]]
    assert [bool(found[2, 1] >> np.uint64(bit + 1) & np.uint64(1)) for bit in range(63)] == bits
    assert (found & np.uint64(1) == 0).all()


def test_pictures_are_hashed_one_by_one(fields, monkeypatch):
    whole = near_duplicates.hashes(fields)
    monkeypatch.setattr(near_duplicates, "_PICTURES_AT_ONCE", 4)
    np.testing.assert_array_equal(near_duplicates.hashes(fields), whole)


def test_a_factor_on_the_brightness_changes_no_bit(fields):
    even = fields[:, ::4, ::4] // 8 * 2  # 32×32: a factor of 4 neither rounds nor saturates
    assert (distances(even, even * 4) == 0).all()


def test_exposure_noise_and_compression_keep_fields_near_and_others_far(fields):
    random = np.random.default_rng(0)
    darker = np.rint(fields * 0.6).astype(np.uint8)
    noisy = np.clip(fields + random.normal(0, 5, fields.shape), 0, 255).astype(np.uint8)
    moved = np.roll(fields, 1, axis=(1, 2))
    for other in (darker, noisy, moved):
        assert distances(fields, other).max() <= LARGEST_DISTANCE
    turned = np.rot90(fields, axes=(1, 2))
    assert distances(fields, turned).min() > LARGEST_DISTANCE
    assert distances(fields[:-1], fields[1:]).min() > 2 * LARGEST_DISTANCE


def test_channels_without_contrast_hash_to_0():
    pictures = np.full((2, 40, 40, 4), [[0, 7, 100, 255]], dtype=np.uint8)
    assert (near_duplicates.hashes(pictures) == 0).all()


def turn_bits(value, count, random):
    for bit in random.choice(256, count, replace=False):
        value[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_all_pairs_up_to_the_distance_are_found_and_no_others(seed):
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, (60, 4), dtype=np.uint64)
    hashes[50:] = hashes[:10]
    for row in range(50, 60):
        turn_bits(hashes[row], random.integers(0, 45), random)
    found = near_duplicates.matches(hashes)
    apart = near_duplicates.distances(hashes[:, None], hashes)
    expected = np.argwhere(np.triu(apart <= LARGEST_DISTANCE, k=1))
    assert sorted(found.rows.tolist()) == expected.tolist()
    np.testing.assert_array_equal(found.distances, apart[tuple(found.rows.T)])
    assert (np.diff(found.distances) >= 0).all()


def test_bits_spread_evenly_over_the_bands_are_found():
    hashes = np.zeros((2, 4), dtype=np.uint64)
    hashes[1] = 0x0003_0003_0003_0001  # two bits in three bands of each channel, one in the fourth
    assert near_duplicates.matches(hashes).distances.tolist() == [28]
    hashes[1, 1:] |= np.uint64(2)
    assert near_duplicates.matches(hashes).distances.tolist() == [31]
    hashes[1] |= np.uint64(2)
    assert len(near_duplicates.matches(hashes)) == 0


def test_large_buckets_are_compared_in_pieces(monkeypatch):
    hashes = np.zeros((30, 4), dtype=np.uint64)
    monkeypatch.setattr(near_duplicates, "_CANDIDATES_AT_ONCE", 70)
    found = near_duplicates.matches(hashes)
    assert found.rows.tolist() == [[a, b] for a in range(30) for b in range(a + 1, 30)]


def pairs(*rows):
    return NearDuplicates(np.array(rows, dtype=int).reshape(-1, 2), np.arange(len(rows)))


def test_groups_are_chains_of_pairs():
    assert pairs((4, 5), (2, 4), (0, 1), (3, 5)).groups(7).tolist() == [0, 0, 2, 2, 2, 2, 6]
    assert pairs().groups(3).tolist() == [0, 1, 2]
    chain = pairs(*((row, row + 1) for row in range(99)))
    assert set(chain.groups(101)[:100]) == {0}


def test_digest_is_of_the_pairs_not_of_their_order():
    assert pairs((0, 1), (2, 3)).digest == pairs((2, 3), (0, 1)).digest != pairs((0, 1)).digest


def test_sentences_count():
    assert pairs().sentence() == "No two samples are near-duplicates."
    assert pairs((0, 1)).sentence().startswith("1 pair of samples is near-duplicates, 2 samples")
    assert "3 samples in all; their hashes differ in 0 to 1" in pairs((0, 1), (1, 2)).sentence()


def test_copies_are_found_in_a_folder_and_kept(write_dataset, tmp_path, monkeypatch):
    folder = write_dataset(tmp_path / "data", samples=24, size=40)
    for channel in ("red", "green", "blue", "yellow"):
        path = Path(folder / "train" / f"sample-05_{channel}.png")
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / "train" / f"sample-11_{channel}.png"), image // 2)
    opened = dataset.load(folder)
    found = near_duplicates.find(opened)
    assert found.rows.tolist() == [[5, 11]]
    assert found.titles(opened)[0] == f"sample-05, distance {found.distances[0]}"
    monkeypatch.setattr(near_duplicates, "open_pictures", None)  # not needed again
    again = near_duplicates.find(opened)
    np.testing.assert_array_equal(again.rows, found.rows)
    np.testing.assert_array_equal(again.distances, found.distances)
    assert again.digest == found.digest


@pytest.mark.real_images
def test_no_two_of_the_real_samples_are_near_duplicates(real_images):
    opened = dataset.load(real_images)
    for _ in ("searched", "read again"):
        assert near_duplicates.find(opened).rows.shape == (0, 2)
