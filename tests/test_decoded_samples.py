import threading

import numpy as np
import pytest

from hpa_lib.dataset import Dataset
from hpa_lib.decoded_samples import DecodedSamples
from hpa_lib.errors import HpaError

BYTES = 20 * 20 * 4  # of a sample of the tiny dataset


@pytest.fixture
def reads(monkeypatch):
    """Rows that were decoded, in order."""
    rows, read = [], Dataset.read_channels
    lock = threading.Lock()

    def counted(self, row, workers=None):
        with lock:
            rows.append(row)
        return read(self, row, workers)

    monkeypatch.setattr(Dataset, "read_channels", counted)
    return rows


def test_a_sample_is_decoded_once_and_is_the_datasets(tiny, reads):
    samples = DecodedSamples(tiny)
    for _ in range(3):
        np.testing.assert_array_equal(samples[5], tiny.read_sample(5))
    assert reads == [5]


def test_samples_ahead_are_decoded_before_they_are_asked_for(tiny, reads):
    samples = DecodedSamples(tiny)
    samples.read_ahead([3, 4])
    samples[3], samples[4], samples[3]
    assert sorted(reads) == [3, 4]


def test_those_asked_for_longest_ago_are_forgotten(tiny, reads):
    samples = DecodedSamples(tiny, limit=2 * BYTES)
    for row in (0, 1, 0, 2, 3, 0, 3):  # 1 is dropped for 3, and 2 after it
        samples[row]
    assert reads == [0, 1, 2, 3]
    samples[2]
    assert reads[4:] == [2]


def test_a_sample_that_cannot_be_read_is_read_again_when_mended(tiny):
    path = tiny.paths(2)[1]
    content = path.read_bytes()
    path.write_bytes(b"no image")
    samples = DecodedSamples(tiny)
    with pytest.raises(HpaError, match=path.name):
        samples[2]
    path.write_bytes(content)
    np.testing.assert_array_equal(samples[2], tiny.read_sample(2))
