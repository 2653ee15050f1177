import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hpa_lib import cache, dataset, files, images, paths
from hpa_lib.errors import HpaError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Five blocks of up to five rows instead of one block."""
    monkeypatch.setattr(cache._BlockFile, "MOST_ROWS", 5)


@pytest.fixture
def decoded_rows(monkeypatch):
    """Rows that were decoded since the test began."""
    read, rows = dataset.Dataset.read_channels, []

    def counted(opened, row):
        rows.append(row)
        return read(opened, row)

    monkeypatch.setattr(dataset.Dataset, "read_channels", counted)
    return rows


def decoded(opened, size=10, composition="composite", interpolation="area"):
    return np.stack(
        [
            images.compose(opened.read_sample(row), size, composition, interpolation)
            for row in range(len(opened))
        ]
    )


def open_quietly(opened, size=10, composition="composite", interpolation="area", **options):
    return cache.open_cache(opened, size, composition, interpolation, progress=False, **options)


def folder_of(opened):
    return cache.cache_folder(opened, 10, "composite")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def spoil(path, position=-1):
    with path.open("r+b") as stream:
        stream.seek(position, os.SEEK_END)
        byte = stream.read(1)
        stream.seek(position, os.SEEK_END)
        stream.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
@pytest.mark.parametrize("composition", images.COMPOSITIONS)
def test_holds_what_direct_decoding_gives(tiny, composition, interpolation):
    array = open_quietly(tiny, 15, composition, interpolation)
    assert array.shape == (24, 15, 15, images.COMPOSITIONS[composition].channels)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, decoded(tiny, 15, composition, interpolation))


def test_is_a_read_only_memory_map(tiny):
    array = open_quietly(tiny)
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_second_opening_reads_no_image(tiny, decoded_rows):
    first = np.array(open_quietly(tiny))
    np.testing.assert_array_equal(open_quietly(tiny), first)
    np.testing.assert_array_equal(open_quietly(tiny, verify=True), first)
    assert sorted(decoded_rows) == list(range(24))


def test_other_parameters_and_other_images_have_other_caches(tiny, write_dataset, tmp_path):
    other = dataset.load(write_dataset(tmp_path / "other", seed=1))
    folders = {
        cache.cache_folder(opened, size, composition, interpolation)
        for opened in (tiny, other)
        for size in (10, 11)
        for composition in images.COMPOSITIONS
        for interpolation in ("area", "bilinear")
    }
    assert len(folders) == 16
    assert all(folder.is_relative_to(paths.data_folder()) for folder in folders)
    assert (open_quietly(tiny) != open_quietly(other)).any()


def test_broken_image_shows_no_cache_and_the_next_attempt_goes_on(tiny, decoded_rows):
    whole = content_of_a_fresh_build(tiny)
    path = tiny.folder / "train" / "sample-23_red.png"
    kept = path.read_bytes()
    path.write_bytes(kept[:60] + kept[-12:])
    with pytest.raises(HpaError, match="sample-23_red"):
        open_quietly(tiny)
    assert not folder_of(tiny).exists()
    path.write_bytes(kept)
    decoded_rows.clear()
    open_quietly(tiny)
    assert 20 in decoded_rows  # the block of row 23
    assert len(decoded_rows) < 24
    assert content(folder_of(tiny)) == whole


def content_of_a_fresh_build(opened):
    open_quietly(opened)
    whole = content(folder_of(opened))
    shutil.rmtree(folder_of(opened))
    return whole


def written_blocks(unfinished):
    if not (unfinished / "digests.bin").exists():
        return []
    digests = np.fromfile(unfinished / "digests.bin", np.uint8)
    return np.flatnonzero(digests.reshape(-1, 32).any(axis=1)).tolist() if digests.size else []


def test_killed_build_is_continued_to_the_same_bytes(tiny, decoded_rows):
    whole = content_of_a_fresh_build(tiny)
    code = (
        "import time; from pathlib import Path; from hpa_lib import cache, dataset\n"
        "cache._BlockFile.MOST_ROWS = 5\n"
        "read = dataset.Dataset.read_channels\n"
        "def slow(opened, row):\n"
        "    if row >= 10: time.sleep(60)\n"
        "    return read(opened, row)\n"
        "dataset.Dataset.read_channels = slow\n"
        f"opened = dataset.load(Path({str(tiny.folder)!r}))\n"
        "cache.open_cache(opened, 10, 'composite', progress=False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    unfinished = folder_of(tiny).with_name(folder_of(tiny).name + ".unfinished")
    deadline = time.monotonic() + 120
    while written_blocks(unfinished) != [0, 1]:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder_of(tiny).exists()
    decoded_rows.clear()
    open_quietly(tiny)
    assert sorted(decoded_rows) == list(range(10, 24))
    assert content(folder_of(tiny)) == whole


def test_half_written_block_of_an_interrupted_build_is_decoded_again(tiny):
    whole = content_of_a_fresh_build(tiny)
    open_quietly(tiny)
    unfinished = folder_of(tiny).with_name(folder_of(tiny).name + ".unfinished")
    folder_of(tiny).rename(unfinished)
    spoil(unfinished / "images.npy", -4000)
    open_quietly(tiny)
    assert content(folder_of(tiny)) == whole


@pytest.mark.parametrize("part", ["images.npy", "digests.bin"])
@pytest.mark.parametrize("damage", ["one bit", "cut off", "gone"])
def test_damage_is_noticed_and_mended(tiny, part, damage, caplog):
    open_quietly(tiny)
    whole = content(folder_of(tiny))
    path = folder_of(tiny) / part
    time.sleep(0.02)  # file times are coarse
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        os.truncate(path, path.stat().st_size - 7)
    else:
        spoil(path)
    noticed_at_once = (part, damage) != ("digests.bin", "one bit")
    open_quietly(tiny, verify=not noticed_at_once)
    assert content(folder_of(tiny)) == whole
    assert "are damaged" in caplog.text
    assert str(folder_of(tiny)) in caplog.text


def test_damage_that_hides_its_time_is_found_by_verification(tiny, decoded_rows, caplog):
    open_quietly(tiny)
    folder = folder_of(tiny)
    whole = content(folder)
    spoil(folder / "images.npy")
    changed = (folder / "images.npy").stat().st_ctime_ns
    os.utime(folder / "digests.bin", ns=(changed, changed))
    decoded_rows.clear()
    open_quietly(tiny)
    assert content(folder) != whole
    open_quietly(tiny, verify=True)
    assert content(folder) == whole
    assert sorted(decoded_rows) == [20, 21, 22, 23]
    assert "1 of 5 blocks" in caplog.text


def test_full_disk_is_told_before_anything_is_decoded(tiny, decoded_rows, monkeypatch):
    usage = shutil.disk_usage(tiny.folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(HpaError, match="GB are free"):
        open_quietly(tiny)
    assert not decoded_rows
    assert not folder_of(tiny).exists()


@pytest.mark.parametrize("obstacle", ["a file is the data folder", "lock can't be opened"])
def test_data_folder_that_cannot_be_written_is_named(tiny, monkeypatch, tmp_path, obstacle):
    monkeypatch.setenv("HPA_DATA", str(tmp_path / "kept"))
    if obstacle == "a file is the data folder":
        (tmp_path / "kept").touch()
    else:
        folder_of(tiny).with_name(folder_of(tiny).name + ".lock").mkdir(parents=True)
    with pytest.raises(HpaError, match=f"data folder {tmp_path / 'kept'} can't be wr") as caught:
        open_quietly(tiny)
    assert "HPA_DATA" in caught.value.remedy
    assert isinstance(caught.value.__cause__, OSError)


def test_ready_cache_of_a_read_only_data_folder_is_used(tiny, monkeypatch):
    whole = np.array(open_quietly(tiny))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "FileLock", refuse)
    monkeypatch.setattr(paths.Path, "mkdir", refuse)
    np.testing.assert_array_equal(open_quietly(tiny), whole)
    with pytest.raises(HpaError, match="Permission denied"):
        open_quietly(tiny, verify=True)


def test_threads_that_want_the_same_cache_decode_once(tiny, decoded_rows):
    with ThreadPoolExecutor(4) as pool:
        arrays = list(pool.map(lambda _: open_quietly(tiny), range(4)))
    assert sorted(decoded_rows) == list(range(24))
    for array in arrays:
        np.testing.assert_array_equal(array, decoded(tiny))


def test_processes_that_want_the_same_cache_wait_for_each_other(tiny):
    code = (
        "from pathlib import Path; from hpa_lib import cache, dataset; "
        f"opened = dataset.load(Path({str(tiny.folder)!r})); "
        "print(int(cache.open_cache(opened, 10, 'composite', progress=False).sum(dtype=int)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    sums = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sums == [int(decoded(tiny).sum(dtype=int))] * 2


def test_block_holds_one_row_at_least_and_a_bounded_number_of_bytes(tmp_path, monkeypatch):
    monkeypatch.undo()
    large = cache._BlockFile(tmp_path, (3, 3072, 3072, 4))
    assert [list(large.rows(block)) for block in large.blocks] == [[0], [1], [2]]
    usual = cache._BlockFile(tmp_path, (70, 299, 299, 3))
    assert [len(usual.rows(block)) for block in usual.blocks] == [32, 32, 6]
