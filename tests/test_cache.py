import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hpa_lib import cache, dataset, images, paths
from hpa_lib.errors import HpaError


def decoded(opened, size, composition):
    return np.stack(
        [
            images.compose(images.read_sample(opened.image_folder, sample_id), size, composition)
            for sample_id in opened.ids
        ]
    )


def open_quietly(opened, size=10, composition="composite"):
    return cache.open_cache(opened, size, composition, progress=False)


@pytest.mark.parametrize(("composition", "channels"), images.COMPOSITIONS.items())
def test_holds_what_direct_decoding_gives(tiny, composition, channels):
    array = open_quietly(tiny, 15, composition)
    assert array.shape == (24, 15, 15, channels)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, decoded(tiny, 15, composition))


def test_is_a_read_only_memory_map(tiny):
    array = open_quietly(tiny)
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_second_opening_reads_no_image(tiny, monkeypatch):
    first = np.array(open_quietly(tiny))

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(images, "read_sample", refuse)
    np.testing.assert_array_equal(open_quietly(tiny), first)


def test_other_parameters_and_other_images_have_other_caches(tiny, write_dataset, tmp_path):
    other = dataset.load(write_dataset(tmp_path / "other", seed=1))
    folders = {
        cache.cache_folder(opened, size, composition)
        for opened in (tiny, other)
        for size in (10, 11)
        for composition in images.COMPOSITIONS
    }
    assert len(folders) == 8
    assert all(folder.is_relative_to(paths.data_folder()) for folder in folders)
    assert (open_quietly(tiny) != open_quietly(other)).any()


def test_broken_image_leaves_nothing_behind_and_the_next_attempt_succeeds(tiny):
    path = tiny.image_folder / "sample-20_red.png"
    content = path.read_bytes()
    path.write_bytes(content[:60] + content[-12:])
    with pytest.raises(HpaError, match="sample-20_red"):
        open_quietly(tiny)
    folder = cache.cache_folder(tiny, 10, "composite")
    assert not [entry for entry in folder.parent.iterdir() if entry.is_dir()]
    path.write_bytes(content)
    np.testing.assert_array_equal(open_quietly(tiny), decoded(tiny, 10, "composite"))


def test_remains_of_a_killed_process_are_cleared(tiny):
    folder = cache.cache_folder(tiny, 10, "composite")
    unfinished = folder.with_name(folder.name + ".unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "images.npy").write_bytes(b"half")
    np.testing.assert_array_equal(open_quietly(tiny), decoded(tiny, 10, "composite"))
    assert not unfinished.exists()


def test_threads_that_want_the_same_cache_decode_once(tiny, monkeypatch):
    read, sample_ids = images.read_sample, []

    def counted(folder, sample_id):
        sample_ids.append(sample_id)
        return read(folder, sample_id)

    monkeypatch.setattr(images, "read_sample", counted)
    with ThreadPoolExecutor(4) as pool:
        arrays = list(pool.map(lambda _: open_quietly(tiny), range(4)))
    assert sorted(sample_ids) == sorted(tiny.ids)
    monkeypatch.undo()
    for array in arrays:
        np.testing.assert_array_equal(array, decoded(tiny, 10, "composite"))


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
    assert sums == [int(decoded(tiny, 10, "composite").sum(dtype=int))] * 2
