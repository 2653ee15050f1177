import io
import stat
import struct
import zipfile

import pytest

from hpa_lib import archives, dataset
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def unpack(folder, *paths, **options):
    return archives.unpack(paths, folder, progress=False, **options)


def refusal(folder, *paths, **options):
    """Message of the refusal; nothing may have been written."""
    with pytest.raises(HpaError) as caught:
        unpack(folder, *paths, **options)
    assert not folder.exists()
    return caught.value.problem


@pytest.fixture
def download(tiny_dataset, tmp_path):
    """The competition's files as downloaded: train.zip with images at its top, train.csv.zip."""
    images = sorted((tiny_dataset / "train").iterdir())
    train = write_zip(tmp_path / "train.zip", [(path.name, path.read_bytes()) for path in images])
    table = (tiny_dataset / "train.csv").read_text()
    return train, write_zip(tmp_path / "train.csv.zip", [("train.csv", table)])


def test_downloaded_archives_become_the_kaggle_layout(tiny_dataset, download, tmp_path):
    report = unpack(tmp_path / "new", *download)
    assert (report.written, report.present, report.nested) == (97, 0, ())
    assert dataset.load(tmp_path / "new").fingerprint == dataset.load(tiny_dataset).fingerprint


def test_unpacking_goes_on_where_it_stopped(download, tmp_path, monkeypatch):
    folder, replaced = tmp_path / "new", []

    def interrupt(*_):
        replaced.append(1)
        if len(replaced) == 30:
            raise KeyboardInterrupt
        return shutil_copy(*_)

    shutil_copy = archives.shutil.copyfileobj
    monkeypatch.setattr(archives.shutil, "copyfileobj", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unpack(folder, *download)
    monkeypatch.undo()
    report = unpack(folder, *download)
    assert (report.written, report.present) == (97 - 29, 29)
    assert sum(path.is_file() for path in folder.rglob("*")) == 97


def test_file_of_another_content_is_never_overwritten(download, tmp_path):
    folder = tmp_path / "new"
    unpack(folder, *download)
    path = folder / "train" / "sample-03_red.png"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(HpaError, match="is there already") as caught:
        unpack(folder, *download)
    assert str(path) in caught.value.problem
    assert not any(path.read_bytes())


def test_archive_in_an_archive_is_named(download, tmp_path):
    outer = write_zip(tmp_path / "all.zip", [("train.zip", download[0].read_bytes())])
    folder = tmp_path / "new"
    assert unpack(folder, outer).nested == (folder / "train.zip",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "climb out"),
        ("train/../../evil.png", "climb out"),
        ("..\\evil.png", "climb out"),
        ("/etc/evil.png", "absolute"),
        ("C:/evil.png", "absolute"),
        ("train//evil.png", "isn't plain"),
        ("a\x00/../evil.png", "climb out"),
        ("evil\n.png", "isn't plain"),
    ],
)
def test_unsafe_names(tmp_path, name, reason):
    path = write_zip(tmp_path / "a.zip", [("fine/fine.txt", "x"), (name.replace("\0", "?"), "x")])
    if "\0" in name:
        path.write_bytes(path.read_bytes().replace(b"a?/..", b"a\0/.."))
    problem = refusal(tmp_path / "new", path)
    assert reason in problem
    assert repr(name) in problem
    assert str(path) in problem


def test_link(tmp_path):
    link = zipfile.ZipInfo("train/link.png")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "a.zip", [(link, "/etc/passwd")])
    assert "'train/link.png'" in refusal(tmp_path / "new", path)


def test_existing_link_out_of_the_folder_is_not_followed(download, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "new"
    outside.mkdir()
    folder.mkdir()
    (folder / "train").symlink_to(outside)
    with pytest.raises(HpaError, match="leads out of"):
        unpack(folder, *download)
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    "names",
    [("train/a.png", "train/A.PNG"), ("train/é.txt", "train/e\u0301.txt"), ("b", "b/c")],
)
def test_names_that_collide(tmp_path, names):
    path = write_zip(tmp_path / "a.zip", [(name, "x") for name in names])
    assert repr(names[1]) in refusal(tmp_path / "new", path)


def test_archives_that_collide_with_each_other(tmp_path):
    one = write_zip(tmp_path / "one.zip", [("x/a.txt", "1")])
    two = write_zip(tmp_path / "two.zip", [("X/a.txt", "2")])
    assert "two.zip" in refusal(tmp_path / "new", one, two)


def test_member_that_expands_enormously(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_MEMBER", 2**20)
    path = write_zip(tmp_path / "a.zip", [("bomb.tif", bytes(2**22))])
    assert "'bomb.tif'" in refusal(tmp_path / "new", path)
    assert "expand to 4,194,304" in refusal(tmp_path / "new", path)


def test_total_limit_and_free_space(tmp_path, monkeypatch):
    members = [(f"{name}.bin", bytes(600)) for name in "ab"]
    path = write_zip(tmp_path / "a.zip", members, zipfile.ZIP_STORED)
    assert "declare 1,200 bytes; the limit is 1,000" in refusal(
        tmp_path / "new", path, most_bytes=1000
    )
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "1,000 free" in refusal(tmp_path / "new", path)


def test_member_larger_than_declared_is_refused_and_leaves_no_file(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("x/a.bin", bytes(100_000))])
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 50)  # what the directory declares
    struct.pack_into("<I", content, 22, 50)
    path.write_bytes(content)
    with pytest.raises(HpaError, match=r"'x/a\.bin' .* isn't what it declares"):
        unpack(tmp_path / "new", path)
    assert not [entry for entry in (tmp_path / "new").rglob("*") if entry.is_file()]


def test_damaged_member_is_refused_and_leaves_no_file(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("x/a.bin", b"0123456789" * 99)], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"345", b"543", 1))
    with pytest.raises(HpaError, match="isn't what it declares"):
        unpack(tmp_path / "new", path)
    assert not [entry for entry in (tmp_path / "new").rglob("*") if entry.is_file()]


@pytest.mark.parametrize("content", [None, b"", b"7z\xbc\xaf'\x1c" * 9])
def test_file_that_is_no_zip(tmp_path, content):
    path = tmp_path / "train.zip"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refusal(tmp_path / "new", path)


def test_cut_off_download(download, tmp_path):
    content = download[0].read_bytes()
    download[0].write_bytes(content[: len(content) // 2])
    assert "isn't a whole zip file" in refusal(tmp_path / "new", download[0])


def test_encrypted_member(tmp_path):
    buffer = io.BytesIO()
    write_zip(buffer, [("x/a.bin", b"secret")])
    content = bytearray(buffer.getvalue())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "is encrypted" in refusal(tmp_path / "new", path)


def test_images_of_all_channels_may_lie_at_the_top(tmp_path):
    members = [(f"abc_{channel}.png", b"x") for channel in CHANNELS]
    unpack(tmp_path / "new", write_zip(tmp_path / "test.zip", members))
    names = sorted(path.name for path in (tmp_path / "new" / "test").iterdir())
    assert names == sorted(name for name, _ in members)
