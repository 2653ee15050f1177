import os
import time

import cv2
import numpy as np
import pytest

from hpa_lib import dataset, file_marks, image_files, paths
from hpa_lib.errors import HpaError

HOUR = 3600 * 10**9


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were opened."""
    names = []
    inspect = image_files.inspect

    def record(path):
        names.append(str(path))
        return inspect(path)

    monkeypatch.setattr(image_files, "inspect", record)
    return names


@pytest.fixture
def later(monkeypatch):
    """Let the clock stand an hour ahead, so that all times have settled."""
    now = time.time_ns
    monkeypatch.setattr(file_marks.time, "time_ns", lambda: now() + HOUR)


def kept():
    return list((paths.data_folder() / "cache").glob(f"*-{file_marks.NAME_PART}-*"))


def test_unchanged_files_are_opened_once(write_dataset, tmp_path, opened, later):
    folder = write_dataset(tmp_path / "images", samples=24)
    first = dataset.load(folder)
    assert len(opened) == 96
    opened.clear()
    assert dataset.load(folder) == first
    assert opened == []
    assert len(kept()) == 1


def test_files_that_have_just_changed_are_opened_again(write_dataset, tmp_path, opened):
    folder = write_dataset(tmp_path / "images", samples=24)
    first = dataset.load(folder)
    opened.clear()
    assert dataset.load(folder) == first
    assert len(opened) == 96


def test_a_changed_file_is_seen_even_if_size_and_time_are_as_before(
    write_dataset, tmp_path, opened, later
):
    folder = write_dataset(tmp_path / "images", samples=24)
    first = dataset.load(folder)
    opened.clear()
    path = first.paths(5)[1]
    before = path.stat()
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    for row, column in np.ndindex(pixels.shape):  # until the file is as long as it was
        pixels[row, column] ^= 1
        cv2.imwrite(str(path), pixels)
        if path.stat().st_size == before.st_size:
            break
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    changed = dataset.load(folder)
    assert opened == [str(path)]
    assert changed.fingerprint != first.fingerprint


def test_a_file_that_was_cut_or_is_gone_is_refused(write_dataset, tmp_path, later):
    folder = write_dataset(tmp_path / "images", samples=24)
    path = dataset.load(folder).paths(7)[0]
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(HpaError, match=path.name):
        dataset.load(folder)
    path.write_bytes(content)
    dataset.load(folder)
    path.unlink()
    with pytest.raises(HpaError, match=path.name):
        dataset.load(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive", np.arange(9).tobytes()])
def test_damaged_marks_are_made_anew(write_dataset, tmp_path, opened, later, content):
    folder = write_dataset(tmp_path / "images", samples=24)
    first = dataset.load(folder)
    kept()[0].write_bytes(content)
    opened.clear()
    assert dataset.load(folder) == first
    assert len(opened) == 96
    opened.clear()
    dataset.load(folder)
    assert opened == []


def test_a_data_folder_that_can_not_be_written_is_no_hindrance(
    write_dataset, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPA_DATA", str(tmp_path / "file" / "below"))
    assert len(dataset.load(write_dataset(tmp_path / "images", samples=24))) == 24
