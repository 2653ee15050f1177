import shutil

import pytest
from filelock import FileLock

from hpa_lib import cache, cache_pruning, file_marks, near_duplicates, paths


@pytest.fixture
def made(tiny):
    """A cache and a file of near-duplicates that the present code made."""
    near_duplicates.find(tiny)
    folder = cache.cache_folder(tiny, near_duplicates.PICTURE_SIZE, "rgby")
    [pairs] = folder.parent.glob("*.json")
    return folder, pairs


def of_other_code(path):
    """Copy a cache or a kept file to the name that other code would give it."""
    digest = path.stem[-8:]
    copy = path.with_name(path.name.replace(digest, "0" * 8))
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    return copy


def found():
    return {entry.path for entry in cache_pruning.outdated()}


def test_without_a_data_folder_nothing_is_found():
    assert not paths.data_folder().exists()
    assert found() == set()


def test_what_the_present_code_made_is_kept(made):
    assert found() == set()


def test_what_other_code_made_is_removed(made):
    folder, pairs = made
    old_folder, old_pairs = of_other_code(folder), of_other_code(pairs)
    pairs_of_old_folder = pairs.with_name(pairs.name.replace(folder.name, old_folder.name))
    shutil.copy(pairs, pairs_of_old_folder)
    entries = cache_pruning.outdated()
    sizes = {entry.path: entry.size for entry in entries}
    assert sizes == {
        old_folder: sum(path.stat().st_size for path in folder.iterdir()),
        old_pairs: pairs.stat().st_size,
        pairs_of_old_folder: pairs.stat().st_size,
    }
    assert cache_pruning.remove(entries) == (entries, [])
    assert not any(path.exists() for path in sizes)
    assert folder.is_dir()
    assert pairs.is_file()
    assert found() == set()


def test_marks_of_files_that_other_code_kept_are_removed(tiny):
    [marks] = (paths.data_folder() / "cache").glob(f"*-{file_marks.NAME_PART}-*")
    old = of_other_code(marks)
    entries = cache_pruning.outdated()
    assert [entry.path for entry in entries] == [old]
    cache_pruning.remove(entries)
    assert marks.is_file()
    assert found() == set()


def test_a_cache_in_the_making_is_left(made):
    old = of_other_code(made[0])
    entries = cache_pruning.outdated()
    with FileLock(f"{old}.lock"):
        assert cache_pruning.remove(entries) == ([], entries)
    assert len(list(old.iterdir())) == 2
    assert cache_pruning.remove(entries) == (entries, [])


@pytest.mark.parametrize("kind", ["unfinished", "not whole", "more in it", "link", "other name"])
def test_what_is_no_finished_cache_is_left(made, tmp_path, kind):
    old = of_other_code(made[0])
    if kind == "unfinished":
        old.rename(old.with_name(f"{old.name}.unfinished"))
    elif kind == "not whole":
        (old / "digests.bin").unlink()
    elif kind == "more in it":
        (old / "notes.txt").touch()
    elif kind == "link":
        old.rename(tmp_path / "elsewhere")
        old.symlink_to(tmp_path / "elsewhere")
    else:
        old.rename(old.with_name(f"my-{old.name}"))
    assert found() == set()
