import hashlib
import os

import pytest

from hpa_lib import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_replacing_makes_folders_and_shows_the_file_only_when_whole(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with files.replacing(target) as temporary:
        temporary.write_text("half")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "half"
    assert names(target.parent) == ["file.txt"]


def test_replacing_keeps_the_ending_that_libraries_look_at(tmp_path):
    with files.replacing(tmp_path / "best.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")


def test_replacing_leaves_everything_as_it_was_when_the_block_fails(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="boom"), files.replacing(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError("boom")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_written_files_can_be_read_by_others(tmp_path):
    files.write_text(tmp_path / "file.txt", "x")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    files.write_text(tmp_path / "file.txt", "Würfel 3 × 3\n")
    assert (tmp_path / "file.txt").read_bytes() == "Würfel 3 × 3\n".encode()


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None, "ä"], "a": {"c": True}}
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_json_and_writes_nothing(tmp_path, number):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "value.json", {"a": number})
    assert names(tmp_path) == []


def test_digest_of_bytes_keeps_parts_apart():
    assert files.digest_bytes(b"ab", b"c") != files.digest_bytes(b"a", b"bc")
    assert files.digest_bytes(b"a") != files.digest_bytes(b"a", b"")
    wanted = hashlib.sha256((2).to_bytes(8, "little") + b"ab").hexdigest()
    assert files.digest_bytes(b"ab") == wanted


def test_digest_of_a_file(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    assert files.digest_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_digest_of_json_ignores_the_order_of_keys():
    assert files.digest_json({"a": 1, "b": 2}) == files.digest_json({"b": 2, "a": 1})
    assert files.digest_json([1, 2]) != files.digest_json([2, 1])
